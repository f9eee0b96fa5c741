"""One perturbation for every clip (Moosavi-Dezfooli et al. 2017).

Learnt by ascending the loss summed over clips, step by step (Shafahi et al.
2020), and kept per unit of epsilon. No momentum, nothing random.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints


def universal(
  loss_fn: Callable[[jax.Array, Mapping[str, jax.Array]], jax.Array],
  batches: Mapping[str, jax.Array],
  epsilons: jax.Array,
  *,
  norm: str = 'linf',
  num_epochs: int = 10,
  relative_step: float | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns universal directions, [num_epsilons, time], of norm at most 1.

  `perturb_all` adds them to clips.

  Args:
    loss_fn: Maps audio [batch, time] and a batch's other arrays to losses
      [batch]. Give rows that only fill a batch the loss 0.
    batches: 'audio' [num_batches, batch, time], 'mask' of the same shape if
      some samples are to stay as they are, and what else `loss_fn` reads, each
      with num_batches in front.
    epsilons: [num_epsilons] radii in `norm` of a whole clip.
    norm: 'linf' or 'l2'.
    num_epochs: Walks through the batches, one step a batch.
    relative_step: Step over epsilon; None for 2.5 / (steps in all).
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: As `universal_step` does, or if `num_epochs` is not positive.
  """
  arguments.check_counts(num_epochs=num_epochs)
  num_batches, _, num_samples = batches['audio'].shape
  num_steps = num_epochs * num_batches
  step = 2.5 / num_steps if relative_step is None else relative_step

  def one_batch(direction, batch):
    direction = universal_step(
      lambda audio: loss_fn(audio, batch),
      direction,
      batch['audio'],
      epsilons,
      norm=norm,
      relative_step=step,
      mask=batch.get('mask'),
      band=band,
      bounds=bounds,
      epsilons_at_once=epsilons_at_once,
    )
    return direction, None

  start = jnp.zeros((len(epsilons), num_samples), batches['audio'].dtype)
  return jax.lax.fori_loop(
    0, num_epochs, lambda _, d: jax.lax.scan(one_batch, d, batches)[0], start
  )


def universal_step(
  loss_fn: Callable[[jax.Array], jax.Array],
  direction: jax.Array,
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  relative_step: float,
  norm: str = 'linf',
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  axis_name: str | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns the directions one step on, [num_epsilons, time].

  Gradients are summed over clips in whole numbers (of a 2**-30th of a sample's
  largest gradient, times the number of clips), so that neither the order of
  the clips nor the number of devices that share them shows in the result.

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch].
    direction: [num_epsilons, time] so far; zeros to begin with.
    audio: [batch, time] clean clips.
    epsilons: [num_epsilons] radii in `norm` of a whole clip.
    relative_step: Step over epsilon.
    norm: 'linf' or 'l2'.
    mask: [batch, time] or None; 1 on samples that may change.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.
    axis_name: Mesh axis that shares the clips, inside `shard_map`.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: If `norm` is unknown, or a shape does not go with `audio`.
  """
  constraints.Threat(norm, mask, band, bounds).check(audio)
  radii = arguments.radii(epsilons, audio)
  _check_direction(direction, radii, audio)
  one_clip = constraints.Threat(norm, None, band, (-jnp.inf, jnp.inf))
  nothing = jnp.zeros((1, audio.shape[-1]), audio.dtype)

  def step_one(inputs):
    direction, radius = inputs
    adv = perturb_all(
      audio, direction[None], radius[None], mask=mask, bounds=bounds
    )[0]
    gradient = jax.grad(lambda a: loss_fn(a).sum())(adv)
    gradient = constraints.masked(gradient, mask)
    total = exact_sum(gradient, axis_name)[None]
    moved = direction[None] + relative_step * one_clip.steepest(total)
    return one_clip.project(nothing, moved, jnp.ones(1, audio.dtype))[0]

  return jax.lax.map(step_one, (direction, radii), batch_size=epsilons_at_once)


def perturb_all(
  audio: jax.Array,
  direction: jax.Array,
  epsilons: jax.Array,
  *,
  mask: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns clips with one perturbation each epsilon, as `perturb` does.

  Args:
    audio: [batch, time] clean clips.
    direction: [num_epsilons, time], from `universal`.
    epsilons: [num_epsilons] radii in the direction's norm, or
      [num_epsilons, batch] with a radius a clip.
    mask: [batch, time] or None; samples with 0 stay bit for bit.
    bounds: Smallest and largest legal sample.

  Returns:
    [num_epsilons, batch, time].

  Raises:
    ValueError: If the shapes do not go together.
  """
  radii = arguments.radii(epsilons, audio)
  _check_direction(direction, radii, audio)
  step = radii[:, :, None] * direction[:, None].astype(audio.dtype)
  if mask is not None:
    constraints.masked(audio, mask)
    step = jnp.where(mask[None] > 0, step, 0)
  return constraints.add(audio, step, bounds=bounds)


def _check_direction(direction, radii, audio):
  if direction.shape != (len(radii), audio.shape[-1]):
    raise ValueError(
      'direction must be [num_epsilons, time], got shape '
      f'{direction.shape} for {len(radii)} epsilons and audio of {audio.shape}'
    )


def exact_sum(gradient: jax.Array, axis_name: str | None) -> jax.Array:
  """Returns the sum over clips, [time], whatever their order.

  In whole numbers of a 2**-30th of each column's largest value, times the
  number of clips.

  Args:
    gradient: [batch, time].
    axis_name: Mesh axis that shares the clips, inside `shard_map`; None for
      none.
  """
  num_clips = gradient.shape[0]
  largest = jnp.abs(gradient).max(0)
  if axis_name is not None:
    num_clips *= jax.lax.axis_size(axis_name)
    largest = jax.lax.pmax(largest, axis_name)
  # So many whole numbers cannot overflow 31 bits in their sum.
  scale = 2.0**30 / num_clips / jnp.where(largest == 0, 1, largest)
  total = jnp.round(gradient * scale[None]).astype(jnp.int32).sum(0)
  if axis_name is not None:
    total = jax.lax.psum(total, axis_name)
  return total.astype(gradient.dtype) / scale
