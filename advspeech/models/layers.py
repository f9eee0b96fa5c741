"""The convolution of Table 1 in its exact forms, pooling, normalisation."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

KERNEL_SIZE = 40
_NORM_EPSILON = 1e-5
# A map this long or shorter is cheaper as one dense product with the banded
# (Toeplitz) kernel than as a direct convolution, although most of the band is
# zero padding's. Measured on 2 CPU cores.
TOEPLITZ_MAX_LENGTH = 40


def conv1d(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
  """Returns the zero-padded ('same') correlation, [..., length, features].

  The form is chosen by shape; all give the same numbers up to rounding. As in
  TensorFlow and Keras an even kernel reaches one sample further to the right:
  `(k - 1) // 2` zeros before, `k // 2` after.

  Args:
    x: [..., length, channels].
    kernel: [kernel_size, channels, features].
    precision: Of the products, on devices that have a choice.
  """
  if x.shape[-2] <= TOEPLITZ_MAX_LENGTH:
    return conv1d_toeplitz(x, kernel, precision)
  return conv1d_direct(x, kernel, precision)


def conv1d_direct(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
  """Returns `conv1d` by XLA's convolution."""
  size = kernel.shape[0]
  flat = x.reshape(-1, *x.shape[-2:])
  out = lax.conv_general_dilated(
    flat,
    kernel,
    window_strides=(1,),
    padding=[((size - 1) // 2, size // 2)],
    dimension_numbers=('NWC', 'WIO', 'NWC'),
    precision=precision,
  )
  return out.reshape(*x.shape[:-1], kernel.shape[-1])


def conv1d_toeplitz(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
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
  return jnp.einsum('...ic,iocf->...of', x, banded, precision=precision)


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


class BatchNorm(nn.Module):
  """Batch norm over the valid rows of all devices (Ioffe & Szegedy 2015).

  Flax's own averages devices' means, which is another number when the rows of
  a filled-up batch lie unevenly on them.

  Attributes:
    momentum: Decay of the running statistics.
    axis: Mesh axis whose devices share the batch, inside jax.shard_map; None
      where `x` is the whole batch.
    dtype: Type of the result; statistics are float32.
  """

  momentum: float
  axis: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None):
    """Returns [batch, ..., features], each feature with mean 0, variance 1.

    Args:
      x: [batch, ..., features].
      train: Whether this batch's statistics are used, and the running ones
        updated.
      valid: [batch], 1 on rows that count; None for all.
    """
    features = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (features,))
    running_var = self.variable('batch_stats', 'var', jnp.ones, (features,))
    x = x.astype(jnp.float32)
    mean, var = running_mean.value, running_var.value
    if train:
      # Two passes: the first map's mean is a thousand times its variance.
      mean, var = self._statistics(x, valid)
      for running, value in ((running_mean, mean), (running_var, var)):
        running.value = (
          self.momentum * running.value + (1 - self.momentum) * value
        )
    shape = (1,) * (x.ndim - 1) + (features,)
    factor = scale * lax.rsqrt(var + _NORM_EPSILON)
    x = (x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)
    return x.astype(self.dtype)

  def _statistics(self, x, valid):
    """Returns mean and variance of every feature over the global batch."""
    rows = jnp.ones(x.shape[0]) if valid is None else valid
    rows = rows.reshape(-1, *[1] * (x.ndim - 1))
    axes = tuple(range(x.ndim - 1))
    size = math.prod(x.shape[1:-1])

    def over_devices(value):
      return value if self.axis is None else lax.psum(value, self.axis)

    total, num_rows = over_devices((jnp.sum(x * rows, axes), jnp.sum(rows)))
    mean = total / (num_rows * size)
    centred = x - mean.reshape((1,) * (x.ndim - 1) + (-1,))
    squares = over_devices(jnp.sum(jnp.square(centred) * rows, axes))
    return mean, squares / (num_rows * size)


class ConvBlock(nn.Module):
  """Convolution, optional batch norm, ReLU, max pool (Table 1).

  Attributes:
    features: Number of feature maps.
    norm: 'batch' (no bias before it) or 'none'.
    norm_momentum: Decay of the running statistics.
    norm_axis: See `BatchNorm.axis`.
    dtype: Type of the computation; parameters stay float32.
    precision: Of the convolution's products.
  """

  features: int
  norm: str
  norm_momentum: float
  norm_axis: str | None = None
  dtype: Any = jnp.float32
  precision: lax.Precision | None = None

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
    x = conv1d(x.astype(self.dtype), kernel.astype(self.dtype), self.precision)
    if self.norm == 'batch':
      x = BatchNorm(
        self.norm_momentum, self.norm_axis, self.dtype, name='norm'
      )(x, train=train, valid=valid)
    else:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      x = x + bias.astype(self.dtype).reshape(*[1] * (x.ndim - 1), -1)
    return max_pool(nn.relu(x))
