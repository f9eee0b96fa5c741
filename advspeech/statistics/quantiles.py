"""Quantiles by which intervals reach, and what coverage may be asked for."""

import functools
import statistics


def check_confidence(confidence: float) -> None:
  """Raises ValueError unless a coverage is inside (0, 1)."""
  if not 0 < confidence < 1:
    raise ValueError(f'confidence must lie in (0, 1), got {confidence}')


def normal(confidence: float) -> float:
  """Returns how many standard errors a two-sided interval reaches."""
  return statistics.NormalDist().inv_cdf(0.5 + confidence / 2)


def normal_tail(reach: float) -> float:
  """Returns the probability beyond so many standard errors, on one side."""
  return statistics.NormalDist().cdf(-reach)


@functools.lru_cache
def student(number: int, confidence: float) -> float:
  """Returns the reach of an interval from the spread of so many values."""
  from scipy import stats

  return float(stats.t.ppf(0.5 + confidence / 2, number - 1))
