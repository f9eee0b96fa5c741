"""The shape of a curve of error rates of the same clips.

All points are of the same clips, so that what is asked of a curve is asked of
each clip's own part in it, clips of one voice together; and of several
trainings that are judged on them, of each training's.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from advspeech.statistics import rates, trainings
from advspeech.statistics.clusters import drawn_clusters

# Resamples: what is asked of them is a share near 95 %.
_NUM_RESAMPLES = 1999


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
  wrong: np.ndarray, x: npt.ArrayLike, cluster: npt.ArrayLike
) -> np.ndarray:
  """Returns the p that each point is on a straight line, [num_points].

  The line is of least squares, each point weighted by the width of its Wilson
  interval: a rate near 0 or 1 is known better than one near a half. A point's
  distance from it is the mean of what clips contribute in every training, and
  tested as such (`trainings.mean_p`).

  Args:
    wrong: [num_trainings, num_points, num_clips] whether each clip is judged
      wrong.
    x: [num_points] where, such as epsilons.
    cluster: [num_clips] what clips share; each its own where they are taken for
      independent.
  """
  wrong, x = np.asarray(wrong, np.float64), np.asarray(x, np.float64)
  num_judged = wrong.shape[0] * wrong.shape[2]
  ends = [
    rates.wilson_interval(int(errors), num_judged)
    for errors in wrong.sum((0, 2))
  ]
  design = np.stack([np.ones(len(x)), x], 1)
  scale = 1 / np.ptp(ends, axis=1)
  hat = design @ np.linalg.pinv(design * scale[:, None]) * scale
  residuals = wrong - hat @ wrong
  return np.array(
    [trainings.mean_p(point, cluster) for point in residuals.swapaxes(0, 1)]
  )


def turn(
  wrong: np.ndarray,
  x: npt.ArrayLike,
  cluster: npt.ArrayLike,
  *,
  begun: float,
  done: float,
  ratio: float,
  seed: int = 0,
) -> Turn:
  """Returns in how many resamples a curve rises at once.

  Resampled are the clusters and, independently, the trainings.

  Args:
    wrong: [num_trainings, num_points, num_clips] as of `off_line_p`.
    x: [num_points] ascending, from 0 on.
    cluster: [num_clips] as of `off_line_p`.
    begun: Share of the rise.
    done: Larger share of it.
    ratio: Of the abscissas at which these are reached; more is sudden.
    seed: Same seed, same shares.
  """
  place = np.unique(cluster, return_inverse=True)[1]
  member = np.equal.outer(np.arange(np.max(place) + 1), place).astype(
    np.float64
  )
  drawn = drawn_clusters(len(member), _NUM_RESAMPLES, seed) @ member
  wrong = np.asarray(wrong, np.float64)
  which = drawn_clusters(len(wrong), _NUM_RESAMPLES, seed + 1)
  curves = np.einsum('rt,rc,tpc->rp', which, drawn, wrong, optimize=True)
  curves /= which.sum(1)[:, None] * drawn.sum(1)[:, None]
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
