"""The shape of a curve of error rates of the same clips.

All points are of the same clips, so that what is asked of a curve is asked of
each clip's own part in it, clips of one voice together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from advspeech.statistics import rates
from advspeech.statistics.clusters import drawn_clusters

# Resamples: what is asked of them is a share near 95 %.
_NUM_RESAMPLES = 1999
# What rounding leaves of a residual that is zero.
_ROUNDING = 1e-9


class Turn(NamedTuple):
  """How a curve rises, by the shares of resamples in which it does so.

  Attributes:
    sudden: Where `begun` of the rise is reached no earlier than at `ratio`
      times the abscissa at which `done` of it is, wherever between the points.
    gradual: Where it is certainly reached earlier.
  """

  sudden: float
  gradual: float


def off_line_p(
  wrong: np.ndarray, x: Sequence[float], cluster: Sequence[str]
) -> np.ndarray:
  """Returns the p that each point is on a straight line, [num_points].

  The line is of least squares, each point weighted by the width of its Wilson
  interval: a rate near 0 or 1 is known better than one near a half. A point's
  distance from it is the mean of the clips' own, which are added up by cluster
  and tested by Student's t, two-sided, for the number of clusters.

  Args:
    wrong: [num_points, num_clips] whether each clip is judged wrong.
    x: [num_points] where, such as epsilons.
    cluster: [num_clips] what clips share; each its own where they are taken for
      independent.
  """
  from scipy import stats

  wrong = np.asarray(wrong, np.float64)
  num_clips = wrong.shape[1]
  ends = [
    rates.wilson_interval(int(errors), num_clips) for errors in wrong.sum(1)
  ]
  design = np.stack([np.ones(len(x)), np.asarray(x, np.float64)], 1)
  scale = 1 / np.ptp(ends, axis=1)
  hat = design @ np.linalg.pinv(design * scale[:, None]) * scale
  residuals = wrong - hat @ wrong
  sums, sizes = _sums(residuals, cluster)
  number, mean = len(sizes), residuals.mean(1)
  spread = np.sum((sums - mean * sizes[:, None]) ** 2, 0)
  error = np.sqrt(spread * number / (number - 1)) / num_clips
  with np.errstate(divide='ignore', invalid='ignore'):
    p = 2 * stats.t.sf(np.abs(mean) / error, number - 1)
  constant = error < _ROUNDING
  p[constant] = np.abs(mean[constant]) < _ROUNDING
  return p


def turn(
  wrong: np.ndarray,
  x: Sequence[float],
  cluster: Sequence[str],
  *,
  begun: float,
  done: float,
  ratio: float,
  seed: int = 0,
) -> Turn:
  """Returns in how many resamples of the clusters a curve rises at once.

  Args:
    wrong: [num_points, num_clips] as of `off_line_p`.
    x: [num_points] ascending, from 0 on.
    cluster: [num_clips] as of `off_line_p`.
    begun: Share of the rise.
    done: Larger share of it.
    ratio: Of the abscissas at which these are reached; more is sudden.
    seed: Same seed, same shares.
  """
  sums, sizes = _sums(np.asarray(wrong, np.float64), cluster)
  drawn = drawn_clusters(len(sizes), _NUM_RESAMPLES, seed)
  curves = (drawn @ sums) / (drawn @ sizes)[:, None]
  x, first = np.asarray(x, np.float64), curves[:, 0]
  rise = curves.max(1) - first

  def reached(share):
    at = np.argmax(curves >= (first + share * rise)[:, None], 1)
    return x[np.maximum(at - 1, 0)], x[at]

  begins, ends = reached(begun), reached(done)
  rises = rise > 0
  return Turn(
    sudden=float(np.mean(rises & (begins[0] >= ratio * ends[1]))),
    gradual=float(np.mean(rises & (begins[1] <= ratio * ends[0]))),
  )


def _sums(values, cluster):
  """Returns sums by cluster, [num_clusters, num_points], and their clips."""
  names, place = np.unique(cluster, return_inverse=True)
  sums = np.zeros((len(names), len(values)))
  np.add.at(sums, place, values.T)
  return sums, np.bincount(place).astype(np.float64)
