"""Intervals by cluster: clips of one voice are no sample of voices."""

import functools
import math

import numpy as np
import numpy.typing as npt

from advspeech.statistics import quantiles
from advspeech.statistics.rates import score_interval

# With fewer clusters their spread is hardly known, and no interval is given.
FEWEST_CLUSTERS = 6


def clustered_wilson_interval(
  wrong: npt.ArrayLike, cluster: npt.ArrayLike, confidence: float = 0.95
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
  quantiles.check_confidence(confidence)
  sums, sizes = cluster_sums(np.asarray(wrong, bool), cluster)
  num_clips, num_clusters = int(sizes.sum()), len(sizes)
  rate = float(sums.sum() / num_clips)
  variance = np.sum((sums - rate * sizes) ** 2) / num_clips**2
  variance *= num_clusters / (num_clusters - 1)
  effective = float(num_clips)
  if variance > 0:
    effective = min(effective, float(rate * (1 - rate) / variance))
  return score_interval(
    rate, effective, quantiles.student(num_clusters, confidence)
  )


def cluster_bootstrap_interval(
  values: npt.ArrayLike,
  cluster: npt.ArrayLike,
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
  quantiles.check_confidence(confidence)
  means, number = _resampled_means(values, cluster, num_resamples, seed)
  return _expanded(means, number, confidence)


def cluster_median_interval(
  values: npt.ArrayLike,
  cluster: npt.ArrayLike,
  *,
  num_resamples: int = 1999,
  confidence: float = 0.95,
  seed: int = 0,
) -> tuple[float, float]:
  """Returns a bootstrap interval for a median, whole clusters drawn.

  As `cluster_bootstrap_interval` has it for a mean. Simulated with 6 to 24
  clusters of unequal size it covers the median of others in 92 to 95 % of
  experiments.

  Args:
    values: [num_clips] one a clip.
    cluster: [num_clips] what the clips share.
    num_resamples: Resamples drawn.
    confidence: Two-sided coverage.
    seed: Same seed, same interval.

  Raises:
    ValueError: As of that interval.
  """
  quantiles.check_confidence(confidence)
  values = np.asarray(values, np.float64)
  _, sizes = cluster_sums(values, cluster)
  place = np.unique(cluster, return_inverse=True)[1]
  order = np.argsort(values)
  drawn = drawn_clusters(len(sizes), num_resamples, seed)
  until = np.cumsum(drawn[:, place[order]], 1)
  number = until[:, -1:]
  middle = [np.argmax(until > at, 1) for at in ((number - 1) // 2, number // 2)]
  medians = values[order][np.stack(middle)].mean(0)
  return _expanded(medians, len(sizes), confidence)


def _expanded(resampled, number, confidence):
  """Returns percentiles as far out as makes up for so few clusters."""
  reach = _expansion(number) * quantiles.student(number, confidence)
  tail = quantiles.normal_tail(reach)
  low, high = np.quantile(resampled, (tail, 1 - tail))
  return float(low), float(high)


def cluster_bootstrap_p(
  values: npt.ArrayLike,
  cluster: npt.ArrayLike,
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

  reach = quantiles.normal(1 - 2 * tail) / _expansion(number)
  return float(2 * stats.t.sf(reach, number - 1))


def _resampled_means(values, cluster, num_resamples, seed):
  """Returns a mean a resample of the clusters, and how many clusters are."""
  sums, sizes = cluster_sums(np.asarray(values, np.float64), cluster)
  drawn = drawn_clusters(len(sizes), num_resamples, seed)
  return (drawn @ sums) / (drawn @ sizes), len(sizes)


def _expansion(number):
  """Returns how much wider than a bootstrap's the spread of clusters is."""
  return math.sqrt(number / (number - 1))


def cluster_sums(
  values: np.ndarray, cluster: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the sum of each cluster's values, and how many they are.

  Args:
    values: [num_clips] one a clip.
    cluster: [num_clips] what the clips share.

  Raises:
    ValueError: If there is not one cluster a clip, or there are fewer than
      `FEWEST_CLUSTERS` of them.
  """
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
def drawn_clusters(number: int, num_resamples: int, seed: int) -> np.ndarray:
  """Returns how often each resample has each cluster, [resamples, number].

  Args:
    number: Of clusters.
    num_resamples: Resamples drawn.
    seed: Same seed, same resamples.
  """
  rng = np.random.default_rng(seed)
  shares = np.full(number, 1 / number)
  return rng.multinomial(number, shares, num_resamples).astype(np.float64)
