"""The stages in which models are trained."""

import logging
import os
from collections.abc import Sequence

import ml_collections

from advspeech import (
  checkpoint,
  errors,
  figures,
  ownership,
  parallel,
  provenance,
  registry,
  storage,
  training,
)
from advspeech.experiment.data import load
from advspeech.experiment.folder import (
  check_trained,
  claim_workdir,
  classifier_dir,
  exists,
  is_trained,
)
from advspeech.experiment.validation import (
  check_devices,
  clip_samples,
  training_meshes,
  validate,
)
from advspeech.training import rate_search, side_by_side

logger = logging.getLogger(__name__)


def run_lr_search(
  config: ml_collections.ConfigDict,
  workdir: str,
  model_names: Sequence[str] | None = None,
) -> dict[str, float]:
  """Searches each model's learning rate; returns them by architecture.

  A model on another's front end goes by the rate of its architecture. Beside
  the probes `lr_search/` then holds a table and a figure an architecture, and
  `<model>.json`, which `run_training` goes by where `config.lr_search.enabled`.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    model_names: Only these of the config's models.
  """
  validate(config)
  _check_asked(config, model_names)
  for mesh in parallel.submeshes(rate_search.MAX_PROBES_A_ROUND):
    parallel.check_batch_size(
      'config.training.batch_size', config.training.batch_size, mesh
    )
  claim_workdir(config, workdir)
  names = _unique(training.base_name(m) for m in model_names or config.models)
  missing = [name for name in names if not exists(_found_rate(workdir, name))]
  if missing:
    _, task, splits = load(config)
    folder = os.path.join(workdir, 'lr_search')
    if parallel.is_lead():
      storage.make_folder(folder)
    with ownership.owned(folder):
      for name in missing:
        if exists(_found_rate(workdir, name)):
          continue  # another program found it meanwhile
        rate, rows = rate_search.search(
          config, workdir, model_name=name, splits=splits, classes=task.classes
        )

        def write(name=name, rate=rate, rows=rows):
          path = _found_rate(workdir, name)
          figure = figures.accuracy_against_learning_rate(rows, name)
          figures.save(figure, path.removesuffix('.json'))
          storage.write_json(path, {'learning_rate': rate})

        parallel.on_lead(write, f'the learning rate of {name} is written')
  return {name: _read_rate(workdir, name) for name in names}


def _check_asked(config, model_names, seeds=None):
  """Raises errors.InputError at a model or a seed that the config lacks."""
  for flag, asked, there in (
    ('model', model_names, config.models),
    ('seed', seeds, config.seeds),
  ):
    for value in asked or ():
      if value not in there:
        raise errors.InputError(
          f'--{flag} must be one of {", ".join(map(str, there))} '
          f'(config.{flag}s), got {value}; name one of them, or give '
          f'--config.{flag}s'
        )


def _unique(values):
  """Returns values in their order, each once."""
  return list(dict.fromkeys(values))


def _found_rate(workdir, model_name):
  name = f'{registry.short_name(training.base_name(model_name))}.json'
  return os.path.join(workdir, 'lr_search', name)


def _read_rate(workdir, model_name):
  path = _found_rate(workdir, model_name)
  return storage.read_json(path, ('learning_rate',))['learning_rate']


def _with_found_rate(
  config: ml_collections.ConfigDict, workdir: str, model_name: str
) -> ml_collections.ConfigDict:
  """Returns the config of one model: with its rate if that is searched."""
  if config.lr_search.enabled:
    config = config.copy_and_resolve_references()
    config.training.learning_rate = _read_rate(workdir, model_name)
  return config


def load_trained(
  config: ml_collections.ConfigDict,
  workdir: str,
  model_name: str,
  seed: int,
  classes: Sequence[str],
) -> checkpoint.Classifier:
  """Returns one trained model of a run, in the precision of attacks.

  Args:
    config: The run's.
    workdir: The run's folder.
    model_name: One of `config.models`.
    seed: One of `config.seeds`.
    classes: Names of the labels.

  Raises:
    errors.InputError: If it is not trained to its end, damaged, of another
      config, or on another front end than that of the model it was taken from.
  """
  check_trained(workdir, model_name, seed)
  folder = classifier_dir(workdir, model_name, seed)
  classifier = checkpoint.load_classifier(
    folder,
    training.describe(
      _with_found_rate(config, workdir, model_name),
      model_name,
      seed,
      classes,
      clip_samples(config),
    ),
    precision=config.sweep.precision,
  )
  other = training.frontend_of(model_name)
  if other:
    trained = load_trained(config, workdir, other, seed, classes)
    training.check_frontend(folder, classifier.variables, trained)
  return classifier


def run_training(
  config: ml_collections.ConfigDict,
  workdir: str,
  model_names: Sequence[str] | None = None,
  seeds: Sequence[int] | None = None,
) -> None:
  """Trains every model on every seed that is not trained yet.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    model_names: Only these of the config's models.
    seeds: Only these of the config's seeds.
  """
  validate(config)
  _check_asked(config, model_names, seeds)
  check_devices(config)
  claim_workdir(config, workdir)
  missing = [
    (name, seed)
    for seed in _unique(seeds or config.seeds)
    for name in _unique(model_names or config.models)
    if not is_trained(workdir, name, seed)
  ]
  if not missing:
    return
  for name, seed in missing:
    other = training.frontend_of(name)
    if other and (other, seed) not in missing:
      check_trained(workdir, other, seed)
  if config.lr_search.enabled:
    run_lr_search(config, workdir, _unique(name for name, _ in missing))
  _, task, splits = load(config, workdir)

  def train_one(member, mesh):
    name, seed = member
    folder = classifier_dir(workdir, name, seed)
    other, frontend = training.frontend_of(name), None
    if other:
      frontend = load_trained(config, workdir, other, seed, task.classes)
    storage.make_folder(folder)
    with (
      ownership.owned(folder),
      provenance.recorded(folder, parallel.device_summary(mesh)),
    ):
      summary = training.train_and_evaluate(
        _with_found_rate(config, workdir, name),
        folder,
        model_name=name,
        seed=seed,
        splits=splits,
        classes=task.classes,
        mesh=mesh,
        frontend=frontend,
      )
    logger.info(
      '%s seed %d: test accuracy %.3f (epoch %d)',
      name,
      seed,
      summary['test']['accuracy'],
      summary['best_epoch'],
    )

  meshes = training_meshes(config)
  for waits in (False, True):  # those that take over a front end come last
    members = [m for m in missing if bool(training.frontend_of(m[0])) == waits]
    if members:
      side_by_side.run(train_one, members, meshes)
