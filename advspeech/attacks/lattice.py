"""Adversarial clips of whole 16-bit steps, so that saving them changes nothing.

A perturbation is rounded to multiples of a step. Clips that came from 16-bit
files lie on that lattice themselves, and stay on it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments

LSB = 1 / 65536  # a 16-bit step in the model's unit
PCM_BOUNDS = (0.0, 1 - LSB)


def to_lattice(
  audio: jax.Array,
  adv: jax.Array,
  epsilons: jax.Array,
  *,
  step: float = LSB,
  bounds: tuple[float, float] = PCM_BOUNDS,
) -> jax.Array:
  """Returns the nearest clips on the lattice in the max-norm balls, as `adv`.

  A radius below one step holds the clean clip alone.

  Args:
    audio: [batch, time] clean clips.
    adv: [num_epsilons, batch, time] adversarial clips.
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`, or
      [num_epsilons, batch] with a radius a clip.
    step: Between neighbours of the lattice, in the same unit.
    bounds: Smallest and largest legal sample; 1.0 has no 16-bit value.

  Raises:
    ValueError: If `epsilons` is neither, or `adv` is not
      [num_epsilons, batch, time].
  """
  radii = _radii(audio, adv, epsilons)
  steps = jnp.round((adv - audio[None]) / step)
  return _place(audio, steps, radii, step, bounds)


def repair(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  adv: jax.Array,
  epsilons: jax.Array,
  *,
  step: float = LSB,
  bounds: tuple[float, float] = PCM_BOUNDS,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns clips on the lattice whose rounding serves the attack, as `adv`.

  Each sample goes to the lattice point above or below, whichever the loss
  gradient at the rounded clip prefers, within the ball. A clip whose loss is
  lower for it keeps the nearest points. Samples that the attack left alone
  stay bit for bit.

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch], as for the attack.
    audio: [batch, time] clean clips.
    adv: [num_epsilons, batch, time] adversarial clips.
    epsilons: As for `to_lattice`.
    step: As for `to_lattice`.
    bounds: As for `to_lattice`.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: As for `to_lattice`.
  """
  audio, adv = jnp.asarray(audio), jnp.asarray(adv)
  radii = _radii(audio, adv, epsilons)

  def losses(clips):
    loss = loss_fn(clips)
    return loss.sum(), loss

  def repair_one(inputs):
    adv, radius = inputs[0][None], inputs[1][None]
    # Of the two neighbours of a sample the gradient at the rounded clip says
    # which raises the loss, to first order and for each sample alone. What all
    # of them do together is evaluated, and taken back where it is worse.
    nearest = to_lattice(audio, adv, radius, step=step, bounds=bounds)[0]
    gradient, before = jax.grad(losses, has_aux=True)(nearest)
    exact = (adv[0] - audio) / step
    steps = jnp.where(
      gradient > 0,
      jnp.ceil(exact),
      jnp.where(gradient < 0, jnp.floor(exact), jnp.round(exact)),
    )
    chosen = _place(audio, steps[None], radius, step, bounds)[0]
    worse = loss_fn(chosen) < before
    return jnp.where(worse[:, None], nearest, chosen)

  return jax.lax.map(repair_one, (adv, radii), batch_size=epsilons_at_once)


def _radii(audio, adv, epsilons):
  radii = arguments.radii(epsilons, audio)
  if adv.shape != (len(radii), *audio.shape):
    raise ValueError(
      'adv must be [num_epsilons, batch, time], got shape '
      f'{adv.shape} for {len(radii)} epsilons and audio of {audio.shape}'
    )
  return radii


def _place(audio, steps, radii, step, bounds):
  """Returns audio + steps * step inside the balls and the bounds."""
  # Whole steps towards the clean clip, from the ball and from the bounds: to
  # the nearest one would lead out of them.
  most = jnp.floor(radii / step)[:, :, None]
  lowest = jnp.ceil((bounds[0] - audio) / step)[None]
  highest = jnp.floor((bounds[1] - audio) / step)[None]
  inside = jnp.clip(jnp.clip(steps, -most, most), lowest, highest)
  # A sample that is not moved is not brought inside the bounds either.
  steps = jnp.where((steps == 0) | (most == 0), 0, inside)
  return jnp.where(steps == 0, audio[None], audio[None] + steps * step)
