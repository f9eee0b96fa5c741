"""Tests and intervals on pairs: two attacks judged on the same clips.

Their difference is told by the clips on which they disagree, not by whether two
intervals overlap.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from advspeech.statistics.rates import wilson_interval


class McNemar(NamedTuple):
  """Result of McNemar's test on two sets of verdicts on the same clips.

  Attributes:
    p_value: Exact, two-sided.
    only_a: Clips wrong under A alone (b of the usual table).
    only_b: Clips wrong under B alone (c).
  """

  p_value: float
  only_a: int
  only_b: int


def mcnemar(wrong_a: npt.ArrayLike, wrong_b: npt.ArrayLike) -> McNemar:
  """Returns McNemar's exact test that A and B err equally often.

  Under that hypothesis the clips on which they disagree are split like fair
  coins (McNemar 1947); two-sided binomial test, 1 where they never disagree.

  Args:
    wrong_a: [num_clips] whether each clip is judged wrong under A.
    wrong_b: [num_clips] the same clips under B.

  Raises:
    ValueError: If the two are not verdicts on the same clips.
  """
  wrong_a, wrong_b = _pairs(wrong_a, wrong_b)
  only_a = int(np.sum(wrong_a & ~wrong_b))
  only_b = int(np.sum(wrong_b & ~wrong_a))
  if not only_a + only_b:
    return McNemar(1.0, 0, 0)
  from scipy import stats

  p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue)
  return McNemar(p_value, only_a, only_b)


def paired_difference_interval(
  wrong_a: npt.ArrayLike, wrong_b: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
  """Returns Newcombe's interval for A's error rate less B's, (low, high).

  Squares and adds the two Wilson intervals, less their correlation with a
  continuity correction (Newcombe 1998, Stat. Med. 17, 2635, method 10).

  Args:
    wrong_a: [num_clips] whether each clip is judged wrong under A.
    wrong_b: [num_clips] the same clips under B.
    confidence: Two-sided coverage.

  Raises:
    ValueError: If the two are not verdicts on the same clips, or confidence is
      not inside (0, 1).
  """
  wrong_a, wrong_b = _pairs(wrong_a, wrong_b)
  n = len(wrong_a)
  errors_a, errors_b = int(wrong_a.sum()), int(wrong_b.sum())
  both = int(np.sum(wrong_a & wrong_b))
  neither = int(np.sum(~wrong_a & ~wrong_b))
  low_a, high_a = wilson_interval(errors_a, n, confidence)
  low_b, high_b = wilson_interval(errors_b, n, confidence)
  rate_a, rate_b = errors_a / n, errors_b / n
  covariance = both * neither - (errors_a - both) * (errors_b - both)
  corrected = float(covariance)
  if covariance > 0:
    corrected = max(covariance - n / 2, 0.0)
  scale = errors_a * (n - errors_a) * errors_b * (n - errors_b)
  phi = corrected / math.sqrt(scale) if scale else 0.0

  def half(x, y):
    return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

  difference = rate_a - rate_b
  return (
    max(-1.0, difference - half(rate_a - low_a, high_b - rate_b)),
    min(1.0, difference + half(rate_b - low_b, high_a - rate_a)),
  )


def square_and_add(
  a: tuple[float, float, float],
  b: tuple[float, float, float],
) -> tuple[float, float]:
  """Returns the interval of A less B, from those of A and B, (low, high).

  The distances of A and B to the ends of their own intervals, squared and added
  (MOVER; Zou & Donner 2008, Stat. Med. 27, 1693). As if A and B were
  independent: wider than need be where they rise together.

  Args:
    a: Estimate, low and high.
    b: The same of what is taken off.
  """
  estimate = a[0] - b[0]
  return (
    estimate - math.hypot(a[0] - a[1], b[2] - b[0]),
    estimate + math.hypot(a[2] - a[0], b[0] - b[1]),
  )


def _pairs(wrong_a, wrong_b):
  wrong_a, wrong_b = np.asarray(wrong_a, bool), np.asarray(wrong_b, bool)
  if wrong_a.shape != wrong_b.shape or wrong_a.ndim != 1 or not wrong_a.size:
    raise ValueError(
      'wrong_a and wrong_b must be verdicts on the same clips, [num_clips] '
      f'with at least one, got shapes {wrong_a.shape} and {wrong_b.shape}'
    )
  return wrong_a, wrong_b
