"""The study of attacks through the air, as a stage runs it: simulated."""

import os
from collections.abc import Mapping
from typing import Any

from advspeech import errors, registry, studies, sweep
from advspeech.studies import folder as folder_lib
from advspeech.studies.air import claims, page, parts, tables


class AirStudy(studies.Study):
  """Attacks made in some rooms and heard in others."""

  name = 'air'
  title = 'Through the air, simulated'
  table = tables.LAST
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_clips': 'whole [2, inf)',
    'num_examples': 'whole [0, 100]',
    'num_rooms': f'whole [{parts.FEWEST_ROOMS}, 100]',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.air
    parts.chain_of(settings.transform)
    errors.check_some('config.air.attacks', settings.attacks)
    registry.check_short_names('config.air.attacks', settings.attacks)
    errors.check_distinct('config.air.attacks', settings.attacks)
    for name in settings.attacks:
      attack = sweep.make_attack(config, name)
      if attack.fitted or attack.unit:
        raise errors.InputError(
          'config.air.attacks must be on the waveform of one clip, got '
          f'{name!r}; use pgd, apgd_margin or their like'
        )
    draws = settings.draws
    if not draws or any(
      type(x) is not int or not 1 <= x <= 1000 for x in draws
    ):
      raise errors.InputError(
        'config.air.draws must be whole numbers from 1 to 1000, one at least, '
        f'got {draws}'
      )
    errors.check_distinct('config.air.draws', draws)
    sweep.parse_budgets('config.air.epsilon', [settings.epsilon], zero=False)

  def run(self, run: Any, folder: str) -> None:
    """Sends every model's clips, clean, attacked and noisy, through rooms.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained, or the folder is of another
        study.
    """
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: parts.make(run, folder),
      lambda found: tables.write(folder, found, run.config.sweep.confidence),
    )


STUDY = AirStudy()
