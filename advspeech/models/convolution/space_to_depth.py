"""The convolution of blocks of samples that have become channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def conv1d_space_to_depth(
  x: jax.Array,
  kernel: jax.Array,
  precision: lax.Precision | None = None,
  *,
  block: int,
) -> jax.Array:
  """Returns `conv1d_direct` by XLA's convolution, of blocks of samples.

  Matrix units are 128 columns wide, or want as much to be busy, and a map has
  32 features. `block` samples in a row become one of `block` times as many
  channels, a reshape; the kernel, spread to as many features, is shorter by as
  much, and `block - 1` taps in `size` of it are zeros.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Samples that become channels.
  """
  length, _, rows = x.shape
  # Zeros behind the map are what its padding is; the outputs at them are cut.
  x = jnp.pad(x, [(0, -length % block), (0, 0), (0, 0)])
  out = blocks_to_depth(x, kernel, precision, block, range(block))
  return out.reshape(-1, kernel.shape[2], rows)[:length]


def blocks_to_depth(
  x: jax.Array,
  kernel: jax.Array,
  precision: lax.Precision | None,
  block: int,
  order: Sequence[int],
) -> jax.Array:
  """Returns [length / block, block * features, rows], samples in an order.

  Args:
    x: [length, channels, rows], whole blocks.
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Samples that become channels.
    order: Which sample of its block each of the outputs is.
  """
  size, channels, features = kernel.shape
  before = (size - 1) // 2
  # Blocks that the first output of a block sees on its left, and the last one
  # on its right.
  left, right = (
    (reach + block - 1) // block for reach in (before, size - 1 - before)
  )
  # Sample i of seen block m meets output j of its block through this tap.
  m = np.arange(left + right + 1)[:, None, None] - left
  i, j = np.arange(block)[:, None], np.asarray(order)
  tap = m * block + i - j + before
  inside = (tap >= 0) & (tap < size)
  spread = jnp.where(
    inside[..., None, None], kernel[np.clip(tap, 0, size - 1)], 0
  )
  return lax.conv_general_dilated(
    x.reshape(-1, block * channels, x.shape[2]),
    spread.transpose(0, 1, 3, 2, 4).reshape(
      len(tap), block * channels, block * features
    ),
    window_strides=(1,),
    padding=[(left, right)],
    dimension_numbers=('WCN', 'WIO', 'WCN'),
    precision=precision,
  )
