"""The study of rounding, as a stage runs it."""

import os
from collections.abc import Mapping
from typing import Any

from advspeech import (
  checkpoint,
  input_pipeline,
  parallel,
  storage,
  studies,
  sweep,
  training,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies.rounding import page

CURVE_COLUMNS = {
  'model': str,
  'order': int,
  'control': str,
  'epsilon_given': str,
  'epsilon': float,
  'num_clips': int,
  'error_rate': float,
}


class RoundingStudy(studies.Study):
  """Trainings of one seed that differ in rounding alone."""

  name = 'rounding'
  title = 'What rounding alone does'
  table = 'orders.csv'
  figures = staticmethod(page.figure_list)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {'num_orders': 'whole [1, inf)'}

  def run(self, run: Any, folder: str) -> None:
    """Trains and attacks the config's first seed in other orders of rows.

    Each training lies in `<model>-order<k>`, resumable as any other; order 0 is
    the run's own. All are attacked by the config's first attack, each on
    itself, on the clips of the sweep.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained.
    """
    config = run.config

    def write(work):
      results = sweep.load_results(work, config.task, config.sweep.confidence)
      _write(results, folder, self.table)

    folder_lib.tables_once(
      os.path.join(folder, self.table), lambda: _attacked(run, folder), write
    )


def _attacked(run, folder):
  """Returns the sweep over all orders, done."""
  config = run.config
  split = input_pipeline.spread(run.data.splits['test'], config.sweep.num_clips)
  members = []
  for name in config.models:
    if training.frontend_of(name):
      continue  # its front end was trained in one order
    for order in range(config.rounding.num_orders + 1):
      classifier = _classifier(run, folder, name, order)
      members.append(sweep.Member(name, order, classifier, split.labels))
  work = _sweep(run, members, split, os.path.join(folder, 'attack'))
  sweep.run(work)
  return work


def _classifier(run, folder, name, order):
  """Returns a model of the first seed, trained in an order of rows."""
  config, seed = run.config_of(name), run.config.seeds[0]
  if not order:
    return run.classifier(name, seed)
  own = os.path.join(folder, f'{name}-order{order}')
  if parallel.is_lead():
    storage.make_folder(own)
  what = {'model_name': name, 'seed': seed, 'classes': run.classes}
  metadata = training.describe(
    config,
    **what,
    clip_samples=run.data.splits['train'].pcm.shape[1],
    row_order=order,
  )
  if not storage.exists(os.path.join(own, 'summary.json')):
    training.train_and_evaluate(
      config,
      own,
      **what,
      splits=run.data.splits,
      mesh=run.training_meshes[0],
      row_order=order,
    )
  return checkpoint.load_classifier(
    own, metadata, precision=config.sweep.precision
  )


def _sweep(run, members, split, folder):
  """Returns the first attack on every member, as a sweep of its own."""
  config = run.config.copy_and_resolve_references()
  config.sweep.attacks = config.sweep.attacks[:1]
  config.sweep.masks = config.sweep.masks[:1]
  config.sweep.transforms = ()
  config.sweep.sources = tuple(dict.fromkeys(m.name for m in members))
  if parallel.is_lead():
    storage.make_folder(folder)
  attack = config.sweep.attacks[0]
  return sweep.Sweep(
    folder=folder,
    plan=sweep.plan(config, members),
    members=members,
    split=split,
    attacks={attack: sweep.make_attack(config, attack)},
    settings=sweep.make_settings(config),
    fitting=input_pipeline.spread(
      run.data.splits['train'], config.sweep.universal.num_clips
    ),
    num_passes=config.sweep.universal.num_passes,
  )


def _write(results, folder, last):
  """Writes curves of every training, and means over them."""
  shown = ('', sweep.control_of(results.sweep.plan[0].attack))
  curves = [
    {
      'model': row['target'],
      'order': row['seed'],
      **{key: row[key] for key in CURVE_COLUMNS if key in row},
    }
    for row in sweep.point_rows(results)
    if (row['source'], row['seed']) == (row['target'], row['target_seed'])
    and row['control'] in shown
  ]
  means = [
    row
    for row in sweep.training_rows(results)
    if row['source'] == row['target']
  ]
  path = os.path.join(folder, 'curves.csv')
  storage.write_table(path, CURVE_COLUMNS, curves)
  storage.write_table(os.path.join(folder, last), sweep.TRAINING_COLUMNS, means)


STUDY = RoundingStudy()
