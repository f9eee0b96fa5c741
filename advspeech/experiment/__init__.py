"""One experiment: a config, a folder, and the stages between them.

prepare -> train -> attack -> studies -> report. Each stage is skipped when its
output is complete and resumed when it is not.
"""

import os
from collections.abc import Sequence

import ml_collections

from advspeech import parallel, report
from advspeech.experiment import stages
from advspeech.experiment.attacking import attack
from advspeech.experiment.data import (
  count_clips,
  describe_corpus,
  is_prepared,
  prepare,
)
from advspeech.experiment.run import Run
from advspeech.experiment.stages import Stage, write_page
from advspeech.experiment.studying import study
from advspeech.experiment.training import search_rates, train
from advspeech.experiment.validation import check_devices, validate

__all__ = [
  'Run',
  'Stage',
  'attack',
  'check_devices',
  'compare',
  'count_clips',
  'describe_corpus',
  'is_prepared',
  'prepare',
  'reproduce',
  'search_rates',
  'stages',
  'study',
  'train',
  'validate',
  'write_page',
]


def compare(workdir: str, run_folders: Sequence[str]) -> str:
  """Puts several runs on one page, from their tables; returns its path."""
  page = os.path.join(workdir, 'comparison', 'index.html')
  parallel.on_lead(
    lambda: report.compare(workdir, run_folders), f'{page} is written'
  )
  return page


def reproduce(
  config: ml_collections.ConfigDict, workdir: str, skip_bad: bool = False
) -> str:
  """Runs every stage that is not complete; returns the page's path.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    skip_bad: Leave bad recordings out of the corpus.

  Raises:
    errors.InputError: If the config cannot be run, here or in this folder.
  """
  run = Run.open(config, workdir, skip_bad=skip_bad)
  for stage in stages.left(run):
    stage.run(run)
  return run.paths.page
