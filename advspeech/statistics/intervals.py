"""Intervals of rates and of statistics over clips or groups of them."""

import functools
import math
import statistics as _statistics
import warnings
from collections.abc import Callable, Sequence

import numpy as np

# Resampled values held at once: 8 MB of float64.
_MAX_RESAMPLED = 2**20
# With fewer clusters their spread is hardly known, and no interval is given.
FEWEST_CLUSTERS = 6


def wilson_interval(
  num_errors: int, num_clips: int, confidence: float = 0.95
) -> tuple[float, float]:
  """Returns Wilson's score interval for an error rate, (low, high).

  Unlike the normal approximation it stays inside [0, 1] and keeps its coverage
  at 0 and at 1 (Wilson 1927; Brown, Cai & DasGupta 2001).

  Args:
    num_errors: Clips judged wrong.
    num_clips: Clips judged.
    confidence: Two-sided coverage.

  Raises:
    ValueError: If not 0 <= num_errors <= num_clips, num_clips is 0, or
      confidence is not inside (0, 1).
  """
  if not 0 <= num_errors <= num_clips or num_clips == 0:
    raise ValueError(
      'num_errors must lie in [0, num_clips] with at least one clip, '
      f'got {num_errors} of {num_clips}'
    )
  check_confidence(confidence)
  z = _statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
  return score_interval(num_errors / num_clips, num_clips, z)


def score_interval(rate, n, z):
  """Returns the rates that are z standard errors from one seen of n clips."""
  center = (rate + z * z / (2 * n)) / (1 + z * z / n)
  half = (
    z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
  )
  # At the ends the interval touches 0 or 1 exactly; rounding must not move it.
  low = 0.0 if rate == 0 else max(0.0, center - half)
  high = 1.0 if rate == 1 else min(1.0, center + half)
  return low, high


def clustered_wilson_interval(
  wrong: Sequence[bool], cluster: Sequence[str], confidence: float = 0.95
) -> tuple[float, float]:
  """Returns an interval for the error rate of clusters to come, (low, high).

  Wilson's, for so many independent clips as would make a rate vary as it does
  between clusters, never more than there are, and with Student's quantile for
  the number of clusters (Korn & Graubard 1998; Dean & Pagano 2015). It holds
  Wilson's own interval. Simulated with 6 to 24 clusters of unequal size it
  covers the truth in 90 to 98 % of experiments, where a percentile bootstrap of
  clusters does in 67 to 94 %.

  Args:
    wrong: [num_clips] whether each clip is judged wrong.
    cluster: [num_clips] what the clips share, such as their speaker.
    confidence: Two-sided coverage.

  Raises:
    ValueError: If there is not one cluster a clip, there are fewer than
      `FEWEST_CLUSTERS` of them, or confidence is not inside (0, 1).
  """
  check_confidence(confidence)
  sums, sizes = _cluster_sums(np.asarray(wrong, bool), cluster)
  num_clips, num_clusters = sizes.sum(), len(sizes)
  rate = float(sums.sum() / num_clips)
  variance = np.sum((sums - rate * sizes) ** 2) / num_clips**2
  variance *= num_clusters / (num_clusters - 1)
  effective = float(num_clips)
  if variance > 0:
    effective = min(effective, float(rate * (1 - rate) / variance))
  return score_interval(rate, effective, _student(num_clusters, confidence))


def cluster_bootstrap_interval(
  values: Sequence[float],
  cluster: Sequence[str],
  *,
  num_resamples: int = 9999,
  confidence: float = 0.95,
  seed: int = 0,
) -> tuple[float, float]:
  """Returns a bootstrap interval for a mean, whole clusters drawn, (low, high).

  Percentiles, as far out as makes up for how narrow those of few clusters are
  (Hesterberg 2015, "expanded percentile"). A bootstrap cannot know of what no
  cluster showed: for a rate use `clustered_wilson_interval`, and for a
  difference of rates hold this interval beside that of the clips.

  Args:
    values: [num_clips] one a clip, such as wrong under A less wrong under B.
    cluster: [num_clips] what the clips share, such as their speaker.
    num_resamples: Resamples drawn.
    confidence: Two-sided coverage.
    seed: Same seed, same interval.

  Raises:
    ValueError: If there is not one cluster a clip, there are fewer than
      `FEWEST_CLUSTERS` of them, or confidence is not inside (0, 1).
  """
  check_confidence(confidence)
  means, number = _resampled_means(values, cluster, num_resamples, seed)
  reach = _expansion(number) * _student(number, confidence)
  tail = _statistics.NormalDist().cdf(-reach)
  low, high = np.quantile(means, (tail, 1 - tail))
  return float(low), float(high)


def cluster_bootstrap_p(
  values: Sequence[float],
  cluster: Sequence[str],
  *,
  num_resamples: int = 9999,
  seed: int = 0,
) -> float:
  """Returns the p at which `cluster_bootstrap_interval` begins to hold zero.

  Two-sided; 0 where no resample lies beyond zero, which is no certainty: how
  sure it is then is for a test on the clips to say.

  Args:
    values: [num_clips] as of that interval.
    cluster: [num_clips] what the clips share.
    num_resamples: Resamples drawn.
    seed: Same seed, same p.

  Raises:
    ValueError: As of that interval.
  """
  means, number = _resampled_means(values, cluster, num_resamples, seed)
  tail = float(min(np.mean(means <= 0), np.mean(means >= 0)))
  if not 0 < tail < 0.5:
    return float(tail > 0)
  from scipy import stats

  reach = -_statistics.NormalDist().inv_cdf(tail) / _expansion(number)
  return float(2 * stats.t.sf(reach, number - 1))


def _resampled_means(values, cluster, num_resamples, seed):
  """Returns a mean a resample of the clusters, and how many clusters are."""
  sums, sizes = _cluster_sums(np.asarray(values, np.float64), cluster)
  drawn = _drawn_clusters(len(sizes), num_resamples, seed)
  return (drawn @ sums) / (drawn @ sizes), len(sizes)


def _expansion(number):
  """Returns how much wider than a bootstrap's the spread of clusters is."""
  return math.sqrt(number / (number - 1))


def _cluster_sums(values, cluster):
  """Returns the sum of each cluster's values, and how many they are."""
  cluster = np.asarray(cluster)
  if values.shape != cluster.shape or values.ndim != 1:
    raise ValueError(
      'values and cluster must be [num_clips], got shapes '
      f'{values.shape} and {cluster.shape}'
    )
  names, place = np.unique(cluster, return_inverse=True)
  if len(names) < FEWEST_CLUSTERS:
    raise ValueError(
      f'an interval by cluster needs at least {FEWEST_CLUSTERS} clusters, got '
      f'{len(names)}; say that there are too few'
    )
  sums = np.bincount(place, values, minlength=len(names))
  return sums, np.bincount(place).astype(np.float64)


@functools.lru_cache
def _drawn_clusters(number, num_resamples, seed):
  """Returns how often each resample has each cluster, [resamples, number]."""
  rng = np.random.default_rng(seed)
  shares = np.full(number, 1 / number)
  return rng.multinomial(number, shares, num_resamples).astype(np.float64)


@functools.lru_cache
def _student(num_clusters, confidence):
  from scipy import stats

  return float(stats.t.ppf(0.5 + confidence / 2, num_clusters - 1))


def bootstrap_interval(
  values: Sequence[float],
  statistic: Callable[..., np.ndarray] = np.mean,
  *,
  num_resamples: int = 9999,
  confidence: float = 0.95,
  seed: int = 0,
) -> tuple[float, float]:
  """Returns a bootstrap interval for a statistic of clips, (low, high).

  Bias-corrected and accelerated (Efron 1987), from scipy.stats.bootstrap; the
  percentile interval where BCa is undefined, as on values that are all equal,
  where both ends are the statistic itself. For an error rate use
  `wilson_interval`: a bootstrap cannot know of errors it never saw, and at a
  rate of 0.02 and 48 clips covers the truth in 55 % of experiments.

  Args:
    values: [num_clips] one a clip.
    statistic: Takes values [..., num_clips] and `axis`.
    num_resamples: Resamples drawn.
    confidence: Two-sided coverage.
    seed: Same seed, same interval.

  Raises:
    ValueError: If `values` is empty, not one-dimensional or not finite,
      num_resamples is below 1, or confidence is not inside (0, 1).
  """
  check_confidence(confidence)
  values = np.asarray(values, np.float64)
  if values.ndim != 1 or not values.size or not np.isfinite(values).all():
    raise ValueError(
      'values must be finite numbers, [num_clips] with at least one clip, got '
      f'shape {values.shape} with {int((~np.isfinite(values)).sum())} not '
      'finite; leave those clips out and say how many they were'
    )
  if num_resamples < 1:
    raise ValueError(f'num_resamples must be at least 1, got {num_resamples}')
  if values.min() == values.max():
    constant = float(statistic(values, axis=-1))
    return constant, constant
  from scipy import stats

  with warnings.catch_warnings():
    warnings.simplefilter('ignore', stats.DegenerateDataWarning)
    bca = stats.bootstrap(
      (values,),
      statistic,
      n_resamples=num_resamples,
      batch=max(1, _MAX_RESAMPLED // len(values)),
      vectorized=True,
      confidence_level=confidence,
      method='BCa',
      rng=np.random.default_rng(seed),
    )
  low, high = bca.confidence_interval
  if not (math.isfinite(low) and math.isfinite(high)):
    tail = (1 - confidence) / 2
    low, high = np.quantile(bca.bootstrap_distribution, (tail, 1 - tail))
  return float(low), float(high)


def check_confidence(confidence: float) -> None:
  """Raises ValueError at a confidence that is none."""
  if not 0 < confidence < 1:
    raise ValueError(f'confidence must lie in (0, 1), got {confidence}')
