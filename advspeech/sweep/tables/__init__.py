"""A sweep's tables, a file each: its columns with their types, and its rows."""

import logging
import os

from advspeech import preemption, storage
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import (
  clips,
  curves,
  direct,
  minimal,
  points,
  quality,
  samples,
  trainings,
  transforms,
  verdicts,
)

logger = logging.getLogger(__name__)

# By the name of the file; that of all points comes last, a sign that all are
# there.
TABLES = {
  'clips': clips,
  'verdicts': verdicts,
  'samples': samples,
  'minimal': minimal,
  'transforms': transforms,
  'direct': direct,
  'curves': curves,
  'trainings': trainings,
  'sweep': points,
}


def write(
  results: results_lib.Results, folder: str, num_quality_clips: int
) -> None:
  """Writes every table of a sweep as CSV.

  Args:
    results: Of the sweep.
    folder: Where they go.
    num_quality_clips: Clips of `quality.csv`; -1 for all.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  scored = list(quality.rows(results, num_quality_clips))
  for name in quality.measures():
    num_undefined = sum(row[name] == '' for row in scored)
    if num_undefined:
      logger.warning(
        'attack/quality.csv: %s is not defined for %d of %d clips',
        name,
        num_undefined,
        len(scored),
      )
  tables = {'quality': (quality.COLUMNS, scored)} | {
    name: (table.COLUMNS, table.rows(results)) for name, table in TABLES.items()
  }
  for name, (columns, rows) in tables.items():
    preemption.check_alone()
    path = os.path.join(folder, f'{name}.csv')
    storage.write_table(path, columns, list(rows))
