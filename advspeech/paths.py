"""A run's folder: the one place that spells the names of its files."""

import dataclasses
import os

from advspeech import registry


@dataclasses.dataclass(frozen=True)
class RunPaths:
  """Where the files of a run are.

  Attributes:
    root: The run's folder, also the URL of one in a bucket.
  """

  root: str

  @property
  def config(self) -> str:
    """Returns the path of the config that was run last."""
    return self._join('config.json')

  @property
  def data(self) -> str:
    """Returns the path of what is in the corpus and its splits."""
    return self._join('data.json')

  @property
  def rates(self) -> str:
    """Returns the folder of the search for learning rates."""
    return self._join('lr_search')

  def rate(self, architecture: str) -> str:
    """Returns the path of the learning rate found for an architecture."""
    return os.path.join(self.rates, f'{registry.short_name(architecture)}.json')

  def classifier(self, model_name: str, seed: int) -> str:
    """Returns the folder of one trained model."""
    return self._join(f'{registry.short_name(model_name)}-seed{seed}')

  def summary(self, model_name: str, seed: int) -> str:
    """Returns the path of what a model reached, written when it is trained."""
    return os.path.join(self.classifier(model_name, seed), 'summary.json')

  @property
  def attack(self) -> str:
    """Returns the folder of the sweep."""
    return self._join('attack')

  @property
  def sweep_table(self) -> str:
    """Returns the path of the sweep's table, written last."""
    return os.path.join(self.attack, 'sweep.csv')

  @property
  def studies(self) -> str:
    """Returns the folder that holds a folder a study."""
    return self._join('studies')

  def study(self, name: str) -> str:
    """Returns the folder of a study."""
    return os.path.join(self.studies, name)

  @property
  def report(self) -> str:
    """Returns the folder of the page and its figures."""
    return self._join('report')

  @property
  def page(self) -> str:
    """Returns the path of the page."""
    return os.path.join(self.report, 'index.html')

  def _join(self, *names):
    return os.path.join(self.root, *names)
