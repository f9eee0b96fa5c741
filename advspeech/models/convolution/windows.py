"""Overlapping windows of a map."""

import jax
import jax.numpy as jnp


def windows(
  x: jax.Array, block: int, num_parts: int, before: int
) -> list[jax.Array]:
  """Returns the parts of overlapping windows, [num_blocks, block, ...] each.

  Window n is part 0 to part `num_parts - 1` of block n, starting `before`
  samples left of output `n * block`; samples outside `x` are zero.
  """
  length = x.shape[0]
  num_blocks = -(-length // block)
  after = (num_blocks + num_parts - 1) * block - length - before
  # Windows may end before the map does when the kernel is short.
  padding = [(before, max(after, 0)), (0, 0), (0, 0)]
  blocks = jnp.pad(x, padding)[: (num_blocks + num_parts - 1) * block]
  blocks = blocks.reshape(-1, block, *x.shape[1:])
  return [blocks[part : part + num_blocks] for part in range(num_parts)]
