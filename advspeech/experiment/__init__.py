"""One experiment: a config, a folder, and the stages between them.

prepare -> train -> attack -> studies -> report. Each stage is skipped when its
output is complete and resumed when it is not.
"""

import os
from collections.abc import Sequence

import ml_collections

from advspeech import parallel, report
from advspeech.experiment.attack import run_attack
from advspeech.experiment.data import count_clips, is_prepared, prepare
from advspeech.experiment.folder import (
  STUDIES,
  claim_workdir,
  exists,
  page_path,
)
from advspeech.experiment.studies import run_features, run_gradients
from advspeech.experiment.training import run_lr_search, run_training
from advspeech.experiment.validation import check_devices, validate

__all__ = [
  'check_devices',
  'claim_workdir',
  'count_clips',
  'is_prepared',
  'prepare',
  'reproduce',
  'run_attack',
  'run_comparison',
  'run_features',
  'run_gradients',
  'run_lr_search',
  'run_report',
  'run_training',
  'validate',
]


def run_report(workdir: str) -> str:
  """Draws the figures and the page from the tables; returns its path."""
  page = page_path(workdir)
  parallel.on_lead(lambda: report.write(workdir), f'{page} is written')
  return page


def run_comparison(workdir: str, run_folders: Sequence[str]) -> str:
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
  """
  validate(config)
  check_devices(config)
  claim_workdir(config, workdir)
  page = page_path(workdir)
  tables = (
    os.path.join(workdir, 'attack', 'sweep.csv'),
    *(os.path.join(workdir, name, STUDIES[name]) for name in config.studies),
  )
  if not all(exists(path) for path in (page, *tables)):
    prepare(config, skip_bad)
    run_training(config, workdir)
    run_attack(config, workdir)
    if 'gradients' in config.studies:
      run_gradients(config, workdir)
    if 'features' in config.studies:
      run_features(config, workdir)
    run_report(workdir)
  return page
