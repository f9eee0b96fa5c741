"""The study of input gradients, as a stage runs it."""

import logging
from collections.abc import Mapping
from typing import Any

from advspeech import (
  audio,
  checkpoint,
  errors,
  holdout,
  input_pipeline,
  parallel,
  storage,
  studies,
  sweep,
)
from advspeech.studies.gradients import analysis, claims, page, parts

logger = logging.getLogger(__name__)


class GradientStudy(studies.Study):
  """Where input gradients are: Figure 5, equations 3 to 5 and 8 to 12."""

  name = 'gradients'
  title = 'Where the gradient is'
  table = 'summary.csv'
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
  numbers: Mapping[str, str] = {
    'num_clips': 'whole [2, inf) or -1',
    'num_studied': 'whole [2, inf)',
  }

  def check(self, config: Any) -> None:
    """Raises errors.InputError at settings that cannot be run."""
    settings = config.gradients
    if settings.split not in holdout.SPLITS:
      raise errors.InputError(
        'config.gradients.split must be one of '
        f'{", ".join(holdout.SPLITS)}, got {settings.split!r}'
      )
    errors.check_distinct(
      'config.gradients.checkpoints', settings.checkpoints, storage.canonical
    )
    errors.check_distinct('config.gradients.examples', settings.examples)

  def check_run(self, config: Any) -> None:
    """Raises errors.InputError at clips that profiles cannot be taken of."""
    if round(config.clip_s * audio.SAMPLE_RATE_HZ) % analysis.FRAME_SAMPLES:
      raise errors.InputError(
        'config.clip_s must be whole frames of 40 ms for the study of '
        f'gradients, got {config.clip_s} s; use a multiple of 0.04 or leave '
        'gradients out of config.studies'
      )

  def run(self, run: Any, folder: str) -> None:
    """Studies the run's models, or those of `config.gradients.checkpoints`.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained, or not for these clips.
    """
    config, settings = run.config, run.config.gradients
    epsilons = sweep.absolute_epsilons(config.sweep.epsilons)
    left_out = len(config.sweep.epsilons) - len(epsilons)
    if left_out and parallel.is_lead():
      logger.warning(
        'gradients: %d epsilons that differ from clip to clip are left out',
        left_out,
      )
    classifiers = _classifiers(run)
    split = run.data.splits[settings.split]
    clips = input_pipeline.spread(split, settings.num_clips)
    if parallel.is_lead():
      logger.info(
        'gradients: %d clips (%s), %d models',
        len(clips),
        settings.split,
        len(classifiers),
      )
    parts.write(
      folder,
      classifiers,
      clips,
      origin={
        'task': config.task,
        'split': settings.split,
        'models': {
          name: {**c.metadata, 'epoch': c.epoch}
          for name, c in classifiers.items()
        },
      },
      epsilons=epsilons,
      clip_to_range=config.sweep.clip_to_range,
      confidence=config.sweep.confidence,
      num_studied=settings.num_studied,
      examples=settings.examples,
    )


STUDY = GradientStudy()


def _classifiers(run):
  """Returns the models studied, by name."""
  config, paths = run.config, run.config.gradients.checkpoints
  if not paths:
    return {
      f'{name}-seed{seed}': run.classifier(name, seed)
      for seed in config.seeds
      for name in config.models
    }
  names = storage.distinct_ends(map(storage.absolute, paths))
  found = {}
  for path in paths:
    classifier = checkpoint.load_classifier(
      path, precision=config.sweep.precision
    )
    checkpoint.check_clips(
      path, classifier.metadata, clip_s=config.clip_s, clip=config.clip
    )
    expected = {'task': config.task, 'classes': list(run.classes)}
    for key, value in expected.items():
      if classifier.metadata[key] != value:
        raise errors.InputError(
          f'{path} was trained with {key} {classifier.metadata[key]}, the '
          f'config says {value}; name models and a --config of the same task'
        )
    found[names[storage.absolute(path)]] = classifier
  return found
