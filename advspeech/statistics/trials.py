"""Intervals for rates of trials: those of one speaker are no sample of trials.

A trial has a speaker on either side, the one claimed and the one who speaks.
Speakers are drawn, once for both sides: a trial of two of them counts as often
as the one was drawn times the other, a trial of one as often as that one was
(Owen 2007, the pigeonhole bootstrap, on one set of speakers).
"""

import math

import numpy as np
import numpy.typing as npt

from advspeech.statistics import quantiles
from advspeech.statistics.clusters import FEWEST_CLUSTERS, drawn_clusters
from advspeech.statistics.rates import score_interval

NUM_RESAMPLES = 1999


def weights(
  claimed: npt.ArrayLike,
  speaking: npt.ArrayLike,
  *,
  num_resamples: int = NUM_RESAMPLES,
  seed: int = 0,
) -> np.ndarray:
  """Returns how often each resample has each trial, [num_resamples, trials].

  Args:
    claimed: [num_trials] who is enrolled.
    speaking: [num_trials] who speaks.
    num_resamples: Resamples drawn.
    seed: Same seed, same resamples.

  Raises:
    ValueError: If they differ in shape, or there are fewer than
      `FEWEST_CLUSTERS` speakers.
  """
  claimed, speaking = np.asarray(claimed), np.asarray(speaking)
  if claimed.shape != speaking.shape or claimed.ndim != 1:
    raise ValueError(
      'claimed and speaking must be [num_trials], got shapes '
      f'{claimed.shape} and {speaking.shape}'
    )
  names = np.unique([claimed, speaking])
  if len(names) < FEWEST_CLUSTERS:
    raise ValueError(
      f'an interval by speaker needs at least {FEWEST_CLUSTERS} speakers, got '
      f'{len(names)}; say that there are too few'
    )
  drawn = drawn_clusters(len(names), num_resamples, seed)
  one, other = (
    drawn[:, np.searchsorted(names, x)] for x in (claimed, speaking)
  )
  return np.where((claimed == speaking)[None], one, one * other)


def rate_interval(
  happened: npt.ArrayLike,
  claimed: npt.ArrayLike,
  speaking: npt.ArrayLike,
  confidence: float = 0.95,
) -> tuple[float, float]:
  """Returns an interval for a rate over speakers to come, (low, high).

  Wilson's, for so many independent trials as would make a rate vary as it does
  between resamples of the speakers, never more than there are, and with
  Student's quantile for the number of speakers.

  Args:
    happened: [num_trials] whether each is accepted, or rejected.
    claimed: [num_trials] who is enrolled.
    speaking: [num_trials] who speaks.
    confidence: Two-sided coverage.

  Raises:
    ValueError: As of `weights`, or if confidence is not inside (0, 1).
  """
  quantiles.check_confidence(confidence)
  happened = np.asarray(happened, float)
  number = num_speakers(claimed, speaking)
  rates = resampled_means(happened, weights(claimed, speaking))
  rate = float(happened.mean())
  variance = float(rates.var()) * number / (number - 1)
  effective = float(len(happened))
  if variance > 0:
    effective = min(effective, rate * (1 - rate) / variance)
  return score_interval(rate, effective, quantiles.student(number, confidence))


def resampled_means(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
  """Returns the mean of every resample that has a trial, [resamples].

  Args:
    values: [num_trials].
    drawn: [num_resamples, num_trials] as `weights` returns.
  """
  totals = drawn.sum(1)
  return (drawn @ values)[totals > 0] / totals[totals > 0]


def expanded_interval(
  resampled: np.ndarray, number: int, confidence: float = 0.95
) -> tuple[float, float]:
  """Returns percentiles of a resampled statistic, (low, high).

  As far out as makes up for how narrow those of few speakers are (Hesterberg
  2015, "expanded percentile"). What no speaker showed no resample shows.

  Args:
    resampled: [num_resamples] of the statistic.
    number: Of speakers.
    confidence: Two-sided coverage.

  Raises:
    ValueError: If confidence is not inside (0, 1).
  """
  quantiles.check_confidence(confidence)
  reach = quantiles.student(number, confidence)
  tail = quantiles.normal_tail(reach * math.sqrt(number / (number - 1)))
  low, high = np.quantile(resampled, (tail, 1 - tail))
  return float(low), float(high)


def num_speakers(claimed: npt.ArrayLike, speaking: npt.ArrayLike) -> int:
  """Returns how many speakers trials have on both sides together."""
  return len(np.unique([np.asarray(claimed), np.asarray(speaking)]))
