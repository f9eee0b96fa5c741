"""The stages in which models are trained."""

import functools
import logging
from collections.abc import Sequence

from advspeech import (
  errors,
  figures,
  ownership,
  parallel,
  provenance,
  storage,
  training,
)
from advspeech.experiment import rate_figure
from advspeech.experiment.run import Run, exists
from advspeech.training import rate_search, side_by_side

logger = logging.getLogger(__name__)


def search_rates(
  run: Run, model_names: Sequence[str] | None = None
) -> dict[str, float]:
  """Searches each model's learning rate; returns them by architecture.

  A model on another's front end goes by the rate of its architecture. Beside
  the probes `lr_search/` then holds a table and a figure an architecture, and
  `<model>.json`, which `train` goes by where `config.lr_search.enabled`.

  Args:
    run: Its corpus is prepared.
    model_names: Only these of the config's models.

  Raises:
    errors.InputError: If a name is none of the config's, or devices cannot
      share a batch.
  """
  config = run.config
  _check_asked(config, model_names)
  for mesh in parallel.submeshes(rate_search.MAX_PROBES_A_ROUND):
    parallel.check_batch_size(
      'config.training.batch_size', config.training.batch_size, mesh
    )
  names = _unique(training.base_name(m) for m in model_names or config.models)
  missing = [name for name in names if not exists(run.rate_path(name))]
  if missing:
    folder = run.paths.rates
    if parallel.is_lead():
      storage.make_folder(folder)
    with ownership.owned(folder):
      for name in missing:
        if not exists(run.rate_path(name)):  # nor found meanwhile
          _search_rate(run, name)
  return {name: run.found_rate(name) for name in names}


def _search_rate(run, name):
  """Searches the rate of an architecture; writes it and its figure."""
  rate, rows = rate_search.search(
    run.config,
    run.paths.root,
    model_name=name,
    splits=run.data.splits,
    classes=run.classes,
  )

  def write():
    path = run.rate_path(name)
    figure = rate_figure.accuracy_against_learning_rate(rows, name)
    figures.save(figure, path.removesuffix('.json'))
    storage.write_json(path, {'learning_rate': rate})

  parallel.on_lead(write, f'the learning rate of {name} is written')


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


def train(
  run: Run,
  model_names: Sequence[str] | None = None,
  seeds: Sequence[int] | None = None,
) -> None:
  """Trains every model on every seed that is not trained yet.

  Args:
    run: Its corpus is prepared.
    model_names: Only these of the config's models.
    seeds: Only these of the config's seeds.

  Raises:
    errors.InputError: If a name or a seed is none of the config's, or a front
      end is to be taken from a model that is not trained.
  """
  config = run.config
  _check_asked(config, model_names, seeds)
  missing = [
    (name, seed)
    for seed in _unique(seeds or config.seeds)
    for name in _unique(model_names or config.models)
    if not run.is_trained(name, seed)
  ]
  if not missing:
    return
  for name, seed in missing:
    other = training.frontend_of(name)
    if other and (other, seed) not in missing:
      run.check_trained(other, seed)
  if config.lr_search.enabled:
    search_rates(run, _unique(name for name, _ in missing))
  programs = {
    name: training.programs(
      run.config_of(name), name, run.data.splits, run.classes
    )
    for name, _ in missing
  }
  if len(missing) > 1:
    logger.info('%s', _order_of(missing, run.training_meshes))
  for waits in (False, True):  # those that take over a front end come last
    members = [m for m in missing if bool(training.frontend_of(m[0])) == waits]
    if members:
      train_one = functools.partial(_train_one, run, programs)
      side_by_side.run(train_one, members, run.training_meshes)


def _order_of(missing, meshes):
  """Returns in words what is trained at a time.

  Several seeds in one program, by vmap, would not be faster: see "Many
  trainings" in configs/README.md.
  """
  size = meshes[0].size
  on = f'{size} device{"s" if size > 1 else ""}'
  at_a_time = min(len(missing), len(meshes))
  if at_a_time == 1:
    return f'{len(missing)} trainings, one after another, on {on}'
  return f'{len(missing)} trainings, {at_a_time} at a time, on {on} each'


def _train_one(run, programs, member, mesh):
  """Trains one model on one seed, by the steps of all of its seeds."""
  name, seed = member
  folder = run.paths.classifier(name, seed)
  other = training.frontend_of(name)
  storage.make_folder(folder)
  with (
    ownership.owned(folder),
    provenance.recorded(folder, parallel.device_summary(mesh)),
  ):
    summary = training.train_and_evaluate(
      run.config_of(name),
      folder,
      model_name=name,
      seed=seed,
      splits=run.data.splits,
      classes=run.classes,
      mesh=mesh,
      frontend=run.classifier(other, seed) if other else None,
      program=programs[name](mesh),
    )
  logger.info(
    '%s seed %d: test accuracy %.3f (epoch %d)',
    name,
    seed,
    summary['test']['accuracy'],
    summary['best_epoch'],
  )
