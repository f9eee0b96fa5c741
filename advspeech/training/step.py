"""One step of training or evaluation, compiled for the mesh."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import sharding

from advspeech import audio, models, parallel, randomness, transforms
from advspeech.attacks import losses
from advspeech.training import defence as defences


class TrainState(NamedTuple):
  """All that training changes.

  Attributes:
    step: Optimisation steps done, int32 scalar.
    variables: 'params' and the model's other collections: with batch norm
      'batch_stats'.
    opt_state: Moments of the optimiser.
    rng: [2] uint32, key data that every step folds its number into; it stays.
  """

  step: jax.Array
  variables: dict[str, Any]
  opt_state: Any
  rng: jax.Array


class Steps(NamedTuple):
  """The compiled functions of a training run.

  Attributes:
    init: Maps a PRNG key to the first `TrainState`.
    train: Maps (state, batch, learning_rate) to (state, sums over valid rows);
      the rate is the one that training begins with, a float32 scalar.
    evaluate: Maps (variables, batch) to sums over valid rows.
    evaluate_attacked: The same under the attack that a defended training's
      epochs are judged by, with `alignment` (`defence.attacked`); None of one
      without a defence.
  """

  init: Callable[..., TrainState]
  train: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
  evaluate: Callable[..., dict[str, jax.Array]]
  evaluate_attacked: Callable[..., dict[str, jax.Array]] | None = None


def decay(factor: float, num_steps: int) -> optax.Schedule:
  """Returns what of the rate is left at a step: factor^(step / num_steps).

  The paper names no more of it than "0.1".
  """
  return optax.exponential_decay(1.0, num_steps, factor)


def make_steps(
  model: nn.Module,
  tx: optax.GradientTransformation,
  clip_samples: int,
  mesh: sharding.Mesh,
  schedule: optax.Schedule | None = None,
  augment: transforms.Apply | None = None,
  defence: defences.Defence | None = None,
) -> Steps:
  """Returns init, train and evaluate steps, compiled for the mesh.

  Parameters are replicated and batches sharded. The training step is written
  for one device's rows, with one sum over all devices at its end: left to the
  partitioner, the gradient of the LSTM's kernel is summed over devices at
  every frame of the backward loop. Batch norm's statistics are those of the
  global batch. Dropout draws from (seed, step, device), augmentation from
  (seed, utterance id, step), and so does a defence: all are the same after a
  restart, and the latter on any number of devices.

  Args:
    model: Unbound, as `models.create_model` makes it for norm_axis 'data'.
    tx: Optimiser without a rate (`optax.scale_by_adam()`): that is an argument
      of the step, which is compiled once for all rates.
    clip_samples: Length of a clip, for initialisation.
    mesh: Where to run.
    schedule: Maps the number of steps done to what is left of the rate; all of
      it at every step if None.
    augment: Maps audio [batch, time], keys [batch] and mask [batch, time] to
      what is trained on; None for the clips as they are.
    defence: How they are perturbed then; None for not at all.
  """
  copies, rows = parallel.replicated(mesh), parallel.sharded(mesh)
  train = jax.shard_map(
    functools.partial(
      _train_step,
      model,
      tx,
      schedule or (lambda step: 1.0),
      augment,
      defence,
    ),
    mesh=mesh,
    in_specs=(copies.spec, rows.spec, copies.spec),
    out_specs=copies.spec,
    # Without it JAX would sum the gradients on its own, each by itself.
    check_vma=False,
  )
  return Steps(
    init=jax.jit(
      functools.partial(_init, model, tx, clip_samples), out_shardings=copies
    ),
    train=jax.jit(
      train,
      in_shardings=(copies, rows, copies),
      out_shardings=copies,
      donate_argnums=0,
    ),
    evaluate=make_eval_step(model, mesh),
    evaluate_attacked=make_eval_step(model, mesh, defence) if defence else None,
  )


def abstract_rate(mesh: sharding.Mesh) -> jax.ShapeDtypeStruct:
  """Returns what describes a learning rate as the training step takes it."""
  return parallel.abstract_replicated(lambda: jnp.zeros(()), mesh)


def make_eval_step(
  model: nn.Module,
  mesh: sharding.Mesh,
  defence: defences.Defence | None = None,
) -> Callable[..., dict[str, jax.Array]]:
  """Returns the evaluation step alone; see `Steps`.

  Args:
    model: Unbound.
    mesh: Where to run.
    defence: At whose radius clips are attacked; None for clean ones.
  """
  copies, rows = parallel.replicated(mesh), parallel.sharded(mesh)
  evaluate = jax.shard_map(
    functools.partial(_eval_step, model)
    if defence is None
    else functools.partial(_attacked_eval_step, model, defence),
    mesh=mesh,
    in_specs=(copies.spec, rows.spec),
    out_specs=copies.spec,
    check_vma=False,
  )
  return jax.jit(evaluate, in_shardings=(copies, rows), out_shardings=copies)


def _init(model, tx, clip_samples, key):
  clip = jnp.full((1, clip_samples), audio.SILENCE)
  variables = dict(model.init(key, clip, train=False))
  opt_state = tx.init(variables['params'])
  rng = jax.random.key_data(key)
  return TrainState(jnp.zeros((), jnp.int32), variables, opt_state, rng)


def _train_step(
  model, tx, schedule, augment, defence, state, batch, learning_rate
):
  """Returns the next state and the sums, for one device's rows."""
  clips, valid = batch['audio'], batch['valid']
  key = jax.random.wrap_key_data(state.rng)
  of_dropout, of_clips, of_defence = (
    jax.random.fold_in(key, i) for i in range(3)
  )

  def keys_of(key):
    keys = randomness.clip_keys(key, batch['id_words'])
    return jax.vmap(jax.random.fold_in, (0, None))(keys, state.step)

  if augment:
    clips = augment(clips, keys_of(of_clips), batch['mask'])
  beta = 0.0
  if defence:
    beta = defence.beta
    found = _perturbed(
      model, defence, state, {**batch, 'audio': clips}, keys_of(of_defence)
    )
    # Clean clips beside them share the pass, and batch norm's statistics.
    clips = jnp.concatenate([clips, found]) if beta else found
    valid = jnp.concatenate([valid, valid]) if beta else valid
  others = [name for name in state.variables if name != 'params']

  def loss_fn(params):
    logits, updates = model.apply(
      {**state.variables, 'params': params},
      clips,
      train=True,
      valid=valid,
      rngs={'dropout': _device_key(of_dropout, state.step)},
      mutable=others,
    )
    answers = logits[: len(batch['valid'])]
    loss = losses.cross_entropy(answers, batch['label'])
    if beta:
      loss += beta * defences.divergence(answers, logits[len(answers) :])
    return jnp.sum(loss * batch['valid']), (answers, updates)

  grads, (logits, updates) = jax.grad(loss_fn, has_aux=True)(
    state.variables['params']
  )
  grads, sums = jax.lax.psum((grads, _sums(logits, batch)), 'data')
  if not models.norms_over_the_mesh(model):
    updates = jax.tree.map(_averaged, updates)
  grads = jax.tree.map(lambda g: g / sums['num_clips'], grads)
  directions, opt_state = tx.update(grads, state.opt_state)
  rate = learning_rate * schedule(state.step)
  deltas = jax.tree.map(lambda d: -rate * d, directions)
  params = optax.apply_updates(state.variables['params'], deltas)
  state = TrainState(
    state.step + 1,
    {**state.variables, **updates, 'params': params},
    opt_state,
    state.rng,
  )
  return state, {**sums, 'grad_norm': optax.tree.norm(grads)}


def _perturbed(model, defence, state, batch, keys):
  """Returns what a defended step trains on in the place of its clips."""

  def of_rows(rows, keys):
    logits_fn = functools.partial(model.apply, state.variables, train=False)
    problem = defences.pose(logits_fn, rows, keys)
    return defences.perturbed(defence, problem, rows['mask'], state.step)

  at_once = models.clips_at_once(model, *batch['audio'].shape)
  return parallel.map_rows(of_rows, at_once, batch, keys)


def _device_key(key, step):
  """Returns a key of this step on this device."""
  return jax.random.fold_in(
    jax.random.fold_in(key, step), jax.lax.axis_index('data')
  )


def _averaged(x):
  """Returns a running statistic of all devices' rows; a counter as it is."""
  is_inexact = jnp.issubdtype(x.dtype, jnp.inexact)
  return jax.lax.pmean(x, 'data') if is_inexact else x


def _eval_step(model, variables, batch):
  """Returns the sums over all devices, from one device's rows.

  Besides those of training `answers`, [classes, classes]: of the clips of each
  true class, how many got each answer.
  """
  clips = batch['audio']
  logits = parallel.map_rows(
    lambda clips: model.apply(variables, clips, train=False),
    models.clips_at_once(model, *clips.shape),
    clips,
  )
  num_classes = logits.shape[-1]
  predicted = jax.nn.one_hot(jnp.argmax(logits, -1), num_classes)
  true = jax.nn.one_hot(batch['label'], num_classes) * batch['valid'][:, None]
  # Whole numbers, in whatever precision; a class has few clips a batch.
  answers = jnp.sum(true[:, :, None] * predicted[:, None], 0)
  return jax.lax.psum(_sums(logits, batch) | {'answers': answers}, 'data')


def _attacked_eval_step(model, defence, variables, batch):
  """Returns the sums over all devices under attack, from one device's rows."""

  def of_rows(rows):
    logits_fn = functools.partial(model.apply, variables, train=False)
    # The same for every epoch: their errors are compared.
    keys = randomness.clip_keys(jax.random.key(0), rows['id_words'])
    problem = defences.pose(logits_fn, rows, keys)
    attacked, alignment = defences.attacked(defence, problem, rows['mask'])
    return logits_fn(attacked), alignment

  clips = batch['audio']
  logits, alignment = parallel.map_rows(
    of_rows, models.clips_at_once(model, *clips.shape), batch
  )
  sums = _sums(logits, batch)
  sums['alignment'] = jnp.sum(alignment * batch['valid'])
  return jax.lax.psum(sums, 'data')


def _sums(logits, batch):
  valid = batch['valid']
  correct = jnp.argmax(logits, -1) == batch['label']
  return {
    'loss': jnp.sum(losses.cross_entropy(logits, batch['label']) * valid),
    'num_correct': jnp.sum(correct * valid),
    'num_clips': jnp.sum(valid),
  }
