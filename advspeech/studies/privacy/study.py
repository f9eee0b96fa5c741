"""The study of privacy, as a stage runs it."""

import os
from collections.abc import Mapping
from typing import Any

from advspeech import (
  attacks,
  errors,
  parallel,
  registry,
  studies,
  sweep,
  transforms,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import named_embedders
from advspeech.studies.privacy import claims, page, parts, tables


class PrivacyStudy(studies.Study):
  """Who speaks is hidden, and the emotion stays."""

  name = 'privacy'
  title = 'Hide the speaker, keep the emotion'
  table = tables.LAST
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_steps': 'whole [1, 1000000]',
    'num_clips': 'whole [1, inf) or -1',
    'num_enrolled': 'whole [1, 1000]',
    'num_fitted': 'whole [2, 1000]',
    'num_examples': 'whole [0, 100]',
    'retraining.num_steps': 'whole [0, 1000000]',
    'retraining.learning_rate': '[1e-12, 1]',
    'retraining.batch_size': 'whole [1, 65536]',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.privacy
    for key in ('embedders', 'solvers', 'epsilons', 'weights'):
      errors.check_some(f'config.privacy.{key}', settings[key])
    for key in ('embedders', 'solvers', 'transforms', 'filters'):
      errors.check_distinct(f'config.privacy.{key}', settings[key])
    for name in settings.solvers:
      if name not in attacks.SOLVERS:
        raise errors.InputError(
          'config.privacy.solvers must be among '
          f'{", ".join(attacks.SOLVERS)}, got {name!r}'
        )
    _check_weights(settings.weights)
    sweep.parse_budgets('config.privacy.epsilons', settings.epsilons)
    registry.check_short_names('config.privacy.transforms', settings.transforms)

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at another task, or unknown names."""
    if config.task != 'emotion':
      raise errors.InputError(
        'the study of privacy keeps the emotion, which models of '
        f'config.task={config.task!r} do not tell; use --config.task=emotion, '
        'such as configs/ravdess.py:emotion'
      )
    named_embedders.check(config, self.name)
    for name in (*config.privacy.transforms, *config.privacy.filters):
      # Filters need SciPy: not always
      transforms.make(name)

  def check_devices(self, config: Any) -> None:
    """Raises errors.InputError where devices cannot share a batch."""
    retraining = config.privacy.retraining
    if retraining.num_steps:
      parallel.check_batch_size(
        'config.privacy.retraining.batch_size',
        retraining.batch_size,
        parallel.make_mesh(),
      )

  def run(self, run: Any, folder: str) -> None:
    """Protects clips in every way; all listen.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If the task, speakers or embedders do not fit, or a
        model is not trained.
    """
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: parts.make(run, folder),
      lambda found: tables.write(folder, found, run.config.sweep.confidence),
    )


STUDY = PrivacyStudy()


def _check_weights(weights):
  """Raises errors.InputError at weights that are none, or not with 1."""
  for weight in weights:
    is_number = isinstance(weight, (int, float)) and not isinstance(
      weight, bool
    )
    if not is_number or not 0 < weight <= 1:
      raise errors.InputError(
        'config.privacy.weights must be numbers above 0 and up to 1, got '
        f'{weight!r}'
      )
  if 1 not in weights or len(set(weights)) != len(weights):
    raise errors.InputError(
      'config.privacy.weights must be different, and 1.0 among them, which is '
      f'the plain attack on the speaker, got {tuple(weights)}'
    )
