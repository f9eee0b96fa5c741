"""One gradient, one step: FGSM (Goodfellow et al. 2014; paper, eq. 2) and FGM.

A direction does not depend on epsilon, so one backward pass serves the whole
sweep; a step along it may end out of the band only where the bounds clip it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints


def fgsm(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  ceiling: constraints.Ceiling | None = None,
) -> jax.Array:
  """Returns FGSM examples for every epsilon, [num_epsilons, batch, time].

  Under a ceiling the sign is taken of every cell of the gradient's spectrum.

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch]; a clip's loss must not
      depend on its neighbours (running batch-norm statistics, no dropout).
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`, or
      [num_epsilons, batch] with a radius a clip.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.
    ceiling: What epsilons are multiples of, in place of the max-norm.

  Raises:
    ValueError: If `epsilons`, `mask` or `band` has a shape that does not go
      with `audio`.
  """
  if ceiling is not None:
    threat = constraints.Threat('ceiling', mask, band, bounds, ceiling)
    direction = steepest(threat, loss_fn, audio)
    return perturb_within(threat, audio, direction, epsilons)
  direction = gradient_sign(loss_fn, audio, mask=mask, band=band)
  return perturb(audio, direction, epsilons, bounds=bounds)


def fgm(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns fast gradient examples in L2, [num_epsilons, batch, time].

  A step of length epsilon along the gradient; a clip without a gradient stays
  where it is. (CleverHans' JAX version forgets epsilon here.)

  Args:
    loss_fn: As for `fgsm`.
    audio: [batch, time] clean clips.
    epsilons: [num_epsilons] L2 radii of a whole clip, in the unit of `audio`,
      or [num_epsilons, batch] with a radius a clip.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.

  Raises:
    ValueError: If `epsilons`, `mask` or `band` has a shape that does not go
      with `audio`.
  """
  direction = unit_gradient(loss_fn, audio, mask=mask, band=band)
  return perturb(audio, direction, epsilons, bounds=bounds)


def gradient_sign(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
) -> jax.Array:
  """Returns the direction of FGSM, [batch, time] int8 in {-1, 0, 1}.

  Exactly zero gradients give 0; every other gradient, however small, gives
  full strength. In a band the direction is of the audio's type, in [-1, 1]:
  the band's part of the sign of the band's part of the gradient, with
  max-norm 1.

  Args:
    loss_fn: As for `fgsm`.
    audio: [batch, time] clean clips.
    mask: [batch, time] or None; samples with 0 get direction 0.
    band: [time // 2 + 1] or None; see `band_weights`.

  Raises:
    ValueError: If `mask` and `audio` differ in shape, or `band` is not
      [time // 2 + 1].
  """
  direction = steepest(constraints.Threat('linf', mask, band), loss_fn, audio)
  return direction.astype(jnp.int8) if band is None else direction


def unit_gradient(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
) -> jax.Array:
  """Returns the direction of FGM, [batch, time], of L2 norm 1 (or 0).

  Args:
    loss_fn: As for `fgsm`.
    audio: [batch, time] clean clips.
    mask: [batch, time] or None; samples with 0 get direction 0.
    band: [time // 2 + 1] or None; see `band_weights`.

  Raises:
    ValueError: If `mask` and `audio` differ in shape, or `band` is not
      [time // 2 + 1].
  """
  return steepest(constraints.Threat('l2', mask, band), loss_fn, audio)


def steepest(
  threat: constraints.Threat,
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
) -> jax.Array:
  """Returns the direction of one step at the clean clips, [batch, time].

  Args:
    threat: Which steps are of norm 1.
    loss_fn: As for `fgsm`.
    audio: [batch, time] clean clips.

  Raises:
    ValueError: As of `Threat.check`.
  """
  audio = jnp.asarray(audio)
  threat.check(audio)
  return threat.steepest(jax.grad(lambda a: loss_fn(a).sum())(audio))


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
    direction: [batch, time] of norm 1, or less, in the norm of `epsilons`.
    epsilons: [num_epsilons] radii, in the unit of `audio`, or
      [num_epsilons, batch] with a radius a clip.
    bounds: Smallest and largest legal sample.

  Raises:
    ValueError: If `epsilons` is neither.
  """
  audio = jnp.asarray(audio)
  radii = arguments.radii(epsilons, audio)
  step = radii[:, :, None] * direction.astype(audio.dtype)[None]
  return constraints.add(audio, step, bounds=bounds)


def perturb_within(
  threat: constraints.Threat,
  audio: jax.Array,
  direction: jax.Array,
  epsilons: jax.Array,
) -> jax.Array:
  """Returns clips a step on and projected, [num_epsilons, batch, time].

  For a direction that may leave the ball, as under a ceiling.

  Args:
    threat: Which balls.
    audio: [batch, time] clean clips.
    direction: [batch, time], from `steepest`.
    epsilons: As for `perturb`.

  Raises:
    ValueError: If `epsilons` is neither.
  """
  audio = jnp.asarray(audio)

  def one(radius):
    step = radius[:, None] * direction
    return threat.add(audio, threat.project(audio, step, radius))

  return jax.lax.map(one, arguments.radii(epsilons, audio))
