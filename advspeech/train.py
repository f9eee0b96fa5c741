"""Training of one classifier: steps, epochs, checkpoints, records."""

import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
import tqdm
from jax import sharding

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  models,
  parallel,
  storage,
)
from advspeech.attacks import losses

logger = logging.getLogger(__name__)


class TrainState(NamedTuple):
  """All that training changes.

  Attributes:
    step: Optimisation steps done, int32 scalar.
    variables: 'params' and, with batch norm, 'batch_stats'.
    opt_state: Adam's moments.
  """

  step: jax.Array
  variables: dict[str, Any]
  opt_state: Any


class Steps(NamedTuple):
  """The compiled functions of a training run.

  Attributes:
    init: Maps a PRNG key to the first `TrainState`.
    train: Maps (state, batch) to (state, sums over valid rows).
    evaluate: Maps (variables, batch) to sums over valid rows.
  """

  init: Callable[..., TrainState]
  train: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
  evaluate: Callable[..., dict[str, jax.Array]]


def learning_rate(training: Mapping[str, Any], num_steps: int):
  """Returns the schedule rate * factor^(step / num_steps) (paper: "0.1")."""
  return optax.exponential_decay(
    training['learning_rate'], num_steps, training['decay_factor']
  )


def make_steps(
  model: nn.Module,
  tx: optax.GradientTransformation,
  clip_samples: int,
  mesh: sharding.Mesh,
) -> Steps:
  """Returns init, train and evaluate steps, compiled for the mesh.

  Parameters are replicated and batches sharded, so the loss, its gradient and
  batch norm's statistics are those of the global batch.

  Args:
    model: Unbound Linen module.
    tx: Optimiser.
    clip_samples: Length of a clip, for initialisation.
    mesh: Where to run.
  """
  copies, rows = parallel.replicated(mesh), parallel.sharded(mesh)
  return Steps(
    init=jax.jit(
      functools.partial(_init, model, tx, clip_samples), out_shardings=copies
    ),
    train=jax.jit(
      functools.partial(_train_step, model, tx),
      in_shardings=(copies, rows),
      out_shardings=copies,
      donate_argnums=0,
    ),
    evaluate=jax.jit(
      functools.partial(_eval_step, model),
      in_shardings=(copies, rows),
      out_shardings=copies,
    ),
  )


def _init(model, tx, clip_samples, key):
  clip = jnp.full((1, clip_samples), audio.SILENCE)
  variables = dict(model.init(key, clip, train=False))
  opt_state = tx.init(variables['params'])
  return TrainState(jnp.zeros((), jnp.int32), variables, opt_state)


def _train_step(model, tx, state, batch):
  """Returns the next state and this batch's sums."""
  valid = batch['valid']

  def loss_fn(params):
    logits, updates = model.apply(
      {**state.variables, 'params': params},
      batch['audio'],
      train=True,
      valid=valid,
      mutable=['batch_stats'],
    )
    loss = losses.cross_entropy(logits, batch['label'])
    return jnp.sum(loss * valid) / jnp.sum(valid), (logits, updates)

  grad_fn = jax.grad(loss_fn, has_aux=True)
  grads, (logits, updates) = grad_fn(state.variables['params'])
  deltas, opt_state = tx.update(grads, state.opt_state)
  params = optax.apply_updates(state.variables['params'], deltas)
  state = TrainState(
    state.step + 1,
    {**state.variables, **updates, 'params': params},
    opt_state,
  )
  return state, {
    **_sums(logits, batch),
    'grad_norm': optax.tree.norm(grads),
  }


def _eval_step(model, variables, batch):
  logits = model.apply(variables, batch['audio'], train=False)
  return _sums(logits, batch)


def _sums(logits, batch):
  valid = batch['valid']
  correct = jnp.argmax(logits, -1) == batch['label']
  return {
    'loss': jnp.sum(losses.cross_entropy(logits, batch['label']) * valid),
    'num_correct': jnp.sum(correct * valid),
    'num_clips': jnp.sum(valid),
  }


def evaluate(
  evaluate_step: Callable[..., dict[str, jax.Array]],
  variables: dict[str, Any],
  split: input_pipeline.Split,
  batch_size: int,
  mesh: sharding.Mesh,
) -> dict[str, float]:
  """Returns `loss`, `accuracy` and `num_clips` over a whole split."""
  sums = [
    evaluate_step(variables, _arrays(batch))
    for batch in input_pipeline.batches(split, batch_size, mesh)
  ]
  return _means(jax.device_get(sums))


def _arrays(batch):
  return {key: batch[key] for key in ('audio', 'label', 'valid')}


def _means(sums):
  total = {key: float(sum(s[key] for s in sums)) for key in sums[0]}
  return {
    'loss': total['loss'] / total['num_clips'],
    'accuracy': total['num_correct'] / total['num_clips'],
    'num_clips': int(total['num_clips']),
  }


def describe(
  config: ml_collections.ConfigDict,
  model_name: str,
  seed: int,
  classes: Sequence[str],
  clip_samples: int,
) -> dict[str, Any]:
  """Returns the metadata that a classifier's checkpoints carry."""
  return {
    'model': {
      'name': model_name,
      'num_classes': len(classes),
      **config.model.to_dict(),
    },
    'task': config.task,
    'classes': list(classes),
    'seed': seed,
    'clip_samples': clip_samples,
    'sample_rate_hz': audio.SAMPLE_RATE_HZ,
  }


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  *,
  model_name: str,
  seed: int,
  splits: Mapping[str, input_pipeline.Split],
  classes: tuple[str, ...],
) -> dict[str, Any]:
  """Trains one classifier to its last epoch and returns its summary.

  Resumes from the last epoch saved in `workdir`: on the same devices the final
  parameters are those of an uninterrupted run, bit for bit. The best epoch by
  validation accuracy is the one tested.

  Args:
    config: See configs/paper.py.
    workdir: Folder of this classifier: checkpoints, `metrics.jsonl`,
      TensorBoard events, and at the end `summary.json`.
    model_name: 'wavecnn' or 'wavernn'.
    seed: Of initialisation and of the order of clips.
    splits: Clips to train, validate and test on.
    classes: Class names.

  Raises:
    errors.InputError: If the batch size does not fit the device count, the
      folder holds another model, or the loss stops being finite.
  """
  mesh = parallel.make_mesh()
  training = config.training
  parallel.check_batch_size(
    'config.training.batch_size', training.batch_size, mesh
  )
  clip_samples = splits['train'].pcm.shape[1]
  metadata = describe(config, model_name, seed, classes, clip_samples)
  steps_an_epoch = input_pipeline.num_batches(
    splits['train'], training.batch_size
  )
  schedule = learning_rate(training, training.num_epochs * steps_an_epoch)
  model = models.create_model(**metadata['model'])
  steps = make_steps(model, optax.adam(schedule), clip_samples, mesh)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    first_epoch = checkpoints.latest_epoch or 0
    if first_epoch:
      like = parallel.abstract_replicated(
        functools.partial(steps.init, jax.random.key(seed)), mesh
      )
      trees = checkpoints.restore(first_epoch, metadata, **_trees(like))
      state = TrainState(variables=trees['variables'], **trees['optimizer'])
      logger.info('%s: resumed after epoch %d', workdir, first_epoch)
    else:
      state = steps.init(jax.random.key(seed))
    with _Records(workdir, first_epoch) as records:
      run = _Run(config, steps, schedule, mesh, splits, seed)
      for epoch, trained, metrics in run.epochs(state, first_epoch):
        # Records first: on resuming, those past the checkpoint are dropped.
        records.write(epoch, int(trained.step), metrics)
        ranking = {key: metrics[key] for key in checkpoint.RANKING}
        checkpoints.save(epoch, metadata, ranking, **_trees(trained))
        logger.info('%s', _epoch_line(workdir, training.num_epochs, metrics))
  return _summarise(workdir, config, metadata, splits, mesh)


def _trees(state):
  return {
    'variables': state.variables,
    'optimizer': {'step': state.step, 'opt_state': state.opt_state},
  }


class _Run(NamedTuple):
  """What an epoch needs besides the state."""

  config: ml_collections.ConfigDict
  steps: Steps
  schedule: Callable[[int], Any]
  mesh: sharding.Mesh
  splits: Mapping[str, input_pipeline.Split]
  seed: int

  def epochs(
    self, state: TrainState, first_epoch: int
  ) -> Iterator[tuple[int, TrainState, dict[str, float]]]:
    """Yields (epochs finished, state, metrics) after each epoch."""
    training = self.config.training
    split = self.splits['train']
    num_steps = input_pipeline.num_batches(split, training.batch_size)
    with tqdm.tqdm(
      total=training.num_epochs * num_steps,
      initial=first_epoch * num_steps,
      desc='training',
      unit='step',
      disable=None,
    ) as bar:
      for epoch in range(first_epoch, training.num_epochs):
        started = time.monotonic()
        state, metrics = self._epoch(state, epoch, bar)
        validation = evaluate(
          self.steps.evaluate,
          state.variables,
          self.splits['validation'],
          training.batch_size,
          self.mesh,
        )
        self._check_finite(validation['loss'], int(state.step) - 1)
        metrics['clips_per_s'] = len(split) / (time.monotonic() - started)
        metrics['epoch'] = epoch + 1
        metrics['learning_rate'] = float(self.schedule(int(state.step) - 1))
        metrics['validation_accuracy'] = validation['accuracy']
        metrics['validation_loss'] = validation['loss']
        yield epoch + 1, state, metrics

  def _epoch(self, state, epoch, bar):
    """Returns the state and training metrics after one pass."""
    split, batch_size = self.splits['train'], self.config.training.batch_size
    order = input_pipeline.epoch_order(len(split), self.seed, epoch)
    first_step = epoch * input_pipeline.num_batches(split, batch_size)
    pending, sums = None, []
    batches = input_pipeline.batches(split, batch_size, self.mesh, order)
    for step, batch in enumerate(batches, first_step):
      state, metrics = self.steps.train(state, _arrays(batch))
      # Read one step late, so that the device is never waited for.
      if pending:
        sums.append(self._check(*pending, bar))
      pending = step, metrics
    sums.append(self._check(*pending, bar))
    means = _means(sums)
    grad_norm = sum(float(s['grad_norm']) for s in sums) / len(sums)
    return state, {
      'loss': means['loss'],
      'accuracy': means['accuracy'],
      'grad_norm': grad_norm,
    }

  def _check(self, step, metrics, bar):
    """Returns a step's sums on the host; stops at a loss that is not finite."""
    sums = jax.device_get(metrics)
    loss = float(sums['loss'] / sums['num_clips'])
    self._check_finite(loss, step)
    accuracy = sums['num_correct'] / sums['num_clips']
    bar.set_postfix(loss=f'{loss:.3f}', accuracy=f'{accuracy:.3f}')
    bar.update()
    return sums

  def _check_finite(self, loss, step):
    if not math.isfinite(loss):
      raise errors.InputError(
        f'the loss became {loss} at step {step} with learning rate '
        f'{float(self.schedule(step)):.3g}; lower '
        '--config.training.learning_rate, in another --workdir'
      )


def _epoch_line(workdir, num_epochs, metrics):
  return (
    f'{os.path.basename(workdir)}: epoch {metrics["epoch"]}/{num_epochs}, '
    f'loss {metrics["loss"]:.3f}, accuracy {metrics["accuracy"]:.3f}, '
    f'validation accuracy {metrics["validation_accuracy"]:.3f}, '
    f'{metrics["clips_per_s"]:.0f} clips/s'
  )


class _Records:
  """`metrics.jsonl` and TensorBoard events; a context manager.

  On resuming, what was recorded after the checkpoint is dropped: those epochs
  are run again.
  """

  def __init__(self, workdir: str, first_epoch: int):
    import tensorboardX

    self._path = os.path.join(workdir, 'metrics.jsonl')
    kept = []
    if os.path.exists(self._path):
      with open(self._path, encoding='utf-8') as file:
        kept = [line for line in file if _epoch_of(line) <= first_epoch]
    with open(self._path, 'w', encoding='utf-8') as file:
      file.writelines(kept)
    self._file = open(self._path, 'a', encoding='utf-8')  # noqa: SIM115
    self._events = tensorboardX.SummaryWriter(
      os.path.join(workdir, 'tensorboard'), purge_step=first_epoch + 1
    )

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    self._file.close()
    self._events.close()

  def write(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
    """Appends an epoch's metrics."""
    self._file.write(json.dumps({**metrics, 'step': step}) + '\n')
    self._file.flush()
    for key, value in metrics.items():
      self._events.add_scalar(key, value, epoch)


def _epoch_of(line: str) -> float:
  """Returns a record's epoch; inf for a line cut short by a kill."""
  try:
    return json.loads(line)['epoch']
  except json.JSONDecodeError:
    return math.inf


def _summarise(workdir, config, metadata, splits, mesh):
  """Tests the best epoch; writes and returns `summary.json`."""
  classifier = checkpoint.load_classifier(workdir)
  placed = parallel.replicated(mesh), parallel.sharded(mesh)
  evaluate_step = jax.jit(
    functools.partial(_eval_step, classifier.model),
    in_shardings=placed,
    out_shardings=placed[0],
  )
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
    'num_clips': {name: len(split) for name, split in splits.items()},
    **results,
    'device': parallel.device_summary(),
  }
  storage.write_json(os.path.join(workdir, 'summary.json'), summary)
  return summary
