"""Intervals on medians of independent clips, infinite values among them."""

import math

import numpy as np
import numpy.typing as npt

from advspeech.statistics import quantiles


def median_interval(
  values: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
  """Returns an interval for the median between two of the values, (low, high).

  Whatever their distribution: so many of n lie below the median as heads come
  of n coins. Infinite where n is too small, 5 and less at 0.95.

  Args:
    values: [num_clips], infinite ones too.
    confidence: Two-sided coverage, at least.

  Raises:
    ValueError: If `values` is empty, not one-dimensional or holds a nan, or
      confidence is not inside (0, 1).
  """
  quantiles.check_confidence(confidence)
  values = np.sort(np.asarray(values, np.float64))
  if values.ndim != 1 or not values.size or np.isnan(values).any():
    raise ValueError(
      'values must be numbers, [num_clips] with at least one clip, got shape '
      f'{values.shape} with {int(np.isnan(values).sum())} nan'
    )
  num, outside, rank = len(values), (1 - confidence) / 2, 0
  below = 0
  while (below + math.comb(num, rank)) / 2**num <= outside:
    below += math.comb(num, rank)
    rank += 1
  if not rank:
    return -math.inf, math.inf
  return float(values[rank - 1]), float(values[num - rank])
