"""Who stands on which side of trials, and intervals that draw them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from advspeech import statistics
from advspeech.statistics import trials as by_speaker
from advspeech.studies.verification import trials as trials_lib

# Behind the name of a rate: the rate, and the ends of its interval.
ENDS = ('', '_low', '_high')


def chosen(
  found: Sequence[trials_lib.Trial], which: np.ndarray
) -> list[trials_lib.Trial]:
  """Returns those trials of which [num_trials] booleans are true."""
  return [trial for trial, keep in zip(found, which, strict=True) if keep]


class Sides:
  """Who is on which side of some trials, and what is resampled of them."""

  def __init__(self, found: Sequence[trials_lib.Trial]):
    self.claimed = np.array([t.enrolment.speaker for t in found])
    self.speaking = np.array([t.speaker for t in found])
    self.number = by_speaker.num_speakers(self.claimed, self.speaking)
    self.is_enough = self.number >= statistics.FEWEST_CLUSTERS
    self.drawn = (
      by_speaker.weights(self.claimed, self.speaking)
      if self.is_enough
      else None
    )

  def rate(
    self, name: str, happened: np.ndarray, confidence: float
  ) -> dict[str, Any]:
    """Returns a rate and its interval, '' with too few speakers."""
    return rate_row(name, happened, self.claimed, self.speaking, confidence)

  def more(
    self, a: np.ndarray, b: np.ndarray, confidence: float
  ) -> dict[str, Any]:
    """Returns a rate less another on the same trials, and its interval.

    The wider of that by resampled speakers, which cannot know of what no
    speaker showed, and Newcombe's by trials.
    """
    found = {
      'more': float(a.mean() - b.mean()),
      'more_low': '',
      'more_high': '',
    }
    if not self.is_enough:
      return found
    means = by_speaker.resampled_means(a.astype(float) - b, self.drawn)
    ends = (
      by_speaker.expanded_interval(means, self.number, confidence),
      statistics.paired_difference_interval(a, b, confidence),
    )
    return found | {
      'more_low': min(low for low, _ in ends),
      'more_high': max(high for _, high in ends),
    }


def columns(
  name: str, value: float, low: float | str, high: float | str
) -> dict[str, Any]:
  """Returns a number and the ends of its interval under their names."""
  return {
    f'{name}{end}': x for end, x in zip(ENDS, (value, low, high), strict=True)
  }


def rate_row(
  name: str,
  happened: np.ndarray,
  claimed: np.ndarray,
  speaking: np.ndarray,
  confidence: float,
) -> dict[str, Any]:
  """Returns a rate and its interval by speaker, '' with too few speakers.

  Args:
    name: Of the rate; with `ENDS` behind it the keys.
    happened: [num_trials] whether each is accepted, or rejected.
    claimed: [num_trials] who is enrolled.
    speaking: [num_trials] who speaks.
    confidence: Of the interval.
  """
  low, high = '', ''
  if by_speaker.num_speakers(claimed, speaking) >= statistics.FEWEST_CLUSTERS:
    low, high = by_speaker.rate_interval(
      happened, claimed, speaking, confidence
    )
  return columns(name, float(happened.mean()), low, high)
