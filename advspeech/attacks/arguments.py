"""Radii, keys and counts as attacks are given them, by clip and epsilon."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar('Tree')


def radii(epsilons: jax.Array, audio: jax.Array) -> jax.Array:
  """Returns a radius for every epsilon and clip, [num_epsilons, batch].

  Args:
    epsilons: [num_epsilons], or [num_epsilons, batch] with a radius a clip.
    audio: [batch, time] clips, for the shape and the type.

  Raises:
    ValueError: If `epsilons` has another shape.
  """
  epsilons = jnp.asarray(epsilons, audio.dtype)
  batch_size = audio.shape[0]
  if epsilons.ndim == 1:
    return jnp.broadcast_to(epsilons[:, None], (len(epsilons), batch_size))
  if epsilons.ndim != 2 or epsilons.shape[1] != batch_size:
    raise ValueError(
      'epsilons must be one-dimensional, or [num_epsilons, batch] with a '
      f'radius a clip, got shape {epsilons.shape} for {batch_size} clips; '
      'wrap a single radius as [0.02]'
    )
  return epsilons


def check_keys(keys: jax.Array, audio: jax.Array) -> None:
  """Refuses anything but one typed key a clip.

  Raises:
    ValueError: If `keys` is not [batch] typed PRNG keys.
  """
  typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
  if not typed or keys.shape != audio.shape[:1]:
    raise ValueError(
      f'keys must be {audio.shape[0]} typed PRNG keys, one a clip, got '
      f'{keys.dtype} of shape {keys.shape}; use '
      f'jax.random.split(jax.random.key(0), {audio.shape[0]})'
    )


def check_counts(**counts: int) -> None:
  """Refuses counts, given by name, below 1.

  Raises:
    ValueError: If one is.
  """
  for name, count in counts.items():
    if count < 1:
      raise ValueError(f'{name} must be at least 1, got {count}')


def each_epsilon(
  attack: Callable[[jax.Array], Tree],
  epsilons: jax.Array,
  epsilons_at_once: int | None,
) -> Tree:
  """Returns one radius' attack for every epsilon, [num_epsilons, ...].

  Args:
    attack: Maps radii, [batch], to the attacked clips, or to a tree with more.
    epsilons: [num_epsilons, batch].
    epsilons_at_once: Epsilons that share the memory; None for one at a time.
  """
  return jax.lax.map(attack, epsilons, batch_size=epsilons_at_once)
