"""The bootstrap of independent clips."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from advspeech.statistics import quantiles

# Resampled values held at once: 8 MB of float64.
_MAX_RESAMPLED = 2**20


def bootstrap_interval(
  values: npt.ArrayLike,
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
  quantiles.check_confidence(confidence)
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
