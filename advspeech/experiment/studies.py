"""Studies of trained models beside the sweep: of gradients, of features."""

import logging
import os
from collections.abc import Sequence

import ml_collections

from advspeech import (
  checkpoint,
  errors,
  input_pipeline,
  ownership,
  parallel,
  storage,
  sweep,
  tasks,
)
from advspeech.experiment.data import load
from advspeech.experiment.folder import (
  STUDIES,
  check_trained,
  classifier_dir,
  remove_page,
)
from advspeech.experiment.training import load_trained
from advspeech.experiment.validation import (
  check_choice,
  check_clips,
  validate,
)
from advspeech.studies import features as feature_study
from advspeech.studies import gradients as gradient_study

logger = logging.getLogger(__name__)


def _remove_page_without(folder, workdir):
  """Removes a page that does not show the study which is about to be made."""
  table = os.path.join(folder, STUDIES[os.path.basename(folder)])
  if parallel.is_lead() and not storage.exists(table):
    remove_page(workdir, 'lacks this study')


def run_features(
  config: ml_collections.ConfigDict,
  workdir: str,
  models_dir: str = '',
  settings: feature_study.Settings | None = None,
) -> str:
  """Sets feature-level attacks beside end-to-end ones; returns the folder.

  Args:
    config: See configs/paper.py.
    workdir: Tables, clips and figures go to `features/` in it.
    models_dir: The run's folder that holds the trained models, only read;
      '' for `workdir`.
    settings: What is tried; None for all of it.

  Raises:
    errors.InputError: If there are several processes.
  """
  validate(config)
  if parallel.is_distributed():
    raise errors.InputError(
      'launch.features works on one device of one process, got several '
      'processes; start it as one'
    )
  models_dir = models_dir or workdir
  settings = settings or feature_study.Settings()
  folder = os.path.join(workdir, 'features')
  _remove_page_without(folder, workdir)
  _, task, splits = load(config)
  test = input_pipeline.spread(splits['test'], settings.num_clips)
  classifiers = {
    seed: {
      name: load_trained(config, models_dir, name, seed, task.classes)
      for name in config.models
    }
    for seed in config.seeds
  }
  storage.make_folder(folder)
  with ownership.owned(folder):
    feature_study.write(
      folder,
      classifiers,
      config.source,
      test,
      task=config.task,
      classes=task.classes,
      settings=settings,
    )
    feature_study.draw(folder)
  return folder


def run_gradients(
  config: ml_collections.ConfigDict,
  workdir: str,
  *,
  checkpoints: Sequence[str] = (),
  split: str = 'test',
  examples: Sequence[str] = (),
) -> str:
  """Studies input gradients; returns the folder of tables and figures.

  Args:
    config: See configs/paper.py; its corpus, task and split give the clips.
    workdir: The run's folder; results go to `gradients/` in it.
    checkpoints: Folders of the models; () for all of the run.
    split: 'train', 'validation' or 'test'.
    examples: Ids of clips to keep whole gradients of; () for the first.

  Raises:
    errors.InputError: If a model is not trained, or not for these clips.
  """
  validate(config)
  check_choice('split', split, tasks.SPLITS)
  if not checkpoints:
    for seed in config.seeds:
      for name in config.models:
        check_trained(workdir, name, seed)
    checkpoints = [
      classifier_dir(workdir, name, seed)
      for seed in config.seeds
      for name in config.models
    ]
  epsilons = sweep.absolute(config.sweep.epsilons)
  left_out = len(config.sweep.epsilons) - len(epsilons)
  if left_out and parallel.is_lead():
    logger.warning(
      'gradients: %d epsilons that differ from clip to clip are left out',
      left_out,
    )
  folder = os.path.join(workdir, 'gradients')
  _remove_page_without(folder, workdir)
  _, task, splits = load(config)
  classifiers = {}
  errors.check_distinct('--checkpoint', checkpoints, storage.canonical)
  names = storage.distinct_ends(map(storage.absolute, checkpoints))
  for path in checkpoints:
    name = names[storage.absolute(path)]
    classifiers[name] = checkpoint.load_classifier(
      path, precision=config.sweep.precision
    )
    found = classifiers[name].metadata
    check_clips(path, found, config)
    expected = {'task': config.task, 'classes': list(task.classes)}
    for key, value in expected.items():
      if found[key] != value:
        raise errors.InputError(
          f'{path} was trained with {key} {found[key]}, the config says '
          f'{value}; name models and a --config of the same task'
        )
  clips = input_pipeline.spread(splits[split], config.gradients.num_clips)
  if parallel.is_lead():
    logger.info(
      'gradients: %d clips (%s), %d models', len(clips), split, len(classifiers)
    )
  if parallel.is_lead():
    storage.make_folder(folder)
  with ownership.owned(folder):
    gradient_study.write(
      folder,
      classifiers,
      clips,
      origin={
        'task': config.task,
        'split': split,
        'models': {
          name: {**c.metadata, 'epoch': c.epoch}
          for name, c in classifiers.items()
        },
      },
      batch_size=config.sweep.batch_size,
      epsilons=epsilons,
      clip_to_range=config.sweep.clip_to_range,
      confidence=config.sweep.confidence,
      num_studied=config.gradients.num_studied,
      examples=examples,
    )
    parallel.on_lead(
      lambda: gradient_study.draw(folder), f'{folder} has its figures'
    )
  return folder
