"""The study of substitutes, as a stage runs it."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from advspeech import (
  errors,
  models,
  parallel,
  registry,
  studies,
  sweep,
  transforms,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies.substitute import (
  attacker,
  augmenting,
  claims,
  clips,
  page,
  rounds,
  tables,
  victims,
)

logger = logging.getLogger(__name__)


class SubstituteStudy(studies.Study):
  """Victims of which labels alone are asked, and what answers are worth."""

  name = 'substitute'
  title = 'An attacker who may only ask'
  table = tables.LAST
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_clips': 'whole [2, inf) or -1',
    'num_enrolled': 'whole [1, inf)',
    'num_examples': 'whole [0, 100]',
    'num_seeds': 'whole [2, inf)',
    'num_rounds': 'whole [1, 20]',
    'num_new': 'whole [1, inf)',
    'num_epochs': 'whole [1, 100000]',
    'batch_size': 'whole [1, 65536]',
    'ratio': '(0, 10]',
    'flip_every': 'whole [1, inf)',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.substitute
    for key, legal in (('regimes', clips.REGIMES), ('arms', attacker.ARMS)):
      for name in settings[key]:
        if name not in legal:
          raise errors.InputError(
            f'config.substitute.{key} must be of {", ".join(legal)}, got '
            f'{name!r}'
          )
    for key in ('regimes', 'arms', 'attacks'):
      errors.check_some(f'config.substitute.{key}', settings[key])
    for key in ('regimes', 'arms', 'attacks', 'victims', 'transforms'):
      errors.check_distinct(f'config.substitute.{key}', settings[key])
    registry.check_short_names('config.substitute.attacks', settings.attacks)
    for name in settings.attacks:
      made = sweep.make_attack(config, name)
      if made.fitted or made.unit or made.targeted:
        raise errors.InputError(
          'config.substitute.attacks must be on the waveform of one clip, and '
          f'not targeted, got {name!r}; use fgsm, pgd or their like'
        )
    if augmenting.TRANSFORMS in settings.arms and not settings.transforms:
      raise errors.InputError(
        'config.substitute.transforms must name at least one for the arm '
        f'{augmenting.TRANSFORMS!r}, got ()'
      )
    for name in settings.transforms:
      transforms.make(name)
    sweep.parse_budgets(
      'config.substitute.epsilons', settings.epsilons, zero=False
    )
    if settings.model:
      registry.resolve(
        'config.substitute.model',
        settings.model,
        dict.fromkeys(models.ALL_NAMES),
      )

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at a victim or clips that the run has not."""
    victims.check(config)
    if not rounds.regimes(config):
      raise errors.InputError(
        "config.substitute.corpus must name the corpus of the regime 'corpus', "
        "got ''; name one, or another of config.substitute.regimes"
      )
    if clips.CORPUS in config.substitute.regimes and (
      not config.substitute.corpus
    ):
      logger.info('substitute: no other corpus is named, and none is tried')
    for name in config.substitute.attacks:
      if not attacker.epsilons_of(config, name):
        raise errors.InputError(
          f'config.substitute.epsilons must name at least one for {name}, as '
          'the sweep has none but 0'
        )

  def check_devices(self, config: Any) -> None:
    """Raises errors.InputError where devices cannot share a batch."""
    parallel.check_batch_size(
      'config.substitute.batch_size',
      config.substitute.batch_size,
      parallel.make_mesh(),
    )

  def run(self, run: Any, folder: str) -> None:
    """Attacks every victim by way of substitutes, round by round.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained, there are too few clips to
        ask about, or the folder is of another study.
      preemption.Stopped: If a signal asked for it; parts that are there stay.
    """
    folder_lib.tables_once(
      os.path.join(folder, self.table),
      lambda: rounds.make(run, folder),
      lambda found: tables.write(folder, found, run.config.sweep.confidence),
    )


STUDY = SubstituteStudy()
