"""Trainings crossed with clips: how much of what varies is due to either."""

from typing import NamedTuple

import numpy as np


class Components(NamedTuple):
  """Standard deviations that add up, squared, to that of a single verdict.

  Attributes:
    clips: Between clips, alike in all trainings.
    trainings: Between trainings, alike on all clips.
    rest: What is left: clips that some trainings get right.
  """

  clips: float
  trainings: float
  rest: float


def components(values: np.ndarray) -> Components:
  """Returns how far clips, trainings and the rest move a value.

  Two crossed random effects without replication, by their mean squares
  (Searle, Casella & McCulloch 1992, ch. 4); one that comes out negative is 0.

  Args:
    values: [num_trainings, num_clips], two of each at least.

  Raises:
    ValueError: If there are fewer, or values are not finite.
  """
  values = checked(values)
  num_trainings, num_clips = values.shape
  if min(values.shape) < 2:
    raise ValueError(
      'components need two trainings and two clips at least, got '
      f'{num_trainings} and {num_clips}'
    )
  of_training, of_clip = values.mean(1), values.mean(0)
  residual = values - of_training[:, None] - of_clip + values.mean()
  rest = np.sum(residual**2) / ((num_trainings - 1) * (num_clips - 1))
  trainings = np.var(of_training, ddof=1) - rest / num_clips
  clips = np.var(of_clip, ddof=1) - rest / num_trainings
  roots = (float(np.sqrt(max(x, 0.0))) for x in (clips, trainings, rest))
  return Components(*roots)


def checked(values: np.ndarray) -> np.ndarray:
  """Returns values as float64, [num_trainings, num_clips].

  Raises:
    ValueError: If they have another shape, are none or not finite.
  """
  values = np.asarray(values, np.float64)
  if values.ndim != 2 or not values.size or not np.isfinite(values).all():
    raise ValueError(
      'values must be finite numbers, [num_trainings, num_clips], got shape '
      f'{values.shape} with {int((~np.isfinite(values)).sum())} not finite'
    )
  return values
