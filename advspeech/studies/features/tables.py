"""The study on disk: its clips' rows, seed by seed, and all tables of them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from advspeech import checkpoint, input_pipeline, parallel, storage
from advspeech.studies.features.clips import CLIP_COLUMNS, attack_clips
from advspeech.studies.features.comparisons import (
  BUDGET_COLUMNS,
  EQUAL_COLUMNS,
  budget_rows,
  equal_rows,
)
from advspeech.studies.features.equal_error import (
  EQUAL_ERROR_COLUMNS,
  equal_error_rows,
)
from advspeech.studies.features.examples import write_examples
from advspeech.studies.features.norm_tables import (
  NORM_EXAMPLE_COLUMNS,
  NORM_SUMMARY_COLUMNS,
  norm_example_rows,
  norm_summary_rows,
)
from advspeech.studies.features.norms import NORM_COLUMNS, norm_rows
from advspeech.studies.features.settings import Settings
from advspeech.studies.folder import claim as claim_folder


def write(
  folder: str,
  classifiers: Mapping[int, Mapping[str, checkpoint.Classifier]],
  source: str,
  split: input_pipeline.Split,
  *,
  task: str,
  classes: Sequence[str],
  settings: Settings,
) -> None:
  """Runs the attacks; writes all tables, and clips to listen to.

  Each seed's rows are written as they are done, so that a study that was
  stopped goes on with the next seed. Further seeds and judges may come to a
  folder: its tables are of all that were ever studied there.

  Args:
    folder: Where they go.
    classifiers: By seed and name; all of a seed judge.
    source: Name of the one that is attacked.
    split: Clips.
    task: For the rows.
    classes: Names of the labels.
    settings: What is tried.

  Raises:
    errors.InputError: If the folder holds a study of other models, clips or
      settings.
    preemption.Stopped: If a signal asked for it.
  """
  described = {
    'task': task,
    'classes': list(classes),
    'source': source,
    'models': {
      f'{name}-seed{seed}': {**c.metadata, 'epoch': c.epoch}
      for seed, of_seed in classifiers.items()
      for name, c in of_seed.items()
    },
    'clips': split.ids_sha256(),
    **dataclasses.asdict(settings),
  }
  parallel.on_lead(
    lambda: claim_folder(folder, described),
    f'{folder} belongs to this study',
  )
  for seed, of_seed in classifiers.items():
    path = _clips_path(folder, seed)

    def is_judged(path=path, of_seed=of_seed):
      return not of_seed.keys() - {row['target'] for row in _read(path)}

    if parallel.agree(is_judged):
      continue
    found = attack_clips(
      of_seed,
      source,
      split,
      task=task,
      seed=seed,
      classes=classes,
      settings=settings,
    )

    def write_clips(path=path, of_seed=of_seed, found=found):
      others = [row for row in _read(path) if row['target'] not in of_seed]
      storage.write_table(path, CLIP_COLUMNS, [*found, *others])

    parallel.on_lead(write_clips, f'{path} is written')
  seed = next(iter(classifiers))
  norms = os.path.join(folder, 'norms.csv')
  if not parallel.agree(lambda: storage.exists(norms)):
    sizes = norm_rows(split, task=task, seed=seed, settings=settings)
    parallel.on_lead(
      lambda: storage.write_table(norms, NORM_COLUMNS, sizes),
      f'{norms} is written',
    )
  parallel.on_lead(
    lambda: _write_rest(
      folder, seed, classifiers[seed][source], source, split, settings
    ),
    f'{folder} has its tables',
  )


def _clips_path(folder, seed):
  return os.path.join(folder, f'clips-seed{seed}.csv')


def _read(path):
  """Returns the rows of a table, none if it is not there."""
  return storage.read_table(path) if storage.exists(path) else []


def _judges(rows):
  return {(row['seed'], row['target']) for row in rows}


def _write_rest(folder, seed, attacked, source, split, settings):
  """Writes all but clips and norms, with sounds of one seed's source."""
  claimed = storage.read_json(os.path.join(folder, 'settings.json'))
  seeds = {int(name.rpartition('-seed')[2]) for name in claimed['models']}
  # A seed that is claimed may have been stopped.
  rows = [
    row for known in sorted(seeds) for row in _read(_clips_path(folder, known))
  ]
  if _judges(rows) == _judges(_read(os.path.join(folder, 'budgets.csv'))):
    return
  examples = os.path.join(folder, 'examples.json')
  if not storage.exists(examples):
    entries = write_examples(
      os.path.join(folder, 'audio'),
      attacked,
      split,
      [row for row in rows if row['seed'] == seed],
      source,
    )
    storage.write_json(examples, entries)
  norms = storage.read_table(os.path.join(folder, 'norms.csv'))
  _write_all(folder, rows, norms, settings)


def _write_all(
  folder: str,
  rows: Sequence[Mapping[str, Any]],
  norms: Sequence[Mapping[str, Any]],
  settings: Settings,
) -> None:
  """Writes what the clips' rows say, the last table last."""
  confidence = settings.confidence
  for name, columns, table in (
    ('norms_examples', NORM_EXAMPLE_COLUMNS, norm_example_rows(norms)),
    (
      'norms_summary',
      NORM_SUMMARY_COLUMNS,
      norm_summary_rows(norms, confidence),
    ),
    ('equal_error', EQUAL_ERROR_COLUMNS, equal_error_rows(rows, settings)),
    ('equal_size', EQUAL_COLUMNS, equal_rows(rows, confidence)),
    ('budgets', BUDGET_COLUMNS, budget_rows(rows, confidence)),
  ):
    storage.write_table(os.path.join(folder, f'{name}.csv'), columns, table)
