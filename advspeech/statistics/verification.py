"""What a speaker verifier gets wrong: FAR and FRR, EER, and costs.

A trial is accepted where its score is at least the threshold. Thresholds are
the scores themselves and one above all, so that equal scores are accepted or
rejected together. Trials may have weights, as resampling gives them.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Points(NamedTuple):
  """Every operating point of a verifier, from accepting all to rejecting all.

  Attributes:
    thresholds: [num_points] ascending; the last is infinite.
    far: [num_points] share of impostor trials that are accepted.
    frr: [num_points] share of target trials that are rejected.
  """

  thresholds: np.ndarray
  far: np.ndarray
  frr: np.ndarray


class Costs(NamedTuple):
  """What errors cost (NIST SRE), and how often a trial is a target's.

  Attributes:
    p_target: Prior of target trials.
    miss: Cost of rejecting one.
    false_alarm: Cost of accepting an impostor.
  """

  p_target: float = 0.05
  miss: float = 1.0
  false_alarm: float = 1.0


NIST = Costs()


def points(
  scores: npt.ArrayLike,
  is_target: npt.ArrayLike,
  weights: npt.ArrayLike | None = None,
) -> Points:
  """Returns the operating points of a ROC or DET curve.

  Args:
    scores: [num_trials] the higher, the more alike.
    is_target: [num_trials] whether both sides are one speaker.
    weights: [num_trials] how often each trial counts; once if None.

  Raises:
    ValueError: If they differ in shape, a score is not finite, or there are no
      target or no impostor trials of any weight.
  """
  scores, is_target, weights = _trials(scores, is_target, weights)
  thresholds, place = np.unique(scores, return_inverse=True)
  of_kind = [
    np.bincount(place, weights * kind, minlength=len(thresholds))
    for kind in (~is_target, is_target)
  ]
  totals = [w.sum() for w in of_kind]
  if not all(totals):
    missing = 'impostor' if totals[1] else 'target'
    raise ValueError(
      'an error rate needs target and impostor trials, got no '
      f'{missing} trial among {len(scores)}'
    )
  # What lies below each threshold, and below one above all scores.
  impostors, targets = (np.append(0, np.cumsum(w)) for w in of_kind)
  return Points(
    np.append(thresholds, np.inf),
    (totals[0] - impostors) / totals[0],  # so that 1 of 100 is 0.01
    targets / totals[1],
  )


def _trials(scores, is_target, weights):
  scores, is_target = np.asarray(scores, float), np.asarray(is_target, bool)
  weights = np.ones(scores.shape) if weights is None else np.asarray(weights)
  shapes = {scores.shape, is_target.shape, weights.shape}
  if len(shapes) > 1 or scores.ndim != 1:
    raise ValueError(
      'scores, is_target and weights must be [num_trials], got shapes '
      f'{scores.shape}, {is_target.shape} and {weights.shape}'
    )
  if not np.isfinite(scores).all():
    raise ValueError(
      f'scores must be finite, {int((~np.isfinite(scores)).sum())} of '
      f'{len(scores)} are not; look for silent clips among the trials'
    )
  return scores, is_target, weights


def accepted(scores: npt.ArrayLike, threshold: float) -> np.ndarray:
  """Returns whether trials are accepted, of the scores' shape."""
  return np.asarray(scores) >= threshold


def equal_error_rate(found: Points) -> tuple[float, float]:
  """Returns the equal error rate and the threshold that is nearest to it.

  The rate lies on the straight line between the two points where FRR overtakes
  FAR. The threshold is that of the two whose rates differ less, the lower one
  if both do alike.

  Args:
    found: Operating points.
  """
  gap = found.far - found.frr
  after = int(np.argmax(gap <= 0))  # the last point rejects all
  if gap[after] == 0:
    return float(found.far[after]), float(found.thresholds[after])
  before = after - 1
  share = gap[before] / (gap[before] - gap[after])
  rate = found.frr[before] + share * (found.frr[after] - found.frr[before])
  nearest = before if gap[before] <= -gap[after] else after
  if not math.isfinite(found.thresholds[nearest]):
    nearest = before
  return float(rate), float(found.thresholds[nearest])


def equal_error_rates(
  scores: npt.ArrayLike, is_target: npt.ArrayLike, weights: np.ndarray
) -> np.ndarray:
  """Returns the equal error rate of every resample, [num_resamples].

  As `equal_error_rate` of `points` has it for one of them, with one sort for
  all; 0.5 where a resample has no target or no impostor trial.

  Args:
    scores: [num_trials] the higher, the more alike.
    is_target: [num_trials] whether both sides are one speaker.
    weights: [num_resamples, num_trials] how often each trial counts.
  """
  is_target = np.asarray(is_target, bool)
  order = np.argsort(scores, kind='stable')
  ascending = np.asarray(scores, float)[order]
  first = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
  rates, totals = [], []
  for kind in (~is_target, is_target):
    at = np.add.reduceat((weights * kind[None])[:, order], first, 1)
    total = at.sum(1, keepdims=True)
    below = np.concatenate([np.zeros_like(total), np.cumsum(at, 1)], 1)
    rates.append(below / np.where(total == 0, 1, total))
    totals.append(total[:, 0])
  far, frr = 1 - rates[0], rates[1]
  gap = far - frr
  after = np.argmax(gap <= 0, 1)
  rows = np.arange(len(weights))
  before = np.maximum(after - 1, 0)
  fall = gap[rows, before] - gap[rows, after]
  share = gap[rows, before] / np.where(fall == 0, 1, fall)
  rise = frr[rows, after] - frr[rows, before]
  found = frr[rows, before] + share * rise
  is_there = (totals[0] > 0) & (totals[1] > 0)
  return np.where(is_there, found, 0.5)


def threshold_at_far(found: Points, far: float) -> float:
  """Returns the lowest threshold at which FAR is no more than asked for.

  Args:
    found: Operating points.
    far: As a share.
  """
  return float(found.thresholds[np.argmax(found.far <= far)])


def detection_cost(
  far: np.ndarray | float, frr: np.ndarray | float, costs: Costs = NIST
) -> np.ndarray:
  """Returns what errors cost, over the cost of the better blind answer.

  Actual DCF where the rates are those at a threshold that was fixed before.

  Args:
    far: Shares of impostor trials accepted, of any shape.
    frr: Shares of target trials rejected, of the same.
    costs: Of errors.
  """
  missed = costs.miss * costs.p_target
  alarmed = costs.false_alarm * (1 - costs.p_target)
  paid = missed * np.asarray(frr) + alarmed * np.asarray(far)
  return paid / min(missed, alarmed)


def min_detection_cost(found: Points, costs: Costs = NIST) -> float:
  """Returns the least cost of any threshold, by hindsight.

  Args:
    found: Operating points.
    costs: Of errors.
  """
  return float(detection_cost(found.far, found.frr, costs).min())
