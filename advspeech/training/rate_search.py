"""The learning rate by bisection on its logarithm, as the paper searched it.

The paper says "binary search" over [1e-5, 1e-2] and no more. Here every probe
is a short training, judged by validation alone: the best epoch's accuracy, at a
tie its lower loss. The two ends and the middle are tried first; then, round
after round, the middles of the two intervals beside the best rate so far.
"""

import functools
import itertools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advspeech import (
  checkpoint,
  errors,
  input_pipeline,
  parallel,
  registry,
  storage,
)
from advspeech.training import loop, side_by_side
from advspeech.training.program import Program, programs

if TYPE_CHECKING:
  import ml_collections

logger = logging.getLogger(__name__)

# The first round's: both ends and the middle.
MAX_PROBES_A_ROUND = 3
COLUMNS = (
  'model',
  'seed',
  'round',
  'learning_rate',
  'validation_accuracy',
  'validation_loss',
  checkpoint.ATTACKED_ACCURACY,
  'best_epoch',
  'num_clips',
  'note',
)


def next_rates(
  tried: Mapping[float, tuple[float, ...]], low: float, high: float
) -> list[float]:
  """Returns the rates of the next round, ascending.

  Args:
    tried: Rank of each rate tried so far, larger is better; empty at first.
    low: Smallest rate.
    high: Largest rate.
  """
  if not tried:
    return [low, _middle(low, high), high]
  rates = sorted(tried)
  best = rates.index(max(rates, key=tried.get))
  neighbours = rates[max(0, best - 1) : best + 2]
  return [_middle(a, b) for a, b in itertools.pairwise(neighbours)]


def _middle(low, high):
  """Returns the geometric mean, to three digits, as it is written down."""
  return float(f'{math.sqrt(low * high):.3g}')


def search(
  config: 'ml_collections.ConfigDict',
  workdir: str,
  *,
  model_name: str,
  splits: Mapping[str, input_pipeline.Split],
  classes: Sequence[str],
) -> tuple[float, list[dict[str, Any]]]:
  """Returns the best learning rate of a model, and a row a probe (COLUMNS).

  Probes that are complete are not run again, one that was stopped goes on.

  Args:
    config: See configs/paper.py, `config.lr_search`.
    workdir: Of the run; probes lie in `lr_search/<model>-<rate>`, all of them
      in the table `lr_search/<model>.csv`.
    model_name: 'wavecnn', 'wavernn' or one of the user's own.
    splits: Clips; 'test' is not looked at.
    classes: Class names.

  Raises:
    errors.InputError: If no probe kept its loss finite.
    preemption.Stopped: If a signal asked for it; everything is saved.
  """
  settings = config.lr_search
  folder = os.path.join(workdir, 'lr_search')
  what = {'model_name': model_name, 'splits': splits, 'classes': classes}
  program_on = programs(_config_of(config, settings.low), **what)

  def probe(rate, mesh):
    path = os.path.join(folder, f'{registry.short_name(model_name)}-{rate:g}')
    metrics = train_probe(config, path, rate, program_on(mesh), what)
    logger.info(
      'learning rate %g: validation accuracy %.3f, loss %.3f %s',
      rate,
      metrics['validation_accuracy'],
      metrics['validation_loss'],
      metrics['note'],
    )
    return metrics

  rows, tried = [], {}
  for number in range(settings.num_rounds + 1):
    rates = [
      rate
      for rate in dict.fromkeys(next_rates(tried, settings.low, settings.high))
      if rate not in tried
    ]
    meshes = parallel.submeshes(MAX_PROBES_A_ROUND)
    results = side_by_side.run(probe, rates, meshes)
    for rate, metrics in zip(rates, results, strict=True):
      tried[rate] = checkpoint.rank(metrics)
      rows.append(
        {
          'model': model_name,
          'seed': config.seeds[0],
          'round': number,
          'num_clips': len(splits['validation']),
          checkpoint.ATTACKED_ACCURACY: '',
          **metrics,
        }
      )
    path = os.path.join(folder, f'{registry.short_name(model_name)}.csv')
    parallel.on_lead(
      functools.partial(storage.write_table, path, COLUMNS, rows),
      f'round {number} of {path} is written',
    )
  if not any(math.isfinite(rank[-1]) for rank in tried.values()):
    raise errors.InputError(
      f'{model_name}: the loss stopped being finite at every rate tried, '
      f'{sorted(tried)}; lower config.lr_search.low'
    )
  best = max(tried, key=tried.get)
  logger.info('%s: best learning rate %g', model_name, best)
  return best, rows


def _config_of(config, rate):
  """Returns the config of a probe."""
  config = config.copy_and_resolve_references()
  config.training.learning_rate = rate
  config.training.num_epochs = config.lr_search.num_epochs
  return config


def train_probe(
  config: 'ml_collections.ConfigDict',
  workdir: str,
  rate: float,
  program: Program,
  what: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns a row of the table, less who and when, for one rate.

  Args:
    config: See configs/paper.py.
    workdir: Of this probe.
    rate: Learning rate.
    program: The steps, which all probes on a mesh share.
    what: Model, splits and classes, as `loop.train` takes them.
  """
  path = os.path.join(workdir, 'probe.json')
  if parallel.agree(lambda: storage.exists(path)):
    return storage.read_json(path, ('learning_rate', *checkpoint.RANKING))
  storage.make_folder(workdir)
  note = ''
  try:
    best = loop.train(
      _config_of(config, rate),
      workdir,
      seed=config.seeds[0],
      mesh=program.mesh,
      program=program,
      **what,
    )
  except errors.NonFiniteLossError:
    best = {
      'validation_accuracy': 0.0,
      'validation_loss': math.inf,
      'best_epoch': 0,
    }
    note = 'the loss stopped being finite'
  row = {'learning_rate': rate, **best, 'note': note}
  parallel.on_lead(lambda: storage.write_json(path, row), f'{path} is written')
  return row
