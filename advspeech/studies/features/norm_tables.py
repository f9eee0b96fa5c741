"""What sizes in features say of sizes in audio (paper, eq. 7): tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import storage

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
