"""What is asked of trained models beside the sweep, a package a study.

One that is built in is named by a word, any other as
`package.module:attribute`.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from advspeech import claim, registry, storage
from advspeech import section as section_lib

NAMES = (
  'gradients',
  'features',
  'rounding',
  'verification',
  'privacy',
  'smoothing',
  'air',
  'substitute',
  'queries',
)


class Study:
  """A question asked of a run's models; the base of those of one's own.

  Attributes:
    name: Of its folder in `studies/` and of its section of the config.
    title: Of its section of the page.
    table: File of its folder that is written last.
    numbers: What the numbers of its section must be, by key, as
      `experiment.key_types.NUMBERS` writes it.
  """

  name: str
  title: str
  table: str
  numbers: Mapping[str, str] = MappingProxyType({})

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at a run that the study cannot be of.

    Asked only where it is to be run, before anything is touched.
    """

  def check_devices(self, config: Any) -> None:
    """Raises errors.InputError where devices or processes do not fit."""

  def run(self, run: Any, folder: str) -> None:
    """Writes the tables; what was begun goes on.

    Called on every process; files are for `parallel.on_lead` to write.

    Args:
      run: An `experiment.Run`, whose models are trained.
      folder: There already, and held by this program.
    """
    raise NotImplementedError

  def figures(
    self, results: section_lib.Results
  ) -> Sequence[section_lib.Figure]:
    """Returns the figures, which are drawn from the tables alone."""
    del results
    return ()

  def claims(self, results: section_lib.Results) -> Sequence[claim.Claim]:
    """Returns claims with their verdicts; also where the study was not run."""
    del results
    return ()

  def section(self, results: section_lib.Results) -> section_lib.Section:
    """Returns what the page shows below the title: all figures."""
    del results
    return section_lib.Section(section_lib.ALL_FIGURES, {})


def resolve(name: str) -> Study:
  """Returns a study.

  Args:
    name: One of `NAMES`, or `package.module:attribute`.

  Raises:
    errors.InputError: If there is none of that name.
  """
  found = registry.resolve('a study', name, dict.fromkeys(NAMES))
  if found is None:  # built in; imported now, since it needs much
    return importlib.import_module(f'advspeech.studies.{name}.study').STUDY
  return found


def is_complete(study: Study, folder: str) -> bool:
  """Returns whether a folder has all tables of a study."""
  return storage.exists(os.path.join(folder, study.table))
