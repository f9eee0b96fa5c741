"""The corpus of a config: prepared, read, split, and reported."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from advspeech import (
  audio,
  corpora,
  errors,
  holdout,
  input_pipeline,
  parallel,
  storage,
  tasks,
)
from advspeech.experiment.validation import clip_samples, validate

logger = logging.getLogger(__name__)

# What a test clip may share with a training clip.
_SHARED = (('speaker',), ('statement',), ('speaker', 'statement'), ('take',))


def prepare(config: ml_collections.ConfigDict, skip_bad: bool = False) -> str:
  """Prepares the corpus, unless it is; returns the data set's path.

  Args:
    config: See configs/paper.py.
    skip_bad: Leave bad recordings out instead of stopping at them.
  """
  validate(config)
  path = corpora.path(config.corpus.name, **_where(config))
  try:
    parallel.on_lead(
      lambda: corpora.prepare(
        config.corpus.name, skip_bad=skip_bad, **_where(config)
      ),
      'the corpus is prepared',
    )
  # TFDS puts the one into the other.
  except (OSError, RuntimeError, MemoryError) as e:
    sentence = errors.of_machine(e, path)
    if not sentence:
      raise
    raise errors.InputError(sentence) from e
  logger.info('corpus %s: %s', config.corpus.name, path)
  return path


def is_prepared(config: ml_collections.ConfigDict) -> bool:
  """Returns whether the config's corpus is prepared here."""
  return corpora.is_prepared(config.corpus.name, **_where(config))


def describe_corpus(config: ml_collections.ConfigDict) -> str:
  """Returns where the config's corpus is, or what it will be made from.

  Raises:
    errors.InputError: If it is not prepared and its recordings are not there.
  """
  return corpora.describe(config.corpus.name, **_where(config))


def count_clips(
  config: ml_collections.ConfigDict,
) -> tuple[int, dict[str, int]]:
  """Returns classes of the task and clips of each split; reads no clip."""
  config = config.copy_and_resolve_references()
  config.input.memory_budget_mb = 0
  _, task, splits = read(config)
  return len(task.classes), {name: len(s) for name, s in splits.items()}


def _where(config):
  """Returns what says where a corpus is; see `corpora.Source`.

  Raises:
    errors.InputError: If it is in a home folder, and there is none.
  """
  if not (config.data_dir or os.environ.get('TFDS_DATA_DIR')):
    storage.given_path('config.data_dir', '~/tensorflow_datasets')
  return {
    'folder': config.corpus.folder,
    'manifest': config.corpus.manifest,
    'channels': config.corpus.channels,
    'data_dir': config.data_dir,
  }


def read(
  config: ml_collections.ConfigDict,
) -> tuple[corpora.Corpus, tasks.Task, dict[str, input_pipeline.Split]]:
  """Returns the corpus, the task and its splits.

  Args:
    config: See configs/paper.py.
  """
  corpus = corpora.read(
    config.corpus.name,
    num_samples=clip_samples(config),
    **config.clip,
    **_where(config),
  )
  columns = {key: getattr(corpus, key) for key in tasks.GROUPS}
  task = tasks.select(config.task, config.classes, **columns)
  splits = input_pipeline.make_splits(
    corpus,
    task,
    config.split.kind,
    config.split.seed,
    config.split.session,
    config.split.by,
  )
  budget_bytes = config.input.memory_budget_mb * 1e6
  return corpus, task, input_pipeline.read(splits, budget_bytes)


def audit(
  corpus: corpora.Corpus,
  task: tasks.Task,
  splits: Mapping[str, input_pipeline.Split],
) -> dict[str, dict[str, Any]]:
  """Logs what is in each split, and by name what is not; returns the counts.

  Of validation and test clips also how many share with a training clip who
  speaks, what is said, both, and of what they are a take (`shared`, None where
  the corpus does not say it).
  """
  rows = {
    name: np.searchsorted(corpus.ids, split.ids)
    for name, split in splits.items()
  }
  described = {
    name: _describe_split(corpus, task, split, rows[name])
    for name, split in splits.items()
  }
  for name in ('validation', 'test'):
    described[name]['shared'] = {
      ' and '.join(keys): holdout.num_shared(
        [getattr(corpus, key) for key in keys], rows[name], rows['train']
      )
      for keys in _SHARED
    }
  for name, found in described.items():
    logger.info(
      '%s: %d clips (%s), %s speakers, %.0f s of sound',
      name,
      found['num_clips'],
      ', '.join(f'{n} {c}' for c, n in found['classes'].items()),
      found['num_speakers'] or 'unknown',
      found['seconds'],
    )
    shared = {k: n for k, n in found.get('shared', {}).items() if n is not None}
    if shared:
      logger.info(
        '%s: in training too are %s',
        name,
        ', '.join(f'the {key} of {n} clips' for key, n in shared.items()),
      )
    absent = [c for c, n in found['classes'].items() if not n]
    if absent:
      logger.warning(
        '%s has no clip of %s; no number of this run is about them there',
        name,
        ', '.join(absent),
      )
  return described


def _describe_split(corpus, task, split, rows):
  """Returns the counts of a split, for records."""
  counts = np.bincount(split.labels, minlength=len(task.classes))
  speakers = np.unique(corpus.speaker[rows])
  return {
    'num_clips': len(split),
    'classes': dict(zip(task.classes, counts.tolist(), strict=True)),
    'num_speakers': int((speakers != '').sum()),
    'seconds': float(split.num_samples.sum() / audio.SAMPLE_RATE_HZ),
  }
