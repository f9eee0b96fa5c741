"""Training of one classifier: epochs of steps, validation, exact resume."""

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jax import sharding

from advspeech import checkpoint, input_pipeline, parallel, preemption, progress
from advspeech.training import log
from advspeech.training.metrics import (
  EpochSums,
  check_finite,
  evaluate,
  evaluate_attacked,
)
from advspeech.training.model import (
  check_frontend,
  check_given,
  describe,
  take_over,
)
from advspeech.training.program import Program
from advspeech.training.saving import Saves

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections
from advspeech.training import summary

logger = logging.getLogger(__name__)


def train_and_evaluate(
  config: 'ml_collections.ConfigDict',
  workdir: str,
  *,
  model_name: str,
  seed: int,
  splits: Mapping[str, input_pipeline.Split],
  classes: tuple[str, ...],
  mesh: sharding.Mesh | None = None,
  frontend: checkpoint.Classifier | None = None,
  program: Program | None = None,
  row_order: int = 0,
) -> dict[str, Any]:
  """Trains one classifier to its last epoch and returns its summary.

  Goes on from the last step saved in `workdir`: on the same devices the final
  parameters are those of an uninterrupted run, bit for bit. The best epoch by
  validation accuracy is the one tested.

  Args:
    config: See configs/paper.py.
    workdir: Folder of this classifier: checkpoints, `metrics.jsonl`,
      TensorBoard events, and at the end `summary.json`.
    model_name: One of `NAMES`, or `package.module:Class`.
    seed: Of initialisation and of the order of clips.
    splits: Clips to train, validate and test on.
    classes: Class names.
    mesh: Devices to train on; all if None.
    frontend: The trained model whose front end is taken over, where the name
      asks for one.
    program: The steps to go by, compiled for this training already or for one
      with another seed or learning rate.
    row_order: Which order the rows of every batch are in: the same clips, and
      sums over them that round otherwise.

  Raises:
    errors.InputError: If the batch size does not fit the device count, the
      folder holds another model, or one on another front end, or the front end
      that is asked for is missing or not trained to its end.
    errors.NonFiniteLossError: If the loss stops being finite.
    preemption.Stopped: If a signal asked for it; everything is saved.
  """
  mesh = mesh or parallel.make_mesh()
  what = {'model_name': model_name, 'seed': seed, 'classes': classes}
  train(
    config,
    workdir,
    **what,
    splits=splits,
    mesh=mesh,
    frontend=frontend,
    program=program,
    row_order=row_order,
  )
  metadata = describe(
    config,
    **what,
    clip_samples=splits['train'].pcm.shape[1],
    row_order=row_order,
  )
  return summary.summarise(workdir, config, metadata, splits, mesh)


def train(
  config: 'ml_collections.ConfigDict',
  workdir: str,
  *,
  model_name: str,
  seed: int,
  splits: Mapping[str, input_pipeline.Split],
  classes: Sequence[str],
  mesh: sharding.Mesh,
  frontend: checkpoint.Classifier | None = None,
  program: Program | None = None,
  row_order: int = 0,
) -> dict[str, float]:
  """Trains one classifier to its last epoch, without a look at the test clips.

  Takes and raises what `train_and_evaluate` does.

  Returns:
    How the best epoch was validated (`checkpoint.rank`), and `best_epoch`.
  """
  settings = config.training
  parallel.check_batch_size(
    'config.training.batch_size', settings.batch_size, mesh
  )
  check_given(model_name, frontend)
  clip_samples = splits['train'].pcm.shape[1]
  metadata = describe(
    config, model_name, seed, classes, clip_samples, row_order
  )
  placed = input_pipeline.place(
    {name: splits[name] for name in ('train', 'validation')},
    mesh,
    config.input.device_budget_mb * 1e6,
  )
  program = program or Program(settings, metadata, len(splits['train']), mesh)
  sums = EpochSums(functools.partial(program.rate_at, settings.learning_rate))
  with checkpoint.Checkpoints(workdir) as checkpoints:
    saves = Saves(checkpoints, workdir, metadata, sums)
    step, state = saves.restore(program.init, mesh, settings.num_epochs)
    if frontend:
      if not step:
        taken = take_over(frontend, state.variables, mesh)
        state = state._replace(variables=taken)
      check_frontend(workdir, state.variables, frontend)
    training = _Training(
      workdir, settings, seed, row_order, placed, program, sums, saves
    )
    if saves.num_epochs < settings.num_epochs:
      training.to_the_last_epoch(step, state)
    elif not saves.best:  # it was damaged
      saves.save(step, state, training.validate(step, state))
    return saves.best


@dataclasses.dataclass(frozen=True)
class _Training:
  """One classifier's way from its last checkpoint to its last epoch."""

  workdir: str
  settings: Mapping[str, Any]
  seed: int
  row_order: int
  splits: Mapping[str, input_pipeline.Split]
  program: Program
  sums: EpochSums
  saves: Saves

  @property
  def name(self):
    """What lines of the log begin with."""
    return os.path.basename(self.workdir)

  def to_the_last_epoch(self, step, state):
    """Trains, validates, records and saves; where it is stopped it saves."""
    num_steps = self.program.num_steps
    steps = self.compiled_steps(step)
    rate = self.program.place_rate(self.settings.learning_rate)
    self.saves.begin(step, self.settings.save_every_s, num_steps)
    # Not before: while steps are compiled there is nothing to be saved.
    with (
      preemption.unsaved(),
      _log(self.workdir, self.saves.num_epochs) as record,
      progress.Meter(
        self.name, num_steps, 'step', done=step, shown=parallel.is_lead()
      ) as meter,
    ):
      try:
        for epoch in range(self.saves.num_epochs, self.settings.num_epochs):
          self.sums.start_clock()
          for batch in self.batches_left(epoch, step):
            preemption.check()
            state, found = steps.train(state, batch, rate)
            self.sums.add(step, found)
            step += 1
            meter.update(self.sums.shown)
            # The last step of an epoch is saved once it is validated.
            is_due = self.saves.is_due(step)
            if is_due and step % self.program.steps_per_epoch:
              self.saves.save(step, state)
          self.sums.read()
          validation = self.validate(step, state)
          metrics = self.end_epoch(step, validation)
          self.warn_of_overfitting(metrics)
          # Recorded first: on resuming, what the checkpoint lacks is dropped.
          record(metrics)
          self.saves.save_epoch(step, state, validation, step == num_steps)
          _log_epoch(self.name, metrics, self.settings.num_epochs)
      except preemption.Stopped:
        self.saves.save_where_stopped(step, state)
        raise

  def compiled_steps(self, step):
    """Returns the compiled steps, and logs how long that took."""
    started = time.monotonic()
    if not self.program.is_compiled:
      logger.info('%s: its training step is being compiled', self.name)
    steps = self.program.compiled
    logger.info(
      '%s: training step ready in %.1f s, %d steps to go',
      self.name,
      time.monotonic() - started,
      self.program.num_steps - step,
    )
    return steps

  def batches_left(self, epoch, step):
    """Yields what training steps take, for the rest of an epoch."""
    split, batch_size = self.splits['train'], self.settings.batch_size
    order = input_pipeline.epoch_order(len(split), self.seed, epoch)
    if self.row_order:
      order = input_pipeline.rows_reordered(order, batch_size, self.row_order)
    done = step - epoch * self.program.steps_per_epoch
    for batch in input_pipeline.batches(
      split, batch_size, self.program.mesh, order[done * batch_size :]
    ):
      yield input_pipeline.step_arrays(batch)

  def validate(self, step, state):
    """Returns how the state after so many steps does on validation clips."""
    steps = self.program.compiled
    clips = self.splits['validation'], self.settings.batch_size
    mesh = self.program.mesh
    found = evaluate(steps.evaluate, state.variables, *clips, mesh)
    rate = self.program.rate_at(self.settings.learning_rate, step - 1)
    check_finite(found['loss'], step - 1, rate)
    ranking = {f'validation_{key}': found[key] for key in ('accuracy', 'loss')}
    if steps.evaluate_attacked:
      attacked = evaluate_attacked(
        steps.evaluate_attacked, state.variables, *clips, mesh
      )
      ranking[checkpoint.ATTACKED_ACCURACY] = attacked['accuracy']
      ranking['validation_alignment'] = attacked['alignment']
    return ranking

  def end_epoch(self, step, validation):
    """Returns the metrics of an epoch that was validated, and counts it."""
    self.saves.num_epochs += 1
    trained = self.sums.end_epoch(self.program.steps_per_epoch)
    clips_per_s = trained.pop('clips_per_s')
    steps_left = self.program.num_steps - step
    return {
      'epoch': self.saves.num_epochs,
      'step': step,
      **trained,
      'learning_rate': self.program.rate_at(
        self.settings.learning_rate, step - 1
      ),
      **validation,
      'clips_per_s': clips_per_s,
      'seconds_left': steps_left * self.saves.step_s(step),
    }

  def warn_of_overfitting(self, metrics):
    """Warns where the training attack is resisted and a stronger one is not.

    Catastrophic overfitting (Wong et al. 2020): from one epoch to the next
    clips under PGD are judged wrong, and those of training are not.
    """
    attacked, best = metrics.get(checkpoint.ATTACKED_ACCURACY), self.saves.best
    if attacked is None or not best:
      return
    before = best[checkpoint.ATTACKED_ACCURACY]
    if attacked < before / 2 and metrics['accuracy'] > before:
      logger.warning(
        '%s: catastrophic overfitting in epoch %d: accuracy under PGD is %.3f '
        'where it was %.3f in epoch %d, which is kept; gradients at a clip and '
        'near it agree to %.2f; train with more steps, n_fgsm, or a smaller '
        'epsilon',
        self.name,
        metrics['epoch'],
        attacked,
        before,
        best['best_epoch'],
        metrics['validation_alignment'],
      )


def _log_epoch(name, metrics, num_epochs):
  attacked = ''
  if checkpoint.ATTACKED_ACCURACY in metrics:
    attacked = f'under PGD {metrics[checkpoint.ATTACKED_ACCURACY]:.3f}, '
  logger.info(
    f'{name}: epoch {metrics["epoch"]}/{num_epochs}, '
    f'loss {metrics["loss"]:.3f}, accuracy {metrics["accuracy"]:.3f}, '
    f'validation accuracy {metrics["validation_accuracy"]:.3f}, '
    f'{attacked}{metrics["clips_per_s"]:.0f} clips/s, '
    f'{progress.duration(metrics["seconds_left"])} left'
  )


@contextlib.contextmanager
def _log(workdir, first_epoch):
  """Yields a function that records metrics, on process 0 alone."""
  if not parallel.is_lead():
    yield lambda metrics: None
    return
  with log.TrainingLog(workdir, first_epoch) as opened:
    yield opened.write
