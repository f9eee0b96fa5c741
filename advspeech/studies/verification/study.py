"""The study of speaker verification, as a stage runs it."""

import os
from collections.abc import Mapping
from typing import Any

from advspeech import (
  errors,
  registry,
  studies,
  sweep,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import named_embedders
from advspeech.studies.verification import claims, page, parts, tables


class VerificationStudy(studies.Study):
  """Impostors who are accepted and targets who are not: Figure 1."""

  name = 'verification'
  title = 'Speaker verification under attack'
  table = tables.LAST
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_trials': 'whole [1, 1000000]',
    'num_validation': 'whole [1, 1000000]',
    'num_enrolled': 'whole [1, 1000]',
    'far': '(0, 1)',
    'num_examples': 'whole [0, 100]',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.verification
    if settings.speakers not in (parts.ALL, parts.UNHEARD):
      raise errors.InputError(
        f'config.verification.speakers must be {parts.ALL!r} or '
        f'{parts.UNHEARD!r}, got {settings.speakers!r}'
      )
    for key in ('embedders', 'attacks', 'epsilons'):
      errors.check_some(f'config.verification.{key}', settings[key])
    for key in ('embedders', 'attacks'):
      registry.check_short_names(f'config.verification.{key}', settings[key])
      errors.check_distinct(f'config.verification.{key}', settings[key])
    sweep.parse_budgets('config.verification.epsilons', settings.epsilons)
    for name in settings.attacks:
      attack = sweep.make_attack(config, name)
      if attack.targeted or attack.fitted or attack.unit:
        raise errors.InputError(
          'config.verification.attacks must be on the waveform of one clip, '
          f'towards or away from a speaker by themselves, got {name!r}; use '
          'fgsm, pgd, apgd_margin or their like'
        )

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at embedders that the run does not have."""
    named_embedders.check(config, self.name)

  def run(self, run: Any, folder: str) -> None:
    """Attacks every embedder; all judge.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If trials or embedders do not fit, or a model is not
        trained.
    """
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: parts.make(run, folder),
      lambda found: tables.write(folder, found, run.config.sweep.confidence),
    )


STUDY = VerificationStudy()
