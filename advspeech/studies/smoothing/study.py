"""The study of smoothing, as a stage runs it."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from advspeech import (
  errors,
  input_pipeline,
  parallel,
  storage,
  studies,
  sweep,
)
from advspeech.statistics import certificates
from advspeech.studies import folder as folder_lib
from advspeech.studies.smoothing import counting, page, tables

logger = logging.getLogger(__name__)

# Clips of a part on disk: whole chunks, whatever the devices.
_PART = 16


class SmoothingStudy(studies.Study):
  """Certified radii of networks that hear every clip under noise."""

  name = 'smoothing'
  title = 'What no perturbation can change'
  table = 'summary.csv'
  figures = staticmethod(page.figure_list)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_guessing': 'whole [1, 100000000]',
    'num_certifying': 'whole [1, 100000000]',
    'num_clips': 'whole [1, inf) or -1',
    'alpha': '(0, 1)',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.smoothing
    if settings.mask not in counting.MASKS:
      raise errors.InputError(
        f'config.smoothing.mask must be one of {", ".join(counting.MASKS)}, '
        f'got {settings.mask!r}'
      )
    errors.check_some('config.smoothing.sigmas', settings.sigmas)
    for sigma in sweep.parse_budgets(
      'config.smoothing.sigmas', settings.sigmas, zero=False
    ):
      if sigma.unit == 'dbsnr':
        raise errors.InputError(
          'config.smoothing.sigmas must be the same for every clip, since a '
          f'certificate does not hold for noise that goes by it, got '
          f"{sigma.text}; use a number, '66lsb' or '-54dbfs'"
        )

  def run(self, run: Any, folder: str) -> None:
    """Counts answers of every model of the run under every noise.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained, or the folder is of others.
      preemption.Stopped: If a signal asked for it; parts that are there stay.
    """
    settings = run.config.smoothing
    split = input_pipeline.spread(run.data.splits['test'], settings.num_clips)
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: _make(run, folder, split),
      lambda found: _write(folder, found, split, run),
    )


def _make(run, folder, split):
  """Returns the counts of every network under every noise."""
  settings = run.config.smoothing
  if parallel.is_lead():
    warn_of_draws(settings.num_certifying, settings.alpha)
    _warn_of_training(run.config.training.defence)
  _claim(run, folder, split)
  mesh = parallel.make_mesh()
  return {
    tables.Base(name, seed, sigma): _counts(
      run, folder, name, seed, number, sigma, split, mesh
    )
    for seed in run.config.seeds
    for name in run.config.models
    for number, sigma in enumerate(sweep.parse_epsilons(settings.sigmas))
  }


def warn_of_draws(num_draws: int, alpha: float) -> None:
  """Warns where so many draws cannot certify anything at alpha."""
  if certificates.largest_radius(num_draws, alpha) is None:
    logger.warning(
      'smoothing: %d draws certify nothing at alpha %g, even if all agree; '
      'config.smoothing.num_certifying must be %d at least',
      num_draws,
      alpha,
      certificates.fewest_draws(alpha),
    )


def _warn_of_training(defence):
  if defence.name != 'gaussian':
    logger.warning(
      'smoothing: the networks were not trained on Gaussian noise '
      '(--config.training.defence.name=gaussian, its epsilon the sigma); they '
      'may not hear clips under it'
    )


def _claim(run, folder, split):
  """Holds the folder to the models, clips and settings that it is of."""
  settings = run.config.smoothing
  classifiers = [
    run.classifier(name, seed)
    for seed in run.config.seeds
    for name in run.config.models
  ]
  what = {
    'smoothing': settings.to_dict(),
    'ids': [str(x) for x in split.ids],
    'models': {
      f'{c.metadata["model"]["name"]}-{i}': {**c.metadata, 'epoch': c.epoch}
      for i, c in enumerate(classifiers)
    },
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} is of these models'
  )


def _counts(run, folder, name, seed, number, sigma, split, mesh):
  """Returns a network's counts, [num_clips, 2, num_classes], part by part."""
  classifier = run.classifier(name, seed)
  counts = counting.make(classifier.model, run.config.smoothing, mesh)
  variables = parallel.bring(classifier.variables, mesh)
  radius = float(sigma.radii(np.float32(0)))
  member = os.path.basename(run.paths.classifier(name, seed))
  parts = []
  for rows in counting.shards(len(split), _PART):
    path = os.path.join(folder, f'{member}-{number}-{rows.start:06d}.npz')
    parts.append(
      folder_lib.cached(
        path,
        lambda rows=rows: {
          'counts': counting.counts(
            counts, variables, radius, split, mesh, seed=seed, rows=rows
          )
        },
      )['counts']
    )
  return np.concatenate(parts)


def _write(folder, found, split, run):
  """Writes the certificates of all clips, and shares of them."""
  settings = run.config.smoothing
  rows = list(tables.clip_rows(found, split, run.classes, settings.alpha))
  storage.write_table(
    os.path.join(folder, 'certificates.csv'), tables.CLIP_COLUMNS, rows
  )
  storage.write_table(
    os.path.join(folder, SmoothingStudy.table),
    tables.SUMMARY_COLUMNS,
    list(tables.summary_rows(rows, run.config.sweep.confidence)),
  )


STUDY = SmoothingStudy()
