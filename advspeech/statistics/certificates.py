"""Radii in which a smoothed classifier cannot change its answer (Cohen 2019).

Counts of a network's answers under Gaussian noise bound the probability of its
most frequent one, and that bounds how far the majority holds in L2.
"""

import math
import statistics
from typing import NamedTuple

import numpy as np


class Certificate(NamedTuple):
  """What counts of answers certify.

  Attributes:
    answer: The class most often given when guessing.
    num_agreeing: How often it is given when certifying.
    p_low: Lower bound of the probability that it is given.
    radius: In standard deviations of the noise; None where it abstains.
  """

  answer: int
  num_agreeing: int
  p_low: float
  radius: float | None


def lower_bound(num_agreeing: int, num_draws: int, alpha: float) -> float:
  """Returns the one-sided lower bound of a probability (Clopper & Pearson).

  It is above the probability in at most a share alpha of experiments.

  Args:
    num_agreeing: Draws that agree.
    num_draws: All of them.
    alpha: In (0, 1).

  Raises:
    ValueError: If not 0 <= num_agreeing <= num_draws, num_draws is 0, or alpha
      is not inside (0, 1).
  """
  if not 0 <= num_agreeing <= num_draws or num_draws == 0:
    raise ValueError(
      'num_agreeing must lie in [0, num_draws] with at least one draw, got '
      f'{num_agreeing} of {num_draws}'
    )
  if not 0 < alpha < 1:
    raise ValueError(f'alpha must lie in (0, 1), got {alpha}')
  if not num_agreeing:
    return 0.0
  from scipy import special

  misses = num_draws - num_agreeing
  return float(special.betaincinv(num_agreeing, misses + 1, alpha))


def certify(
  guessing: np.ndarray, certifying: np.ndarray, alpha: float
) -> Certificate:
  """Returns what a clip's counts certify, by Cohen, Rosenfeld & Kolter (2019).

  Draws that choose the class take no part in its bound.

  Args:
    guessing: [num_classes] how often each class was given by the first draws.
    certifying: [num_classes] the same of further ones.
    alpha: Probability that a radius is wrong, at most.
  """
  answer = int(np.argmax(guessing))
  num_agreeing = int(certifying[answer])
  p_low = lower_bound(num_agreeing, int(np.sum(certifying)), alpha)
  radius = None
  if p_low > 0.5:
    radius = statistics.NormalDist().inv_cdf(p_low)
  return Certificate(answer, num_agreeing, p_low, radius)


def largest_radius(num_draws: int, alpha: float) -> float | None:
  """Returns the radius where all draws agree, in standard deviations.

  None where even these certify nothing.

  Args:
    num_draws: When certifying.
    alpha: As of `certify`.
  """
  p_low = lower_bound(num_draws, num_draws, alpha)
  return statistics.NormalDist().inv_cdf(p_low) if p_low > 0.5 else None


def fewest_draws(alpha: float) -> int:
  """Returns the fewest draws that can certify anything at alpha."""
  # All agree: the bound is alpha to the power of 1 / num_draws.
  return math.floor(math.log(alpha) / math.log(0.5)) + 1
