"""Training of one classifier: epochs, checkpoints, records, exact resume."""

import contextlib
import dataclasses
import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax import sharding

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  models,
  parallel,
  preemption,
  progress,
  registry,
  storage,
)
from advspeech.training import log
from advspeech.training.step import (
  TrainState,
  learning_rate,
  make_eval_step,
  make_steps,
)

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

logger = logging.getLogger(__name__)

# What can be trained: the models, and one on the other's front end, as trained
# and frozen, to tell what a shared front end does to transfer.
_ON = '_on_'
NAMES = (*models.ALL_NAMES, f'wavernn{_ON}wavecnn')
# Steps timed at the start of a session to turn seconds between saves to steps.
_TIMED_STEPS = 5
_METRICS = ('loss', 'num_correct', 'num_clips', 'grad_norm')


def evaluate(
  evaluate_step: Callable[..., dict[str, jax.Array]],
  variables: dict[str, Any],
  split: input_pipeline.Split,
  batch_size: int,
  mesh: sharding.Mesh,
) -> dict[str, float]:
  """Returns `loss`, `accuracy` and `num_clips` over a whole split."""
  sums = []
  for batch in input_pipeline.batches(split, batch_size, mesh):
    preemption.check()
    sums.append(evaluate_step(variables, input_pipeline.step_arrays(batch)))
  sums = jax.device_get(sums)
  return _means({key: sum(float(s[key]) for s in sums) for key in sums[0]})


def _means(total):
  return {
    'loss': total['loss'] / total['num_clips'],
    'accuracy': total['num_correct'] / total['num_clips'],
    'num_clips': int(total['num_clips']),
  }


def base_name(model_name: str) -> str:
  """Returns the architecture of a name: wavernn of wavernn_on_wavecnn."""
  other = frontend_of(model_name)
  return model_name.removesuffix(_ON + other) if other else model_name


def frontend_of(model_name: str) -> str:
  """Returns the model whose front end a name takes over; '' for its own."""
  return '' if registry.is_own(model_name) else model_name.partition(_ON)[2]


def describe(
  config: 'ml_collections.ConfigDict',
  model_name: str,
  seed: int,
  classes: Sequence[str],
  clip_samples: int,
) -> dict[str, Any]:
  """Returns the metadata that a classifier's checkpoints carry."""
  shared = frontend_of(model_name)
  return {
    **({'frontend_of': shared} if shared else {}),
    'model': {
      'name': base_name(model_name),
      'num_classes': len(classes),
      **model_options(config, model_name),
    },
    'task': config.task,
    'classes': list(classes),
    'seed': seed,
    'training': {
      key: value
      for key, value in config.training.to_dict().items()
      if key != 'save_every_s'
    },
    'clip_samples': clip_samples,
    'clip': config.clip.to_dict(),
    'sample_rate_hz': audio.SAMPLE_RATE_HZ,
  }


def model_options(
  config: 'ml_collections.ConfigDict', model_name: str
) -> dict[str, Any]:
  """Returns what a model is made with: `config.model`, or options of its own.

  JSON-like, as checkpoints carry it.
  """
  if not registry.is_own(model_name):
    return config.model.to_dict()
  options = config.model_options.to_dict()
  own = options.get(registry.short_name(model_name), {})
  return json.loads(json.dumps(own))  # tuples become lists


def check_frontend(
  workdir: str,
  variables: Mapping[str, Any],
  other: checkpoint.Classifier,
) -> None:
  """Raises errors.InputError unless a model has the front end of another.

  Args:
    workdir: Of the model on the other's front end, for the message.
    variables: Its parameters and running statistics.
    other: Whose front end it took over.
  """
  trees = _frontend(variables), _frontend(other.variables)
  same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), *trees)
  if not jax.tree.all(same):
    name, seed = other.metadata['model']['name'], other.metadata['seed']
    raise errors.InputError(
      f'{workdir} has another front end than {name} of seed {seed}, which was '
      f'trained anew since; remove {workdir} and train it again, or put the '
      f'earlier {name} back'
    )


def _frontend(variables):
  """Returns the part of a model's variables that is its front end."""
  return {kind: tree['frontend'] for kind, tree in variables.items()}


def make_model(
  training: Mapping[str, Any], metadata: Mapping[str, Any]
) -> nn.Module:
  """Returns the unbound module that is trained.

  Args:
    training: `config.training`.
    metadata: As `describe` gives it.
  """
  return models.create_model(
    **metadata['model'],
    precision=training['precision'],
    norm_axis='data',
    rematerialize=training['rematerialize'],
    freeze_frontend='frontend_of' in metadata,
  )


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

  Raises:
    errors.InputError: If the batch size does not fit the device count, or the
      folder holds another model, or one on another front end.
    errors.NonFiniteLossError: If the loss stops being finite.
    preemption.Stopped: If a signal asked for it; everything is saved.
  """
  mesh = mesh or parallel.make_mesh()
  what = {'model_name': model_name, 'seed': seed, 'classes': classes}
  train(config, workdir, **what, splits=splits, mesh=mesh, frontend=frontend)
  metadata = describe(config, **what, clip_samples=splits['train'].pcm.shape[1])
  return _summarise(workdir, config, metadata, splits, mesh)


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
) -> dict[str, float]:
  """Trains one classifier to its last epoch, without a look at the test clips.

  Takes and raises what `train_and_evaluate` does.

  Returns:
    `validation_accuracy` and `validation_loss` of the best epoch, `best_epoch`.
  """
  parallel.check_batch_size(
    'config.training.batch_size', config.training.batch_size, mesh
  )
  if frontend_of(model_name) and not frontend:
    raise errors.InputError(
      f'{model_name} takes over the front end of a trained '
      f'{frontend_of(model_name)}, got none; give that as `frontend`'
    )
  clip_samples = splits['train'].pcm.shape[1]
  metadata = describe(config, model_name, seed, classes, clip_samples)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    run = _Run(config, workdir, metadata, splits, mesh, checkpoints, frontend)
    return run.to_the_end()


@dataclasses.dataclass
class _Progress:
  """What a run has reached, besides the arrays; saved as JSON.

  Attributes:
    num_epochs: Epochs trained and validated.
    sums: Of this epoch's steps so far, by metric.
    seconds: They took, saves not counted.
    best: Rank of the best epoch.
    best_epoch: Which it is; 0 before the first.
  """

  num_epochs: int = 0
  sums: dict[str, float] = dataclasses.field(
    default_factory=lambda: dict.fromkeys(_METRICS, 0.0)
  )
  seconds: float = 0.0
  best: list[float] | None = None
  best_epoch: int = 0


class _Run:
  """One classifier's way from its last checkpoint to its last epoch."""

  def __init__(
    self, config, workdir, metadata, splits, mesh, checkpoints, frontend
  ):
    self._training = config.training
    self._workdir = workdir
    self._metadata = metadata
    budget_bytes = config.input.device_budget_mb * 1e6
    self._splits = input_pipeline.place(
      {name: splits[name] for name in ('train', 'validation')},
      mesh,
      budget_bytes,
    )
    self._mesh = mesh
    self._checkpoints = checkpoints
    self._frontend = frontend
    self._steps_an_epoch = input_pipeline.num_batches(
      splits['train'], self._training.batch_size
    )
    self._num_steps = self._training.num_epochs * self._steps_an_epoch
    self._schedule = learning_rate(self._training, self._num_steps)
    self._steps = make_steps(
      make_model(self._training, metadata),
      optax.adam(self._schedule),
      metadata['clip_samples'],
      mesh,
    )
    self._evaluate_step = self._steps.evaluate
    self._restore()

  def _restore(self):
    """Sets the state and the progress, from the last checkpoint if any."""
    key = jax.random.key(self._metadata['seed'])
    step = parallel.agree(lambda: self._checkpoints.latest_step or 0)
    if step:
      like = parallel.abstract_replicated(
        functools.partial(self._steps.init, key), self._mesh
      )
      trees = self._checkpoints.restore(step, self._metadata, **_trees(like))
      self._state = TrainState(
        variables=trees['variables'], **trees['optimizer']
      )
      self._progress = _Progress(**self._checkpoints.progress(step))
      logger.info('%s: going on from step %d', self._workdir, step)
      self._measure_by_the_best_left()
    else:
      self._state = self._steps.init(key)
      self._progress = _Progress()
      if self._frontend:
        self._take_over_frontend()
    if self._frontend:
      check_frontend(self._workdir, self._state.variables, self._frontend)
    self._step = self._saved_step = self._first_step = step
    self._pending = None

  def _take_over_frontend(self):
    """Replaces the new front end by the trained one of another model."""
    # A copy: what training steps are given they overwrite.
    frontend = parallel.replicate(
      jax.device_get(_frontend(self._frontend.variables)), self._mesh
    )
    variables = {
      kind: {**tree, 'frontend': frontend[kind]}
      for kind, tree in self._state.variables.items()
    }
    self._state = self._state._replace(variables=variables)

  def _measure_by_the_best_left(self):
    """Makes the best checkpoint that is left the one to surpass."""
    step, rank, epoch = self._checkpoints.best_step, None, 0
    if step is not None:
      rank = list(self._checkpoints.best_rank)
      epoch = self._checkpoints.progress(step)['num_epochs']
    if rank != self._progress.best:
      if rank:
        successor = f'epoch {epoch}, the best one left,'
      elif self._progress.num_epochs < self._training.num_epochs:
        successor = 'the best one from here on'
      else:
        successor = 'the last one, validated again,'
      logger.warning(
        '%s: its best epoch, %d, is lost; %s takes its place',
        self._workdir,
        self._progress.best_epoch,
        successor,
      )
    self._progress.best, self._progress.best_epoch = rank, epoch

  def to_the_end(self) -> dict[str, float]:
    """Trains to the last epoch; returns what the best one reached."""
    if self._progress.num_epochs < self._training.num_epochs:
      self._train()
    elif self._progress.best is None:  # it was damaged
      self._save_best(self._evaluate(), self._progress.num_epochs)
    accuracy, minus_loss = self._progress.best
    return {
      'validation_accuracy': accuracy,
      'validation_loss': -minus_loss,
      'best_epoch': self._progress.best_epoch,
    }

  def _train(self):
    """Compiles, trains, validates, records and saves."""
    self._train_step = self._compile()
    self._save_every = self._num_steps
    self._started = time.monotonic()
    # Not before: while steps are compiled there is nothing to be saved.
    with preemption.unsaved():
      self._train_or_save()

  def _train_or_save(self):
    """Trains to the last epoch; where it is stopped it saves and raises."""
    try:
      with (
        _log(self._workdir, self._progress.num_epochs) as record,
        progress.Meter(
          os.path.basename(self._workdir),
          self._num_steps,
          'step',
          done=self._step,
          shown=parallel.is_lead(),
        ) as self._told,
      ):
        while self._progress.num_epochs < self._training.num_epochs:
          self._train_epoch()
          metrics = self._validate()
          # Recorded first: on resuming, what the checkpoint lacks is dropped.
          record(metrics)
          self._save_epoch(metrics)
    except preemption.Stopped:
      if self._step > self._saved_step:
        self._save(None)
      self._checkpoints.wait()
      logger.info('%s: saved at step %d', self._workdir, self._step)
      raise

  def _compile(self):
    """Compiles both steps, says how long that took, returns that of training.

    A program that compiles saves nothing when it is stopped, and so the
    evaluation is not left to the end of an epoch.
    """
    started = time.monotonic()
    split = self._splits['train']
    batches = input_pipeline.batches(
      split, self._training.batch_size, self._mesh
    )
    batch = input_pipeline.step_arrays(next(batches))
    compiled = self._steps.train.lower(self._state, batch).compile()
    self._evaluate_step = self._steps.evaluate.lower(
      self._state.variables, batch
    ).compile()
    logger.info(
      '%s: training step ready in %.1f s, %d steps to go',
      os.path.basename(self._workdir),
      time.monotonic() - started,
      self._num_steps - self._step,
    )
    return compiled

  def _train_epoch(self):
    """Takes the steps that are left of the epoch."""
    split, epoch = self._splits['train'], self._progress.num_epochs
    order = input_pipeline.epoch_order(
      len(split), self._metadata['seed'], epoch
    )
    done = self._step - epoch * self._steps_an_epoch
    self._clock = time.monotonic()
    for batch in input_pipeline.batches(
      split,
      self._training.batch_size,
      self._mesh,
      order[done * self._training.batch_size :],
    ):
      preemption.check()
      self._state, metrics = self._train_step(
        self._state, input_pipeline.step_arrays(batch)
      )
      # Read one step late, so that the device is never waited for.
      self._read_metrics()
      self._pending = metrics
      self._step += 1
      self._plan_saves()
      # The last step of an epoch is saved once it is validated.
      within = self._step % self._steps_an_epoch
      if within and self._step - self._saved_step >= self._save_every:
        self._save(None)
    self._read_metrics()

  def _read_metrics(self):
    """Adds the last step's sums; stops at a loss that is not finite."""
    if self._pending is None:
      return
    values = {k: float(v) for k, v in jax.device_get(self._pending).items()}
    self._pending = None
    loss = values['loss'] / values['num_clips']
    self._check_finite(loss)
    for key in _METRICS:
      self._progress.sums[key] += values[key]
    now = time.monotonic()
    self._progress.seconds += now - self._clock
    self._clock = now
    self._told.update(f'loss {loss:.3f}')

  def _plan_saves(self):
    """Turns seconds between saves into steps, the same on every process."""
    if self._step - self._first_step == _TIMED_STEPS:
      step_s = (time.monotonic() - self._started) / _TIMED_STEPS
      self._save_every = parallel.agree(
        lambda: max(1, round(self._training.save_every_s / step_s))
      )

  def _evaluate(self):
    """Returns the metrics of validation that checkpoints are ranked by."""
    found = evaluate(
      self._evaluate_step,
      self._state.variables,
      self._splits['validation'],
      self._training.batch_size,
      self._mesh,
    )
    self._check_finite(found['loss'])
    return {f'validation_{key}': found[key] for key in ('accuracy', 'loss')}

  def _validate(self):
    """Validates, ends the epoch and returns its metrics."""
    validation = self._evaluate()
    sums, seconds = self._progress.sums, self._progress.seconds
    self._progress.num_epochs += 1
    self._progress.sums, self._progress.seconds = _Progress().sums, 0.0
    trained = _means(sums)
    elapsed_s = time.monotonic() - self._started
    step_s = elapsed_s / max(1, self._step - self._first_step)
    return {
      'epoch': self._progress.num_epochs,
      'step': self._step,
      'loss': trained['loss'],
      'accuracy': trained['accuracy'],
      'grad_norm': sums['grad_norm'] / self._steps_an_epoch,
      'learning_rate': float(self._schedule(self._step - 1)),
      **validation,
      # Of the training steps alone.
      'clips_per_s': sums['num_clips'] / seconds,
      'seconds_left': (self._num_steps - self._step) * step_s,
    }

  def _save_epoch(self, metrics):
    """Saves the end of an epoch if it is the best, the last, or due."""
    best = self._progress.best
    due = self._step - self._saved_step >= self._save_every
    if best is None or list(checkpoint.rank(metrics)) > best:
      ranking = {key: metrics[key] for key in checkpoint.RANKING}
      self._save_best(ranking, metrics['epoch'])
    elif due or self._step == self._num_steps:
      # Only a new best is ranked: what else is saved depends on the clock.
      self._save(None)
    name, total = os.path.basename(self._workdir), self._training.num_epochs
    logger.info(
      f'{name}: epoch {metrics["epoch"]}/{total}, '
      f'loss {metrics["loss"]:.3f}, accuracy {metrics["accuracy"]:.3f}, '
      f'validation accuracy {metrics["validation_accuracy"]:.3f}, '
      f'{metrics["clips_per_s"]:.0f} clips/s, '
      f'{metrics["seconds_left"]:.0f} s left'
    )

  def _save_best(self, ranking, epoch):
    self._progress.best = list(checkpoint.rank(ranking))
    self._progress.best_epoch = epoch
    self._save(ranking)

  def _save(self, metrics):
    self._read_metrics()
    self._checkpoints.save(
      self._step,
      self._metadata,
      dataclasses.asdict(self._progress),
      metrics,
      **_trees(self._state),
    )
    self._saved_step = self._step
    self._clock = time.monotonic()

  def _check_finite(self, loss):
    if not math.isfinite(loss):
      step = self._step - 1
      raise errors.NonFiniteLossError(
        f'the loss became {loss} at step {step} with learning rate '
        f'{float(self._schedule(step)):.3g}; lower '
        '--config.training.learning_rate, in another --workdir'
      )


def _trees(state):
  return {
    'variables': state.variables,
    'optimizer': {
      'step': state.step,
      'opt_state': state.opt_state,
      'rng': state.rng,
    },
  }


@contextlib.contextmanager
def _log(workdir, first_epoch):
  """Yields a function that records metrics, on process 0 alone."""
  if not parallel.is_lead():
    yield lambda metrics: None
    return
  with log.TrainingLog(workdir, first_epoch) as opened:
    yield opened.write


def _summarise(workdir, config, metadata, splits, mesh):
  """Tests the best epoch; writes and returns `summary.json`."""
  classifier = checkpoint.load_best(workdir, metadata, mesh=mesh)
  evaluate_step = make_eval_step(classifier.model, mesh)
  results = {
    name: evaluate(
      evaluate_step,
      classifier.variables,
      splits[name],
      config.training.batch_size,
      mesh,
    )
    for name in ('validation', 'test')
  }
  num_parameters = sum(
    x.size for x in jax.tree.leaves(classifier.variables['params'])
  )
  summary = {
    **metadata,
    'best_epoch': classifier.epoch,
    'num_epochs': config.training.num_epochs,
    'num_parameters': num_parameters,
    'variables_sha256': checkpoint.variables_sha256(classifier.variables),
    'num_clips': {name: len(split) for name, split in splits.items()},
    **results,
    'device': parallel.device_summary(mesh),
  }
  path = os.path.join(workdir, 'summary.json')
  parallel.on_lead(
    lambda: storage.write_json(path, summary), f'{path} is written'
  )
  return summary
