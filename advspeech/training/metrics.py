"""Loss and accuracy: over an epoch's steps, and over a whole split."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import sharding

from advspeech import errors, input_pipeline, preemption

_SUMMED = ('loss', 'num_correct', 'num_clips', 'grad_norm')


def evaluate(
  evaluate_step: Callable[..., dict[str, jax.Array]],
  variables: dict[str, Any],
  split: input_pipeline.Split,
  batch_size: int,
  mesh: sharding.Mesh,
) -> dict[str, Any]:
  """Returns `loss`, `accuracy`, `num_clips` and `answers` over a whole split.

  `answers` is as `class_errors.count` returns.
  """
  total = _totals(evaluate_step, variables, split, batch_size, mesh)
  answers = total.pop('answers').astype(np.int64)
  return {**_means(total), 'answers': answers}


def evaluate_attacked(
  evaluate_step: Callable[..., dict[str, jax.Array]],
  variables: dict[str, Any],
  split: input_pipeline.Split,
  batch_size: int,
  mesh: sharding.Mesh,
) -> dict[str, float]:
  """Returns `accuracy` and `alignment` over a whole split under attack.

  Takes what `evaluate` does, of a defended training's steps.
  """
  total = _totals(evaluate_step, variables, split, batch_size, mesh)
  return {
    'accuracy': _means(total)['accuracy'],
    'alignment': float(total['alignment'] / total['num_clips']),
  }


def _totals(evaluate_step, variables, split, batch_size, mesh):
  """Returns the step's sums over all batches of a split, in float64."""
  sums = []
  for batch in input_pipeline.batches(split, batch_size, mesh):
    preemption.check()
    sums.append(evaluate_step(variables, input_pipeline.step_arrays(batch)))
  return jax.tree.map(
    lambda *x: np.sum(np.asarray(x, np.float64), 0), *jax.device_get(sums)
  )


def _means(total):
  return {
    'loss': float(total['loss'] / total['num_clips']),
    'accuracy': float(total['num_correct'] / total['num_clips']),
    'num_clips': int(total['num_clips']),
  }


def check_finite(loss: float, step: int, learning_rate: float) -> None:
  """Raises errors.NonFiniteLossError at a loss that is not finite.

  Args:
    loss: Mean of a step's clips, or of validation after it.
    step: Number of the step, from 0.
    learning_rate: Of that step.
  """
  if not math.isfinite(loss):
    raise errors.NonFiniteLossError(
      f'the loss became {loss} at step {step} with learning rate '
      f'{learning_rate:.3g}; lower --config.training.learning_rate, in another '
      '--workdir'
    )


class EpochSums:
  """Sums over an epoch's steps so far, and the seconds they took.

  A step's are read when the next is under way, so that the device is never
  waited for.

  Attributes:
    shown: Loss of the last step that was read, in words; '' before the first.
  """

  def __init__(self, rate_at: Callable[[int], float]):
    """Begins an epoch.

    Args:
      rate_at: Maps the number of a step, from 0, to its learning rate.
    """
    self.shown = ''
    self._rate_at = rate_at
    self._pending = None
    self._begin(dict.fromkeys(_SUMMED, 0.0), 0.0)

  def _begin(self, sums, seconds):
    self._sums, self._seconds = sums, seconds
    self.start_clock()

  def start_clock(self) -> None:
    """Leaves out of the seconds what went before, such as a save."""
    self._clock = time.monotonic()

  def add(self, step: int, sums: Mapping[str, jax.Array]) -> None:
    """Adds a step's sums, which are computed perhaps, and reads those before.

    Args:
      step: Number of the step, from 0.
      sums: As the training step returns them.

    Raises:
      errors.NonFiniteLossError: If the loss of the step before is not finite.
    """
    self.read()
    self._pending = step, sums

  def read(self) -> None:
    """Waits for the last step's sums; raises what `add` does, of that step."""
    if self._pending is None:
      return
    step, sums = self._pending
    self._pending = None
    values = {key: float(x) for key, x in jax.device_get(sums).items()}
    loss = values['loss'] / values['num_clips']
    check_finite(loss, step, self._rate_at(step))
    self.shown = f'loss {loss:.3f}'
    for key in _SUMMED:
      self._sums[key] += values[key]
    now = time.monotonic()
    self._seconds += now - self._clock
    self._clock = now

  def end_epoch(self, num_steps: int) -> dict[str, float]:
    """Returns the metrics of an epoch of so many steps, and begins the next."""
    sums, seconds = self._sums, self._seconds
    self._begin(dict.fromkeys(_SUMMED, 0.0), 0.0)
    means = _means(sums)
    return {
      'loss': means['loss'],
      'accuracy': means['accuracy'],
      'grad_norm': sums['grad_norm'] / num_steps,
      # Of the training steps alone.
      'clips_per_s': sums['num_clips'] / seconds,
    }

  def saved(self) -> dict[str, Any]:
    """Returns what is saved with a checkpoint; `restore` takes it."""
    return {'sums': dict(self._sums), 'seconds': self._seconds}

  def restore(self, saved: Mapping[str, Any]) -> None:
    """Goes on from what was saved."""
    self._begin(dict(saved['sums']), saved['seconds'])
