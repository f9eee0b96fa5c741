"""The convolution as products with a banded matrix of the kernel."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from advspeech.models.convolution.windows import windows


def conv1d_toeplitz(
  x: jax.Array,
  kernel: jax.Array,
  precision: lax.Precision | None = None,
  *,
  block: int | None = None,
) -> jax.Array:
  """Returns `conv1d_direct` as products with a banded matrix of the kernel.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Outputs a product; None for the whole map at once, where the matrix
      leaves out what would meet padding.
  """
  length, channels, rows = x.shape
  size, _, features = kernel.shape
  before = (size - 1) // 2
  if block is None:
    block, seen, first = length, x[None], 0
  else:
    # A block of outputs sees as many inputs and a kernel less one: so many
    # blocks, the last of them in part.
    parts = -(-(block + size - 1) // block)
    seen = jnp.concatenate(windows(x, block, parts, before), axis=1)
    first = -before
  num_blocks, reach = seen.shape[:2]
  # Output o sees input i through this tap. A gather has no 'outside': taps that
  # are none are brought into the kernel, and their values discarded.
  tap = np.arange(reach)[:, None] + first - np.arange(block) + before
  inside = (tap >= 0) & (tap < size)
  banded = jnp.where(
    inside[..., None, None], kernel[np.clip(tap, 0, size - 1)], 0
  )
  out = jnp.einsum(
    'ij,nir->njr',
    banded.transpose(0, 2, 1, 3).reshape(reach * channels, block * features),
    seen.reshape(num_blocks, reach * channels, rows),
    precision=precision,
  )
  return out.reshape(-1, features, rows)[:length]
