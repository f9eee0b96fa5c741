"""Protections as points: what each costs, whom it hides, and how surely."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import attacks, statistics, sweep
from advspeech.statistics import clusters
from advspeech.statistics import trials as by_speaker
from advspeech.studies.privacy import attackers, parts, protecting
from advspeech.studies.privacy import design as design_lib
from advspeech.studies.verification import sides

NUM_RESAMPLES = 1999
CLEAN, NOISE = parts.CLEAN, protecting.NOISE
# The weighted sum with all weight on the speaker.
SPEAKER = 'speaker'


class Point(NamedTuple):
  """A protection at one epsilon.

  Attributes:
    name: `CLEAN`, `NOISE`, `SPEAKER`, a solver or a transform.
    part: Of `parts.Results.heard`.
    place: Numbers of its epsilon and its weight there.
    weight: Of the weighted sum; '' for others.
  """

  name: str
  part: str
  place: tuple[int, int]
  weight: float | str


def at_epsilon(results: parts.Results, epsilon: int) -> Iterator[Point]:
  """Yields the clean clips, the controls and the solvers at an epsilon."""
  for name in results.heard:
    if name == attacks.SOLVERS[0]:
      for i, weight in enumerate(results.weights):
        title = SPEAKER if weight == 1 else name
        yield Point(title, name, (epsilon, i), float(weight))
    elif name == NOISE or name in attacks.SOLVERS:
      yield Point(name, name, (epsilon, 0), '')
    else:
      yield Point(name, name, (0, 0), '')


class Resampled:
  """A number, and the same of resamples of the speakers."""

  def __init__(self, value: float, drawn: np.ndarray | None, number: int):
    self.value = value
    self.drawn = drawn
    self._number = number

  def less(self, other: 'Resampled') -> 'Resampled':
    """Returns the difference to another number of the same resamples."""
    drawn = None if self.drawn is None else self.drawn - other.drawn
    return Resampled(self.value - other.value, drawn, self._number)

  def row(self, name: str, confidence: float) -> dict[str, Any]:
    """Returns it with its interval, '' where speakers are too few."""
    low, high = '', ''
    if self.drawn is not None:
      low, high = by_speaker.expanded_interval(
        self.drawn, self._number, confidence
      )
    return sides.columns(name, self.value, low, high)


class Speakers:
  """The speakers judged, whose resamples all numbers share."""

  def __init__(self, results: parts.Results):
    self.names = results.design.judged
    self.number = len(self.names)
    self.is_enough = self.number >= statistics.FEWEST_CLUSTERS
    self.of_clips = np.array([c.speaker for c in results.design.tested])

  def counts(self) -> np.ndarray | None:
    """Returns how often resamples have each clip, [resamples, num_clips]."""
    if not self.is_enough:
      return None
    drawn = clusters.drawn_clusters(self.number, NUM_RESAMPLES, 0)
    return drawn[:, np.searchsorted(self.names, self.of_clips)]

  def equal_error(self, trials: attackers.Trials) -> Resampled:
    """Returns the EER of an attacker."""
    drawn = None
    if self.is_enough:
      weights = attackers.drawn(trials, self.names, NUM_RESAMPLES)
      drawn = attackers.equal_errors(trials, weights)
    once = np.ones((1, *trials.scores.shape))
    (value,) = attackers.equal_errors(trials, once)
    return Resampled(float(value), drawn, self.number)

  def mean(self, values: np.ndarray) -> Resampled:
    """Returns the mean of clips."""
    counts, drawn = self.counts(), None
    if counts is not None:
      totals = np.maximum(counts.sum(1), 1)
      drawn = counts @ values / totals
    return Resampled(float(values.mean()), drawn, self.number)

  def recall(self, labels: np.ndarray, answers: np.ndarray) -> Resampled:
    """Returns the mean recall of the classes (UAR).

    Args:
      labels: [num_clips].
      answers: [num_clips].
    """
    counts = self.counts()
    drawn = None if counts is None else _recall(labels, answers, counts)
    once = np.ones((1, len(labels)))
    return Resampled(
      float(_recall(labels, answers, once)[0]), drawn, self.number
    )

  def rate(
    self, name: str, happened: np.ndarray, confidence: float
  ) -> dict[str, Any]:
    """Returns a rate of clips with its interval, '' where none can be had."""
    return sides.rate_row(
      name, happened, self.of_clips, self.of_clips, confidence
    )


def _recall(labels, answers, counts):
  """Returns the UAR of resamples, of the classes that each has."""
  is_class = labels[None] == np.unique(labels)[:, None]
  totals = counts @ is_class.T
  right = counts @ (is_class * (labels == answers)[None]).T
  is_there = totals > 0
  shares = right / np.where(is_there, totals, 1)
  return (shares * is_there).sum(1) / np.maximum(is_there.sum(1), 1)


def answers(
  results: parts.Results, point: Point, model: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what a model says of tested clips, and how far it has drifted.

  Classes [num_clips], and the total variation between its probabilities for the
  clips as they are and as protected, [num_clips].
  """
  tested = results.of(design_lib.TESTED)

  def probabilities(part, place):
    logits = np.asarray(results.heard[part]['logits'][str(model)], float)
    logits = logits[tested][:, *place]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)

  found = probabilities(point.part, point.place)
  before = probabilities(CLEAN, (0, 0))
  return found.argmax(-1), 0.5 * np.abs(found - before).sum(-1)


def non_dominated(
  hidden: Sequence[Resampled], kept: Sequence[Resampled]
) -> list[float | str]:
  """Returns in what share of resamples no other point is better in both.

  Args:
    hidden: Of each point, the more the better.
    kept: Of each point, the same.
  """
  if any(x.drawn is None for x in (*hidden, *kept)):
    return [''] * len(hidden)
  a = np.stack([x.drawn for x in hidden])
  b = np.stack([x.drawn for x in kept])
  no_worse = (a[:, None] >= a[None]) & (b[:, None] >= b[None])
  better = (a[:, None] > a[None]) | (b[:, None] > b[None])
  is_dominated = (no_worse & better).any(0)
  return [float(x) for x in 1 - is_dominated.mean(-1)]


def snr_db(results: parts.Results, point: Point) -> float | str:
  """Returns the mean SNR of tested clips, '' where nothing was changed."""
  found = results.heard[point.part]['snr_db']
  found = np.asarray(found)[results.of(design_lib.TESTED)][:, *point.place]
  return sweep.mean_of_finite(found)


def by_key(rows: Sequence[Mapping[str, Any]], **values: Any) -> list[Any]:
  """Returns the rows with some values."""
  return [r for r in rows if all(r[k] == v for k, v in values.items())]
