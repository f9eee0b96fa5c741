"""A run: a config and its folder, opened once, which is what stages take."""

import functools
from typing import NamedTuple, Self

import ml_collections
from jax import sharding

from advspeech import (
  checkpoint,
  corpora,
  errors,
  input_pipeline,
  parallel,
  paths,
  storage,
  tasks,
  training,
)
from advspeech.experiment import data, folder, validation


class Data(NamedTuple):
  """The clips of a run.

  Attributes:
    corpus: All of them.
    task: What is told apart, of which clips.
    splits: Those of `holdout.SPLITS`.
  """

  corpus: corpora.Corpus
  task: tasks.Task
  splits: dict[str, input_pipeline.Split]


class Run:
  """A config that can be run, and the folder that is its own.

  Attributes:
    config: See configs/paper.py.
    paths: Of the run's files.
    skip_bad: Whether bad recordings are left out of the corpus.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    run_paths: paths.RunPaths,
    skip_bad: bool,
  ):
    self.config = config
    self.paths = run_paths
    self.skip_bad = skip_bad
    self._classifiers: dict[tuple[str, int], checkpoint.Classifier] = {}

  @classmethod
  def open(
    cls,
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    skip_bad: bool = False,
  ) -> Self:
    """Returns a run, once config, devices and folder were found to fit.

    Args:
      config: See configs/paper.py.
      workdir: The run's folder, made where it is not there.
      skip_bad: Leave bad recordings out of the corpus.

    Raises:
      errors.InputError: If the config cannot be run, the devices cannot share
        its batches, or the folder holds results of another config.
    """
    validation.validate(config)
    validation.check_devices(config)
    run_paths = paths.RunPaths(workdir)
    folder.claim(config, run_paths)
    return cls(config, run_paths, skip_bad)

  @functools.cached_property
  def data(self) -> Data:
    """Reads, splits and logs the clips; `data.json` says what they are."""
    corpus, task, splits = data.read(self.config)
    record = {
      'corpus': corpus.metadata,
      'splits': data.audit(corpus, task, splits),
    }
    path = self.paths.data
    parallel.on_lead(
      lambda: storage.write_json(path, record), f'{path} is written'
    )
    return Data(corpus, task, splits)

  @property
  def classes(self) -> tuple[str, ...]:
    """Returns the names of the labels."""
    return self.data.task.classes

  @property
  def training_meshes(self) -> list[sharding.Mesh]:
    """Returns the devices of each training that goes on at a time."""
    return validation.training_meshes(self.config)

  def is_trained(self, model_name: str, seed: int) -> bool:
    """Returns whether a model was trained to its end."""
    return exists(self.paths.summary(model_name, seed))

  def check_trained(self, model_name: str, seed: int) -> None:
    """Raises errors.InputError unless a model was trained to its end."""
    if not self.is_trained(model_name, seed):
      raise errors.InputError(
        f'{self.paths.classifier(model_name, seed)} is not trained to its end; '
        f'run python -m launch.train --model={model_name} --seed={seed} with '
        'the same --config and --workdir first'
      )

  def check_all_trained(self) -> None:
    """Raises errors.InputError unless all models were trained to their end."""
    for seed in self.config.seeds:
      for name in self.config.models:
        self.check_trained(name, seed)

  def classifier(self, model_name: str, seed: int) -> checkpoint.Classifier:
    """Returns a trained model in the precision of attacks, loaded once.

    Args:
      model_name: One of `config.models`.
      seed: One of `config.seeds`.

    Raises:
      errors.InputError: If it is not trained to its end, damaged, of another
        config, or on another front end than that of the model it was taken
        from.
    """
    key = model_name, seed
    if key not in self._classifiers:
      self._classifiers[key] = self._load(model_name, seed)
    return self._classifiers[key]

  def _load(self, model_name, seed):
    self.check_trained(model_name, seed)
    folder = self.paths.classifier(model_name, seed)
    classifier = checkpoint.load_classifier(
      folder,
      training.describe(
        self.config_of(model_name),
        model_name,
        seed,
        self.classes,
        validation.clip_samples(self.config),
      ),
      precision=self.config.sweep.precision,
    )
    other = training.frontend_of(model_name)
    if other:
      training.check_frontend(
        folder, classifier.variables, self.classifier(other, seed)
      )
    return classifier

  def rate_path(self, model_name: str) -> str:
    """Returns where the learning rate found for a model is recorded."""
    return self.paths.rate(training.base_name(model_name))

  def found_rate(self, model_name: str) -> float:
    """Returns the learning rate that was found for a model."""
    path = self.rate_path(model_name)
    return storage.read_json(path, ('learning_rate',))['learning_rate']

  def config_of(self, model_name: str) -> ml_collections.ConfigDict:
    """Returns the config of one model: with its rate if that is searched."""
    if not self.config.lr_search.enabled:
      return self.config
    config = self.config.copy_and_resolve_references()
    config.training.learning_rate = self.found_rate(model_name)
    return config

  def remove_page_without(self, table: str, what: str) -> None:
    """Removes a page that lacks a table, which is about to be written."""
    if parallel.is_lead() and not storage.exists(table):
      folder.remove_page(self.paths, f'lacks {what}')


def exists(path: str) -> bool:
  """Returns whether process 0 finds a file; all know the same."""
  return parallel.agree(lambda: storage.exists(path))
