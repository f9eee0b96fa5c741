"""The convolution of Table 1 in its exact forms, pooling, normalisation."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

KERNEL_SIZE = 40
# A map this long or shorter is cheaper as one dense product with the banded
# (Toeplitz) kernel than as a direct convolution, although most of the band is
# zero padding's. Measured on 2 CPU cores.
TOEPLITZ_MAX_LENGTH = 40


def conv1d(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns the zero-padded ('same') correlation, [..., length, features].

  The form is chosen by shape; all give the same numbers up to rounding. As in
  TensorFlow and Keras an even kernel reaches one sample further to the right:
  `(k - 1) // 2` zeros before, `k // 2` after.

  Args:
    x: [..., length, channels].
    kernel: [kernel_size, channels, features].
  """
  if x.shape[-2] <= TOEPLITZ_MAX_LENGTH:
    return conv1d_toeplitz(x, kernel)
  return conv1d_direct(x, kernel)


def conv1d_direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns `conv1d` by XLA's convolution."""
  size = kernel.shape[0]
  flat = x.reshape(-1, *x.shape[-2:])
  out = lax.conv_general_dilated(
    flat,
    kernel,
    window_strides=(1,),
    padding=[((size - 1) // 2, size // 2)],
    dimension_numbers=('NWC', 'WIO', 'NWC'),
  )
  return out.reshape(*x.shape[:-1], kernel.shape[-1])


def conv1d_toeplitz(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns `conv1d` as one product with a [length, length] banded kernel."""
  length = x.shape[-2]
  size = kernel.shape[0]
  before = (size - 1) // 2
  # Output o sees input i through tap i - o + before.
  tap = jnp.arange(length)[:, None] - jnp.arange(length)[None] + before
  inside = (tap >= 0) & (tap < size)
  banded = jnp.where(
    inside[..., None, None], kernel[jnp.clip(tap, 0, size - 1)], 0
  )
  return jnp.einsum('...ic,iocf->...of', x, banded)


def max_pool(x: jax.Array) -> jax.Array:
  """Returns the maximum over pairs of samples, [..., ceil(length / 2), c].

  An odd map's last sample stands alone ('same' padding). At a tie the gradient
  goes to the first of the pair, as in PyTorch and TensorFlow.
  """
  length, channels = x.shape[-2:]
  if length % 2:
    padding = [(0, 0)] * (x.ndim - 2) + [(0, 1), (0, 0)]
    x = jnp.pad(x, padding, constant_values=-jnp.inf)
  pairs = x.reshape(*x.shape[:-2], -1, 2, channels)
  first, second = pairs[..., 0, :], pairs[..., 1, :]
  return jnp.where(second > first, second, first)


class ConvBlock(nn.Module):
  """Convolution, optional batch norm, ReLU, max pool (Table 1).

  Attributes:
    features: Number of feature maps.
    norm: 'batch' (no bias before it) or 'none'.
    norm_momentum: Decay of the running statistics.
    dtype: Type of the computation; parameters stay float32.
  """

  features: int
  norm: str
  norm_momentum: float
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None):
    """Returns [batch, ..., ceil(length / 2), features].

    Args:
      x: [batch, ..., length, channels].
      train: Whether batch norm uses this batch's statistics.
      valid: [batch], 1 on rows that count in them; None for all.
    """
    kernel = self.param(
      'kernel',
      nn.initializers.glorot_uniform(),
      (KERNEL_SIZE, x.shape[-1], self.features),
    )
    x = conv1d(x.astype(self.dtype), kernel.astype(self.dtype))
    if self.norm == 'batch':
      mask = None
      if valid is not None:
        mask = valid.reshape(-1, *[1] * (x.ndim - 1)) > 0
      # Two passes: the first map's mean is a thousand times its variance.
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=self.norm_momentum,
        use_fast_variance=False,
        dtype=self.dtype,
        name='norm',
      )(x, mask=mask)
    else:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      x = x + bias.astype(self.dtype).reshape(*[1] * (x.ndim - 1), -1)
    return max_pool(nn.relu(x))
