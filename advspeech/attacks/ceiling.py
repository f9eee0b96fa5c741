"""Perturbations below a ceiling that each cell of their spectrum has.

A budget over time and frequency, such as what a clip masks. At radius r no cell
of a perturbation's short-time spectrum is larger than r times its limit.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

# Rounds of cutting cells down and taking the spectrum again, after which the
# whole is scaled by what is still too large.
_NUM_ROUNDS = 5


class Ceiling(Protocol):
  """A limit for each cell of a short-time spectrum.

  Attributes:
    limits: [batch, frames, bins] largest magnitudes at radius 1.
    aims: [batch, frames, bins] magnitudes to cut cells to: so small that they
      do not leak above the limits of cells nearby.
  """

  limits: jax.Array
  aims: jax.Array

  def analyse(self, signal: jax.Array) -> jax.Array:
    """Returns the spectrum, [batch, frames, bins], of signals [batch, time]."""

  def synthesise(self, spectrum: jax.Array, num_samples: int) -> jax.Array:
    """Returns the signals [batch, num_samples] of nearest spectrum."""


def radius_of(ceiling: Ceiling, perturbation: jax.Array) -> jax.Array:
  """Returns the smallest radius that allows a perturbation, [batch].

  A norm: infinite where a cell without a limit is not 0.

  Args:
    ceiling: Of the clips.
    perturbation: [batch, time].
  """
  powers = _power(ceiling.analyse(perturbation))
  allowed = ceiling.limits**2
  none = allowed == 0
  ratio = jnp.where(none, 0, powers / jnp.where(none, 1, allowed))
  ratio = jnp.where(none & (powers > 0), jnp.inf, ratio).max((1, 2))
  return jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1)), 0)


def steepest(ceiling: Ceiling, gradient: jax.Array) -> jax.Array:
  """Returns the step of about radius 1 that raises a loss most, [batch, time].

  Every cell as large as it may be, in the gradient's phase: the sign of FGSM,
  cell by cell. Frames overlap, so that some cells come out above.

  Args:
    ceiling: Of the clips.
    gradient: [batch, time] of each clip's loss.
  """
  largest = jnp.abs(gradient).max(-1, keepdims=True)
  # Squares of small gradients must not underflow.
  spectrum = ceiling.analyse(gradient / jnp.where(largest == 0, 1, largest))
  powers = _power(spectrum)
  is_zero = powers == 0
  phase = spectrum * jax.lax.rsqrt(jnp.where(is_zero, 1, powers))
  return ceiling.synthesise(phase * ceiling.aims, gradient.shape[-1])


def project(
  ceiling: Ceiling,
  perturbation: jax.Array,
  radius: jax.Array,
  restrict: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """Returns the perturbation brought below the ceiling, [batch, time].

  One that is below stays as it is. Of any other cells are cut down to their
  aims. Frames overlap, so that cutting one moves others: the spectrum is taken
  anew and cut again, some rounds, and what is then still above a limit makes
  the whole smaller.

  Args:
    ceiling: Of the clips.
    perturbation: [batch, time].
    radius: [batch].
    restrict: What else a perturbation must keep to: maps it to the nearest that
      does, of which every smaller multiple does too.
  """
  num_samples = perturbation.shape[-1]
  allowed = (radius[:, None, None] * ceiling.aims) ** 2

  def cut(_, x):
    spectrum = ceiling.analyse(x)
    powers = _power(spectrum)
    above = powers > allowed
    scale = jnp.sqrt(allowed / jnp.where(above, powers, 1))
    spectrum = spectrum * jnp.where(above, scale, 1)
    return restrict(ceiling.synthesise(spectrum, num_samples))

  restricted = restrict(perturbation)
  cut_down = jax.lax.fori_loop(0, _NUM_ROUNDS, cut, restricted)
  reached = radius_of(ceiling, cut_down)
  above = reached > radius
  scale = jnp.where(above, radius / jnp.where(above, reached, 1), 1)
  is_below = radius_of(ceiling, restricted) <= radius
  return jnp.where(is_below[:, None], restricted, cut_down * scale[:, None])


def _power(spectrum):
  """Returns squared magnitudes, which have a gradient at 0."""
  return jnp.square(spectrum.real) + jnp.square(spectrum.imag)
