"""Checkpoints of a training: when they are due, which is best, what is lost."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import sharding

from advspeech import checkpoint, parallel
from advspeech.training.metrics import EpochSums
from advspeech.training.step import TrainState

logger = logging.getLogger(__name__)

# Steps timed at the start of a session to turn seconds between saves to steps.
_TIMED_STEPS = 5


class Saves:
  """What a training has reached, and what of that is saved.

  Attributes:
    num_epochs: Epochs trained and validated.
    best_epoch: The best of them; 0 before the first, or where it is lost.
  """

  def __init__(
    self,
    checkpoints: checkpoint.Checkpoints,
    workdir: str,
    metadata: Mapping[str, Any],
    sums: EpochSums,
  ):
    """Begins where nothing is saved; see `restore`.

    Args:
      checkpoints: Of the training's folder.
      workdir: That folder, for messages.
      metadata: What its checkpoints carry.
      sums: Of the epoch that is under way, saved with it.
    """
    self.num_epochs, self.best_epoch = 0, 0
    self._best = None
    self._sums = sums
    self._checkpoints = checkpoints
    self._workdir = workdir
    self._metadata = metadata
    self._saved_step = 0

  def restore(
    self, init: Callable[..., TrainState], mesh: sharding.Mesh, last_epoch: int
  ) -> tuple[int, TrainState]:
    """Returns steps done and the state, of the last checkpoint if any.

    Args:
      init: Maps a PRNG key to the first state.
      mesh: Where to place it.
      last_epoch: Of the training.

    Raises:
      errors.InputError: If the checkpoint is another model's.
    """
    key = jax.random.key(self._metadata['seed'])
    step = parallel.agree(lambda: self._checkpoints.latest_step or 0)
    if not step:
      return step, init(key)
    like = parallel.abstract_replicated(init, mesh, key)
    trees = self._checkpoints.restore(step, self._metadata, **_trees(like))
    state = TrainState(variables=trees['variables'], **trees['optimizer'])
    progress = self._checkpoints.progress(step)
    self.num_epochs = progress['num_epochs']
    self._best, self.best_epoch = progress['best'], progress['best_epoch']
    self._sums.restore(progress)
    self._saved_step = step
    logger.info('%s: going on from step %d', self._workdir, step)
    self._go_by_the_best_left(last_epoch)
    return step, state

  def _go_by_the_best_left(self, last_epoch):
    """Makes the best checkpoint that is left the one to surpass."""
    step, best, epoch = self._checkpoints.best_step, None, 0
    if step is not None:
      best = self._checkpoints.best_metrics
      epoch = self._checkpoints.progress(step)['num_epochs']
    if best != self._best:
      if best:
        successor = f'epoch {epoch}, the best one left,'
      elif self.num_epochs < last_epoch:
        successor = 'the best one from here on'
      else:
        successor = 'the last one, validated again,'
      logger.warning(
        '%s: its best epoch, %d, is lost; %s takes its place',
        self._workdir,
        self.best_epoch,
        successor,
      )
    self._best, self.best_epoch = best, epoch

  @property
  def best(self) -> dict[str, float] | None:
    """How the best epoch was validated, and `best_epoch`; None before."""
    if self._best is None:
      return None
    return {**self._best, 'best_epoch': self.best_epoch}

  def begin(self, step: int, save_every_s: float, num_steps: int) -> None:
    """Starts the clock that says when a save is due.

    Args:
      step: Steps done.
      save_every_s: Seconds between saves, `config.training.save_every_s`.
      num_steps: Of the whole training; until some are timed none is due.
    """
    self._started = time.monotonic()
    self._first_step = step
    self._save_every_s = save_every_s
    self._save_every = num_steps

  def step_s(self, step: int) -> float:
    """Returns seconds a step since `begin`, with all that goes with it."""
    elapsed_s = time.monotonic() - self._started
    return elapsed_s / max(1, step - self._first_step)

  def is_due(self, step: int) -> bool:
    """Returns whether so many steps are done since the last save.

    To be asked after every step: the first ones turn seconds to steps, the same
    on every process.

    Args:
      step: Steps done.
    """
    if step - self._first_step == _TIMED_STEPS:
      self._save_every = parallel.agree(
        lambda: max(1, round(self._save_every_s / self.step_s(step)))
      )
    return step - self._saved_step >= self._save_every

  def save(
    self,
    step: int,
    state: TrainState,
    ranking: Mapping[str, float] | None = None,
  ) -> None:
    """Saves the state, with what was reached.

    Args:
      step: Steps done.
      state: After them.
      ranking: What `checkpoint.rank` takes, of a new best epoch. What else is
        saved depends on the clock, and is not ranked.
    """
    if ranking:
      self._best = dict(ranking)
      self.best_epoch = self.num_epochs
    self._sums.read()
    self._checkpoints.save(
      step,
      self._metadata,
      {
        'num_epochs': self.num_epochs,
        **self._sums.saved(),
        'best': self._best,
        'best_epoch': self.best_epoch,
      },
      ranking,
      **_trees(state),
    )
    self._saved_step = step
    self._sums.start_clock()

  def save_epoch(
    self,
    step: int,
    state: TrainState,
    ranking: Mapping[str, float],
    is_last: bool,
  ) -> None:
    """Saves the end of an epoch if it is the best, the last, or due.

    Args:
      step: Steps done.
      state: After them.
      ranking: What `checkpoint.rank` takes, of this epoch.
      is_last: Whether the training ends with it.
    """
    rank = checkpoint.rank
    if self._best is None or rank(ranking) > rank(self._best):
      self.save(step, state, ranking)
    elif is_last or step - self._saved_step >= self._save_every:
      self.save(step, state)

  def save_where_stopped(self, step: int, state: TrainState) -> None:
    """Saves what is not saved yet, and waits until it is on disk."""
    if step > self._saved_step:
      self.save(step, state)
    self._checkpoints.wait()
    logger.info('%s: saved at step %d', self._workdir, step)


def _trees(state):
  return {
    'variables': state.variables,
    'optimizer': {
      'step': state.step,
      'opt_state': state.opt_state,
      'rng': state.rng,
    },
  }
