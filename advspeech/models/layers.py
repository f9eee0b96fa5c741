"""Convolution, batch norm, ReLU and max pool (Table 1), in one block."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from advspeech.models import convolution

KERNEL_SIZE = 40
NORM_EPSILON = 1e-5


def max_pool(x: jax.Array, slope: jax.Array | None = None) -> jax.Array:
  """Returns the maximum over pairs of samples, [ceil(length / 2), c, rows].

  An odd map's last sample stands alone ('same' padding). At a tie the gradient
  goes to the first of the pair, as in PyTorch and TensorFlow.

  Args:
    x: [length, channels, rows].
    slope: [channels], by which the result will be multiplied; where it is
      negative the minimum is taken, so that it is the maximum in the end. No
      gradient goes through this choice.
  """
  if x.shape[0] % 2:
    x = jnp.concatenate([x, x[-1:]])
  if slope is None:
    slope = jnp.ones(x.shape[1])
  return _pool_pairs(x, (slope < 0)[None, :, None])


@jax.custom_vjp
def _pool_pairs(x, minimum):
  return _pool_forward(x, minimum)[0]


def _pool_forward(x, minimum):
  pairs = x.reshape(-1, 2, *x.shape[1:])
  first, second = pairs[:, 0], pairs[:, 1]
  take_second = jnp.where(minimum, second < first, second > first)
  return jnp.where(take_second, second, first), take_second


def _pool_backward(take_second, cotangent):
  second = np.array([False, True])[None, :, None, None]
  pairs = jnp.where(take_second[:, None] == second, cotangent[:, None], 0)
  return pairs.reshape(-1, *cotangent.shape[1:]), None


# Saved for the gradient: a bit a pair, where JAX would save both samples.
_pool_pairs.defvjp(_pool_forward, _pool_backward)


class BatchNorm(nn.Module):
  """Batch norm over the valid rows of all devices (Ioffe & Szegedy 2015).

  Flax's own averages devices' means, which is another number when the rows of
  a filled-up batch lie unevenly on them. The normalisation is returned, not
  applied, so that it can follow the pooling, on half as many samples.

  Attributes:
    momentum: Decay of the running statistics.
    axis: Mesh axis whose devices share the batch, inside jax.shard_map; None
      where `x` is the whole batch.
  """

  momentum: float
  axis: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, valid: jax.Array | None):
    """Returns (mean, factor, bias), [features]: (x - mean) factor + bias.

    Args:
      x: [length, features, rows].
      train: Whether this batch's statistics are used, and the running ones
        updated.
      valid: [rows], 1 on rows that count; None for all.
    """
    features = x.shape[1]
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (features,))
    running_var = self.variable('batch_stats', 'var', jnp.ones, (features,))
    mean, var = running_mean.value, running_var.value
    if train:
      mean, var = self._statistics(x.astype(jnp.float32), valid)
      for running, value in ((running_mean, mean), (running_var, var)):
        running.value = (
          self.momentum * running.value + (1 - self.momentum) * value
        )
    factor = scale * lax.rsqrt(var + NORM_EPSILON)
    return mean, factor, bias

  def _statistics(self, x, valid):
    """Returns mean and variance of every feature over the global batch.

    Every device takes its own in two passes, and all exchange them once: sums
    and sums of squares would cancel, as the first map's mean is a thousand
    times its variance. They are put together as Chan et al. (1979) do.
    """
    rows = jnp.ones(x.shape[2]) if valid is None else valid

    def total(x):
      # Over the length first, in which the sums of all rows run side by side.
      return jnp.sum(jnp.sum(x, 0) * rows[None], -1)

    num = jnp.sum(rows) * x.shape[0]
    mean = total(x) / jnp.maximum(num, 1)  # a device may have no valid row
    squares = total(jnp.square(x - _per_feature(mean)))
    if self.axis is None:
      return mean, squares / num
    nums, means, squares = lax.all_gather(
      jnp.stack([jnp.full_like(mean, num), mean, squares]), self.axis, axis=1
    )
    total_num = nums.sum(0)
    mean = (nums * means).sum(0) / total_num
    squares += nums * jnp.square(means - mean[None])
    return mean, squares.sum(0) / total_num


def _per_feature(value):
  return value[None, :, None]


class ConvBlock(nn.Module):
  """Convolution, optional batch norm, ReLU, max pool (Table 1).

  Pooled first, which is the same function: batch norm's slope, where it is
  negative, turns the maximum into a minimum, and ReLU keeps the order.

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
  def __call__(self, x: jax.Array, train: bool, valid: jax.Array | None):
    """Returns [ceil(length / 2), features, rows].

    Args:
      x: [length, channels, rows].
      train: Whether batch norm uses this batch's statistics.
      valid: [rows], 1 on rows that count in them; None for all.
    """
    kernel = self.param(
      'kernel',
      nn.initializers.glorot_uniform(),
      (KERNEL_SIZE, x.shape[1], self.features),
    )
    x = convolution.conv1d(
      x.astype(self.dtype), kernel.astype(self.dtype), self.precision
    )
    if self.norm == 'batch':
      mean, factor, bias = BatchNorm(
        self.norm_momentum, self.norm_axis, name='norm'
      )(x, train=train, valid=valid)
      wide = jnp.promote_types(self.dtype, jnp.float32)
      x = max_pool(x, factor).astype(wide) - _per_feature(mean)
      x = x * _per_feature(factor) + _per_feature(bias)
    else:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      x = max_pool(x) + _per_feature(bias.astype(self.dtype))
    return nn.relu(x.astype(self.dtype))


def conv_block(rematerialize: bool) -> type[ConvBlock]:
  """Returns `ConvBlock`, or one that keeps nothing but its input.

  The latter computes its maps anew for the gradient: less memory, more time.
  """
  if not rematerialize:
    return ConvBlock
  return nn.remat(ConvBlock, static_argnums=(2,))
