"""Sizes of perturbations in features and in audio (paper, eq. 7)."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  audio,
  input_pipeline,
  over_clips,
  parallel,
  randomness,
  storage,
)
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
NORM_SUMMARY_COLUMNS = (
  'task',
  'seed',
  'representation',
  'num_perturbations',
  'spearman_adversarial',
  'adversarial_ci_low',
  'adversarial_ci_high',
  'spearman_overall',
  'overall_ci_low',
  'overall_ci_high',
  'spread_db',
)
NORM_EXAMPLE_COLUMNS = (
  'task',
  'seed',
  'representation',
  'small_id',
  'small_perturbation',
  'small_feature_l2',
  'small_adversarial_l2',
  'large_id',
  'large_perturbation',
  'large_feature_l2',
  'large_adversarial_l2',
)
_NUM_RESAMPLES = 499


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
        functools.partial(_rectangle, shape=features.shape[1:])
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


def _rectangle(key, mask, *, shape):
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


def norm_summary_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns rank correlations of sizes (eq. 7), by NORM_SUMMARY_COLUMNS.

  Intervals are percentiles over resampled clips. `spread_db` is how far
  perturbations of one size in features lie apart in audio: from the 5th to the
  95th percentile around the best monotone curve, in dB.

  Args:
    rows: By NORM_COLUMNS.
    confidence: Of intervals.
  """
  keys = ('task', 'seed', 'representation')
  table = []
  for key, group in storage.grouped(rows, keys).items():
    size, adversarial, overall = (
      np.array([row[f'{part}_l2'] for row in group])
      for part in ('feature', 'adversarial', 'overall')
    )
    entry = {
      **dict(zip(keys, key, strict=True)),
      'num_perturbations': len(group),
    }
    ids = np.array([row['id'] for row in group])
    of_clip = [np.flatnonzero(ids == id_) for id_ in dict.fromkeys(ids)]
    # All drawn before, the same clips for both parts; few clips have no BCa.
    drawn = np.random.default_rng(0).integers(
      len(of_clip), size=(_NUM_RESAMPLES, len(of_clip))
    )
    resamples = [np.concatenate([of_clip[i] for i in one]) for one in drawn]
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]
    for part, other in (('adversarial', adversarial), ('overall', overall)):
      found = [_spearman(size[rows], other[rows]) for rows in resamples]
      entry[f'spearman_{part}'] = _spearman(size, other)
      entry[f'{part}_ci_low'], entry[f'{part}_ci_high'] = (
        map(float, np.percentile(found, ends))
        if len(of_clip) > 1
        else (float('nan'),) * 2
      )
    entry['spread_db'] = _spread_db(size, adversarial)
    table.append(entry)
  return table


def norm_example_rows(
  rows: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
  """Returns two perturbations whose sizes contradict, by NORM_EXAMPLE_COLUMNS.

  For each representation the pair of which `small` is smaller in features and
  larger in audio than `large`, the least of both ratios being as large as any
  pair's (eq. 7); none where sizes never contradict.

  Args:
    rows: By NORM_COLUMNS.
  """
  table = []
  keys = ('task', 'seed', 'representation')
  for key, group in storage.grouped(rows, keys).items():
    group = [row for row in group if row['adversarial_l2'] > 0]
    size, found = (
      np.log([row[f'{part}_l2'] for row in group])
      for part in ('feature', 'adversarial')
    )
    if not len(group):
      continue
    apart = np.minimum(
      size[None, :] - size[:, None], found[:, None] - found[None, :]
    )
    i, j = np.unravel_index(apart.argmax(), apart.shape)
    if apart[i, j] <= 0:
      continue
    table.append(
      {
        **dict(zip(keys, key, strict=True)),
        **{
          f'{word}_{name}': group[row][name]
          for word, row in (('small', i), ('large', j))
          for name in ('id', 'perturbation', 'feature_l2', 'adversarial_l2')
        },
      }
    )
  return table


def _spread_db(size, found):
  from scipy import optimize

  level = 20 * np.log10(np.maximum(found, 1e-12))[np.argsort(size)]
  apart = level - optimize.isotonic_regression(level).x
  low, high = np.percentile(apart, [5, 95])
  return float(high - low)


def _spearman(a, b):
  from scipy import stats

  return float(stats.spearmanr(a, b).statistic)
