"""The smallest perturbation that changes an answer (paper, eq. 1), on a grid.

A model that an attack of radius epsilon breaks need not be broken at every
larger radius. Where it is not, a bisection finds some edge of some island of
success; the whole grid finds the first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Minimal(NamedTuple):
  """What a grid of epsilons says of each clip.

  Attributes:
    epsilon: [batch] smallest epsilon that succeeded; inf if none did.
    num_islands: [batch] maximal runs of success along the grid.
    monotone: [batch] whether a broken clip stays broken at every larger
      epsilon; true where nothing succeeded.
    bisected: [batch] the epsilon that bisection over the same grid reports;
      inf if the largest fails, for then it does not begin.
  """

  epsilon: jax.Array
  num_islands: jax.Array
  monotone: jax.Array
  bisected: jax.Array


def minimal_perturbation(success: jax.Array, epsilons: jax.Array) -> Minimal:
  """Returns the smallest successful epsilon of each clip, and what to doubt.

  Success is the caller's: against the label, or against the model's own clean
  answer (eq. 1 means the latter).

  Args:
    success: [num_epsilons, batch] whether the attack succeeded.
    epsilons: [num_epsilons] in any order, or [num_epsilons, batch] with a grid
      a clip.

  Raises:
    ValueError: If the shapes do not go together, or the grid is empty.
  """
  success, epsilons = jnp.asarray(success) > 0, jnp.asarray(epsilons)
  if epsilons.ndim == 1 and success.ndim == 2:
    epsilons = jnp.broadcast_to(epsilons[:, None], (len(epsilons), 1))
    epsilons = jnp.repeat(epsilons, success.shape[1], axis=1)
  if success.ndim != 2 or epsilons.shape != success.shape or not len(success):
    raise ValueError(
      'success must be [num_epsilons, batch] and epsilons [num_epsilons] or of '
      f'the same shape, got {success.shape} and {epsilons.shape}'
    )
  return _on_the_grid(success, epsilons)


@jax.jit
def _on_the_grid(success, epsilons):
  order = jnp.argsort(epsilons, axis=0, stable=True)
  epsilons = jnp.take_along_axis(epsilons, order, axis=0)
  success = jnp.take_along_axis(success, order, axis=0)
  # An island begins where the epsilon before failed, and nothing came before
  # the first.
  before = jnp.pad(success[:-1], ((1, 0), (0, 0)))
  return Minimal(
    epsilon=jnp.where(success, epsilons, jnp.inf).min(0),
    num_islands=(success & ~before).sum(0),
    monotone=~(before & ~success).any(0),
    bisected=_bisect(success, epsilons),
  )


def _bisect(success, epsilons):
  """Returns what bisection between 0 and the largest epsilon ends at."""

  def at(values, index):
    return jnp.take_along_axis(values, index[None], axis=0)[0]

  def halve(_, bracket):
    # Clips are bisected side by side: a bracket that is closed stays as it is
    # until the others are, and what it looks up meanwhile is not used.
    low, high = bracket
    middle = (low + high) // 2
    apart = high - low > 1
    broken = at(success, jnp.maximum(middle, 0))
    return (
      jnp.where(apart & ~broken, middle, low),
      jnp.where(apart & broken, middle, high),
    )

  num_epsilons, batch_size = success.shape
  # Below the grid, at -1, lies the clean clip, on which no attack succeeds.
  bracket = jnp.full(batch_size, -1), jnp.full(batch_size, num_epsilons - 1)
  _, high = jax.lax.fori_loop(0, num_epsilons.bit_length(), halve, bracket)
  return jnp.where(success[-1], at(epsilons, high), jnp.inf)
