"""Intervals on error rates of independent clips."""

import math

from advspeech.statistics import quantiles


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
  quantiles.check_confidence(confidence)
  z = quantiles.normal(confidence)
  return score_interval(num_errors / num_clips, num_clips, z)


def score_interval(rate: float, n: float, z: float) -> tuple[float, float]:
  """Returns the rates that are z standard errors from one seen of n clips.

  Args:
    rate: As seen.
    n: Clips, or as many independent ones as they are worth.
    z: Standard errors.
  """
  center = (rate + z * z / (2 * n)) / (1 + z * z / n)
  half = (
    z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
  )
  # At the ends the interval touches 0 or 1 exactly; rounding must not move it.
  low = 0.0 if rate == 0 else max(0.0, center - half)
  high = 1.0 if rate == 1 else min(1.0, center + half)
  return low, high
