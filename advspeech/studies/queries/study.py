"""The study of queries, as a stage runs it."""

import os
from collections.abc import Mapping
from typing import Any

from advspeech import audio, errors, studies, sweep
from advspeech.attacks import constraints
from advspeech.studies import folder as folder_lib
from advspeech.studies.queries import asking, page, parts, tables


class QueriesStudy(studies.Study):
  """Attacks without a gradient, by the number of queries they take."""

  name = 'queries'
  title = 'By queries alone'
  table = tables.LAST
  figures = staticmethod(page.figure_list)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_queries': 'whole [1, 1000000]',
    'num_starts': 'whole [1, 1000]',
    'num_clips': 'whole [1, inf) or -1',
    'num_examples': 'whole [0, 100]',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.queries
    errors.check_some('config.queries.attacks', settings.attacks)
    for key, names, legal in (
      ('attacks', settings.attacks, asking.NAMES),
      ('norm', (settings.norm,), constraints.NORMS),
    ):
      for name in names:
        if name not in legal:
          raise errors.InputError(
            f'config.queries.{key} must be of {", ".join(legal)}, got {name!r}'
          )
    errors.check_distinct('config.queries.attacks', settings.attacks)
    sweep.parse_budgets(
      'config.queries.epsilon', [settings.epsilon], zero=False
    )

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at a mask that the attacks cannot keep to."""
    sweep.check_mask(
      sweep.make_attack(config, 'square'),
      config.sweep.masks[0],
      round(config.clip_s * audio.SAMPLE_RATE_HZ),
    )

  def run(self, run: Any, folder: str) -> None:
    """Asks every model about every clip, by every attack.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained, or the folder is of another
        study.
      preemption.Stopped: If a signal asked for it; parts that are there stay.
    """
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: parts.make(run, folder),
      lambda found: tables.write(folder, found, run.config.sweep.confidence),
    )


STUDY = QueriesStudy()
