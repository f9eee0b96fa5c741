"""Attacks that raise one loss and spare another, all at one size.

Every iterate has the whole L2 norm allowed, so that solvers are compared at
equal SNR: what a clip is spared is not paid for by a smaller perturbation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints

Loss = Callable[[jax.Array], jax.Array]
SOLVERS = ('weighted', 'projected', 'multiplier')
# Of the radius: how far a clip is moved at random first, for a loss may be flat
# where nothing was moved, and by the first step; steps fall to zero.
_START, _STEP = 0.1, 0.5
# What the multiplier tolerates of the spared loss, in its unit, and how fast it
# grows where there is more.
TOLERATED, _RATE = 0.05, 10.0


def sparing(
  solver: str,
  loss_fn: Loss,
  spared_fn: Loss,
  audio: jax.Array,
  radii: jax.Array,
  keys: jax.Array,
  *,
  weight: jax.Array | float = 1.0,
  num_steps: int = 20,
  mask: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns clips whose one loss is raised while another stays, [batch, time].

  Gradient steps on the sphere of the radius, before the bounds. 'weighted'
  ascends weight * loss - (1 - weight) * spared. 'projected' ascends the loss,
  less what of its gradient would raise the spared one: the nearest direction of
  the half-space that spares it. 'multiplier' ascends loss - m * spared, with a
  multiplier a clip that grows while the spared loss is above `TOLERATED` and
  falls while it is below.

  Args:
    solver: One of `SOLVERS`.
    loss_fn: Maps audio [batch, time] to losses [batch], clip by clip.
    spared_fn: The same of the loss that is to stay low; for the multiplier it
      is 0 at the clean clip, such as a divergence.
    audio: [batch, time] clean clips.
    radii: [batch] L2 norms of the perturbations.
    keys: [batch] typed PRNG keys, one a clip.
    weight: Of the loss, from 0 to 1; 'weighted' alone reads it.
    num_steps: Gradients of each loss.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    bounds: Smallest and largest legal sample.

  Raises:
    ValueError: If the solver is unknown, num_steps is not positive, or `radii`,
      `keys` or `mask` has a shape that does not go with `audio`.
  """
  if solver not in SOLVERS:
    raise ValueError(f'solver must be one of {SOLVERS}, got {solver!r}')
  threat = constraints.Threat('l2', mask, None, bounds)
  threat.check(audio)
  arguments.check_keys(keys, audio)
  arguments.check_counts(num_steps=num_steps)
  if radii.shape != audio.shape[:1]:
    raise ValueError(
      f'radii must be one a clip, {audio.shape[:1]}, got {radii.shape}'
    )
  follow = _DIRECTIONS[solver]

  def on_sphere(perturbation):
    perturbation = radii[:, None] * constraints.unit(perturbation, 'l2')
    low, high = bounds
    return jnp.where(
      perturbation == 0, 0, jnp.clip(perturbation, low - audio, high - audio)
    )

  def step(i, carry):
    perturbation, multiplier = carry
    direction, multiplier = follow(
      loss_fn,
      spared_fn,
      threat.add(audio, perturbation),
      multiplier,
      weight,
    )
    length = radii * _STEP * (1 - i / num_steps)
    moved = perturbation + length[:, None] * threat.steepest(direction)
    return on_sphere(moved), multiplier

  noise = threat.restrict(constraints.normal(keys, audio))
  start = _START * radii[:, None] * constraints.unit(noise, 'l2')
  found, _ = jax.lax.fori_loop(
    0, num_steps, step, (start, jnp.ones_like(radii))
  )
  return threat.add(audio, found)


def _gradient(fn, audio):
  return jax.grad(lambda x: fn(x).sum())(audio)


def _weighted(loss_fn, spared_fn, audio, multiplier, weight):
  def total(x):
    return weight * loss_fn(x) - (1 - weight) * spared_fn(x)

  return _gradient(total, audio), multiplier


def _projected(loss_fn, spared_fn, audio, multiplier, weight):
  del weight
  gradient = _gradient(loss_fn, audio)
  spared = constraints.unit(_gradient(spared_fn, audio), 'l2')
  along = jnp.maximum(constraints.sum_of(gradient * spared), 0)
  return gradient - along[:, None] * spared, multiplier


def _multiplier(loss_fn, spared_fn, audio, multiplier, weight):
  del weight

  def total(x):
    spared = spared_fn(x)
    return (loss_fn(x) - multiplier * spared).sum(), spared

  gradient, spared = jax.grad(total, has_aux=True)(audio)
  return gradient, jnp.maximum(multiplier + _RATE * (spared - TOLERATED), 0)


_DIRECTIONS = {
  'weighted': _weighted,
  'projected': _projected,
  'multiplier': _multiplier,
}
