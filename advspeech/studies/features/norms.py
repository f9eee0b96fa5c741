"""Sizes of perturbations in features and in audio (paper, eq. 7)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, input_pipeline, over_clips, parallel, randomness
from advspeech import features as features_lib
from advspeech.attacks import feature_level
from advspeech.studies.features.settings import (
  REPRESENTATIONS,
  WAVEFORM,
  Settings,
)

NORM_COLUMNS = (
  'task',
  'seed',
  'representation',
  'id',
  'perturbation',
  'amplitude',
  'cells',
  'feature_l2',
  'conversion_l2',
  'adversarial_l2',
  'overall_l2',
)


class Perturbing(NamedTuple):
  """Random changes of features; a function for `over_clips.map_clips`.

  Attributes:
    name: Of the representation.
    num: Changes of every clip.
  """

  name: str
  num: int

  def __call__(
    self, shared: Any, rows: dict[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """Returns sizes by name, each [chunk, num]."""
    del shared
    representation = REPRESENTATIONS[self.name].representation
    problem = feature_level.Problem(
      None, rows['audio'], representation, mask=rows['mask']
    )
    features, context = representation.analyse(rows['audio'])
    blank = feature_level.Prepared(features, context, None, None)
    zero = jnp.zeros_like(features)
    unperturbed = feature_level.rebuild(problem, blank, zero)
    place = list(REPRESENTATIONS).index(self.name)
    keys = randomness.stream(rows['key'], 'rectangles')
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, place)

    def perturb(number):
      draws = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
      change, amplitude = jax.vmap(
        functools.partial(rectangle, shape=features.shape[1:])
      )(draws, rows['mask'])
      found = feature_level.rebuild(problem, blank, change)
      parts = {
        'conversion': unperturbed - rows['audio'],
        'adversarial': found - unperturbed,
        'overall': found - rows['audio'],
      }
      by_clip = change.reshape(len(change), -1)
      return {
        'amplitude': amplitude,
        'cells': (by_clip != 0).sum(-1),
        'feature_l2': jnp.linalg.norm(by_clip, axis=-1),
        **{
          f'{part}_l2': jnp.linalg.norm(x * rows['mask'], axis=-1)
          for part, x in parts.items()
        },
      }

    found = jax.lax.map(perturb, jnp.arange(self.num))
    return {name: x.T for name, x in found.items()}


def rectangle(key, mask, *, shape):
  """Returns a change of features within a recording, and its amplitude.

  Random signs on a rectangle of frames and coefficients.

  Args:
    key: Of all draws.
    mask: [time], 1 on recorded samples.
    shape: Of the features, (num_frames, num_bins).
  """
  num_frames, num_bins = shape
  keys = jax.random.split(key, 4)
  hop_samples = audio.SAMPLE_RATE_HZ * features_lib.HOP_MS // 1000
  first = jnp.argmax(mask) // hop_samples
  end = (jnp.argmax(mask) + mask.sum().astype(int)) // hop_samples
  last = jnp.maximum(first + 2, jnp.minimum(num_frames, end))

  def inside(key, low, high, num):
    """Returns [num], whether between two different numbers of low to high."""
    one = jax.random.randint(key, (), low, high + 1)
    other = jax.random.randint(jax.random.fold_in(key, 1), (), low, high)
    other = other + (other >= one)
    place = jnp.arange(num)
    return (place >= jnp.minimum(one, other)) & (
      place < jnp.maximum(one, other)
    )

  amplitude = jnp.exp(
    jax.random.uniform(keys[0], (), minval=np.log(0.5), maxval=np.log(16))
  )
  frames = inside(keys[1], first, last, num_frames)
  bins = inside(keys[2], 0, num_bins, num_bins)
  signs = jax.random.rademacher(keys[3], shape, jnp.float32)
  return amplitude * signs * frames[:, None] * bins[None], amplitude


def norm_rows(
  split: input_pipeline.Split, *, task: str, seed: int, settings: Settings
) -> list[dict[str, Any]]:
  """Returns sizes of perturbations in features and in audio, by NORM_COLUMNS.

  Eq. 7: random signs on random rectangles of frames and coefficients, of random
  amplitude. Nothing here depends on a model.

  Args:
    split: Clips.
    task: For the rows.
    seed: For the rows, and of the perturbations.
    settings: How many.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  mesh = parallel.make_mesh()
  split = input_pipeline.spread(split, settings.num_norm_clips)
  rows = []
  for name in dict.fromkeys(v.representation for v in settings.variants):
    if name == WAVEFORM:
      continue
    found = over_clips.map_clips(
      Perturbing(name, settings.num_norm_perturbations),
      split,
      mesh,
      over_clips.chunk_size(mesh),
      seed=seed,
      name=f'norms of {name}',
    )
    rows += [
      {
        'task': task,
        'seed': seed,
        'representation': name,
        'id': str(utterance_id),
        'perturbation': p,
        **{key: values[i, p].item() for key, values in found.items()},
      }
      for p in range(settings.num_norm_perturbations)
      for i, utterance_id in enumerate(split.ids)
    ]
  return rows
