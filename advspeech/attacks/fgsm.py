"""The fast gradient sign method (Goodfellow et al. 2014; paper, eq. 2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def fgsm(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  mask: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns FGSM examples for every epsilon, [num_epsilons, batch, time].

  The sign of the input gradient does not depend on epsilon, so one backward
  pass serves the whole sweep (paper, eq. 2).

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch]; a clip's loss must not
      depend on its neighbours (running batch-norm statistics, no dropout).
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    bounds: Smallest and largest legal sample.

  Raises:
    ValueError: If `epsilons` is not one-dimensional, or `mask` and `audio`
      differ in shape.
  """
  return perturb(
    audio, gradient_sign(loss_fn, audio, mask=mask), epsilons, bounds=bounds
  )


def gradient_sign(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  *,
  mask: jax.Array | None = None,
) -> jax.Array:
  """Returns the direction of FGSM, [batch, time] int8 in {-1, 0, 1}.

  Exactly zero gradients give 0; every other gradient, however small, gives
  full strength.

  Args:
    loss_fn: As for `fgsm`.
    audio: [batch, time] clean clips.
    mask: [batch, time] or None; samples with 0 get direction 0.

  Raises:
    ValueError: If `mask` and `audio` differ in shape.
  """
  direction = jnp.sign(jax.grad(lambda a: loss_fn(a).sum())(audio))
  return masked(direction.astype(jnp.int8), mask)


def masked(direction: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Returns the direction, [batch, time], with 0 wherever the mask is 0.

  Raises:
    ValueError: If `mask` and `direction` differ in shape.
  """
  if mask is None:
    return direction
  if mask.shape != direction.shape:
    raise ValueError(
      f'mask must have the shape of audio, got {mask.shape} and '
      f'{direction.shape}; use one row a clip, 1 on samples to attack'
    )
  return jnp.where(mask > 0, direction, 0)


def perturb(
  audio: jax.Array,
  direction: jax.Array,
  epsilons: jax.Array,
  *,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns clip(audio + epsilon * direction), [num_epsilons, batch, time].

  Samples whose direction is 0, and all samples at epsilon 0, come back bit for
  bit, out of bounds or not.

  Args:
    audio: [batch, time] clean clips.
    direction: [batch, time] in [-1, 1].
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`.
    bounds: Smallest and largest legal sample.

  Raises:
    ValueError: If `epsilons` is not one-dimensional.
  """
  epsilons = jnp.asarray(epsilons, audio.dtype)
  if epsilons.ndim != 1:
    raise ValueError(
      'epsilons must be one-dimensional, got shape '
      f'{epsilons.shape}; wrap a single radius as [0.02]'
    )
  step = epsilons[:, None, None] * direction.astype(audio.dtype)[None]
  clipped = jnp.clip(audio[None] + step, *bounds)
  return jnp.where(step == 0, audio[None], clipped)
