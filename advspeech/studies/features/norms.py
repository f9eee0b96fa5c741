"""Sizes of perturbations in features and in audio (paper, eq. 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  audio,
  checkpoint,
  features,
  input_pipeline,
  parallel,
  preemption,
  storage,
)
from advspeech.attacks import feature_level
from advspeech.studies.features.engine import PARTS, arrays, compile_steps
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


def norm_rows(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  *,
  task: str,
  seed: int,
  settings: Settings,
) -> list[dict[str, Any]]:
  """Returns sizes of perturbations in features and in audio, by NORM_COLUMNS.

  Eq. 7: random signs on random rectangles of frames and coefficients, of random
  amplitude. Nothing here depends on a model but its place in `compile_steps`.

  Args:
    classifier: Whose clips these are.
    split: Clips.
    task: For the rows.
    seed: For the rows, and of the perturbations.
    settings: How many.
  """
  place = {name: i for i, name in enumerate(REPRESENTATIONS)}
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  split = input_pipeline.spread(split, settings.num_norm_clips)
  rows = []
  names = dict.fromkeys(v.representation for v in settings.variants)
  for name in names:
    if name == WAVEFORM:
      continue
    steps = compile_steps(classifier.model, name, settings)
    batches = input_pipeline.batches(split, settings.batch_size, mesh)
    for number, loaded in enumerate(batches):
      preemption.check()
      batch = arrays(loaded)
      spans = split.spans[number * settings.batch_size :]
      values, context = steps.analyse(batch['audio'])
      blank = feature_level.Prepared(values, context, None, None)
      unperturbed = steps.rebuild(batch, blank, jnp.zeros_like(values))
      words = input_pipeline.id_words(loaded['id'])
      for p in range(settings.num_norm_perturbations):
        # A clip's draws are its own, whatever batch it comes in.
        draws = [
          np.random.default_rng((seed, place[name], p, *of_clip))
          for of_clip in words.tolist()
        ]
        change, amplitude = _rectangles(draws, values.shape, spans)
        found = steps.rebuild(batch, blank, jnp.asarray(change))
        mask = batch['mask']
        sizes = [
          np.asarray(jnp.linalg.norm(x * mask, axis=-1))
          for x in (
            unperturbed - batch['audio'],
            found - unperturbed,
            found - batch['audio'],
          )
        ]
        for i, utterance_id in enumerate(loaded['id']):
          rows.append(
            {
              'task': task,
              'seed': seed,
              'representation': name,
              'id': str(utterance_id),
              'perturbation': p,
              'amplitude': float(amplitude[i]),
              'cells': int((change[i] != 0).sum()),
              'feature_l2': float(np.linalg.norm(change[i])),
              **{
                f'{part}_l2': float(size[i])
                for part, size in zip(PARTS, sizes, strict=True)
              },
            }
          )
  return rows


def _rectangles(draws, shape, spans):
  """Returns changes of that shape and their amplitudes, within recordings.

  Args:
    draws: A generator a clip.
    shape: Of the features, (batch, num_frames, num_bins).
    spans: [num_clips, 2] samples, the batch's first.
  """
  batch, num_frames, num_bins = shape
  change = np.zeros(shape, np.float32)
  amplitude = np.zeros(batch)
  hop_samples = audio.SAMPLE_RATE_HZ * features.HOP_MS // 1000
  for i, (rng, (first, end)) in enumerate(
    zip(draws, spans[:batch] // hop_samples, strict=False)
  ):
    amplitude[i] = np.exp(rng.uniform(np.log(0.5), np.log(16)))
    last = max(first + 2, min(num_frames, end))
    t0, t1 = first + np.sort(rng.choice(last - first + 1, 2, replace=False))
    f0, f1 = np.sort(rng.choice(num_bins + 1, 2, replace=False))
    signs = rng.choice((-1, 1), (t1 - t0, f1 - f0))
    change[i, t0:t1, f0:f1] = amplitude[i] * signs
  return change, amplitude


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
