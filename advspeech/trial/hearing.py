"""The recordings of a trial as clips of one length, and their verifier."""

import itertools
import os
from collections.abc import Sequence

import numpy as np

from advspeech import (
  audio,
  checkpoint,
  embedders,
  errors,
  input_pipeline,
  parallel,
)
from advspeech.recording import hearing
from advspeech.trial.trial import Trial

# Of a longer recording an embedder hears the beginning: a gradient takes memory
# by the second.
_LONGEST_S = 30
# Samples of one recording saved twice are as alike as this, or more.
_SAME = 0.999


def hear(trial: Trial) -> tuple[embedders.Embedder, input_pipeline.Split]:
  """Returns the verifier, and what it hears: the recording, then the enrolled.

  A recording at another rate is converted; shorter ones are filled up with
  silence that is not heard, or that a trained model was trained on.

  Args:
    trial: The trial.

  Raises:
    errors.InputError: If there is no such verifier, a recording cannot be read,
      or two are the same.
  """
  paths = (trial.audio, *trial.enrolled)
  shape = audio.ClipShape(_LONGEST_S * audio.SAMPLE_RATE_HZ)
  model = None
  if trial.checkpoint_dir:
    model = checkpoint.load_classifier(
      trial.checkpoint_dir, mesh=parallel.own_mesh()
    )
    shape = audio.ClipShape(
      model.metadata['clip_samples'], **model.metadata['clip']
    )
  heard = [
    audio.load_clip(path, shape, _channels(trial, path)) for path in paths
  ]
  _check_distinct(paths, heard)
  for path, one in zip(paths, heard, strict=True):
    hearing.warn(path, one, shape.cut)
  if model:
    name = os.path.basename(os.path.normpath(trial.checkpoint_dir))
    num_samples = shape.num_samples
    embedder = embedders.of_classifier(name, model)
  else:
    num_samples = max(one.num_samples for one in heard)
    embedder = embedders.load(trial.embedder, num_samples)
  return embedder, input_pipeline.Split(
    ids=np.array([os.path.basename(path) for path in paths]),
    pcm=np.stack([one.pcm[:num_samples] for one in heard]),
    num_samples=np.array([one.num_samples for one in heard]),
    labels=np.full(len(paths), trial.is_rejected, np.int32),
    starts=np.array([one.start for one in heard]),
  )


def _channels(trial, path):
  if trial.checkpoint_dir:
    return hearing.channels(trial.checkpoint_dir, path, trial.channels)
  return trial.channels or 'mean'


def _check_distinct(paths: Sequence[str], heard: Sequence[audio.Heard]) -> None:
  """Refuses the same recording twice, under whatever name and format."""
  recorded = [
    one.pcm[one.start : one.start + one.num_samples].astype(float)
    for one in heard
  ]
  for i, j in itertools.combinations(range(len(paths)), 2):
    if _is_same(recorded[i], recorded[j]):
      flags = ('--enrol' if i else '--audio'), '--enrol'
      raise errors.InputError(
        f'{flags[0]}={paths[i]} and {flags[1]}={paths[j]} are the same '
        'recording, of which a verifier and an attack say nothing; name '
        'different ones'
      )


def _is_same(a, b):
  """Returns whether samples are alike, but for their level and rounding."""
  if np.array_equal(a, b):
    return True
  num = min(len(a), len(b))
  a, b = (x[:num] - x[:num].mean() for x in (a, b))
  size = np.linalg.norm(a) * np.linalg.norm(b)
  return bool(size and np.dot(a, b) > _SAME * size)
