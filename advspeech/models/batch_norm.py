"""Batch norm over the valid rows of all devices, pooled and rectified."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from advspeech.models.pooling import (
  from_pairs,
  max_pool,
  pairs,
  per_channel,
  takes_second,
)

NORM_EPSILON = 1e-5


def _per_feature_sum(x, rows, num_features):
  """Returns the sums over samples and rows, [features], rows weighted.

  Over the length first, in which the sums of all rows run side by side.
  """
  sums = jnp.sum(jnp.sum(x, 0) * rows[None], -1)
  return sums.reshape(-1, num_features).sum(0)


class BatchNorm(nn.Module):
  """Batch norm over the valid rows of all devices (Ioffe & Szegedy 2015).

  Flax's own averages devices' means, which is another number when the rows of
  a filled-up batch lie unevenly on them. With max pooling and ReLU behind it,
  which are the same function before and after it: batch norm's slope, where it
  is negative, turns the maximum into a minimum, and ReLU keeps the order.

  Attributes:
    momentum: Decay of the running statistics.
    axis: Mesh axis whose devices share the batch, inside jax.shard_map; None
      where `x` is the whole batch.
  """

  momentum: float
  axis: str | None = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    train: bool,
    valid: jax.Array | None,
    depth: int = 1,
  ):
    """Returns [ceil(length / 2), features, rows], pooled and not negative.

    Args:
      x: [length, features, rows], or of a depth, as
        `convolution.conv1d_deep` returns it.
      train: Whether this batch's statistics are used, and the running ones
        updated.
      valid: [rows], 1 on rows that count; None for all.
      depth: Of `x`.
    """
    features = x.shape[1] // depth
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (features,))
    running_var = self.variable('batch_stats', 'var', jnp.ones, (features,))
    if not train:
      mean, var = running_mean.value, running_var.value
      factor = scale * lax.rsqrt(var + NORM_EPSILON)
      pooled = _normalised(max_pool(x, factor, depth), mean, factor, bias)
      return pooled.astype(x.dtype)
    rows = jnp.ones(x.shape[2]) if valid is None else valid
    out, mean, var = _norm_and_pool(x, scale, bias, rows, depth, self.axis)
    for running, value in ((running_mean, mean), (running_var, var)):
      running.value = self.momentum * running.value + (
        1 - self.momentum
      ) * lax.stop_gradient(value)
    return out.reshape(-1, features, x.shape[2])


def _normalised(x, mean, factor, bias):
  """Returns relu((x - mean) factor + bias), of at least float32."""
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  mean, factor, bias = (per_channel(v, x) for v in (mean, factor, bias))
  return nn.relu((x - mean) * factor + bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _norm_and_pool(x, scale, bias, rows, depth, axis):
  """Returns `BatchNorm` in training, of a depth, and its statistics.

  Its gradient is written out: two passes over the map, from the map and the
  result alone, where JAX would save and move several float32 copies.
  """
  return _norm_and_pool_forward(x, scale, bias, rows, depth, axis)[0]


def _norm_and_pool_forward(x, scale, bias, rows, depth, axis):
  mean, var, num = _statistics(x, rows, depth, axis)
  spread = lax.rsqrt(var + NORM_EPSILON)
  first, second = pairs(x, depth)
  # Pooled before it is normalised: half as much is left to be written.
  taken = takes_second(first, second, scale < 0)
  pooled = jnp.where(taken, second, first)
  out = _normalised(pooled, mean, scale * spread, bias).astype(x.dtype)
  return (out, mean, var), (x, out, scale, rows, mean, spread, num)


def _norm_and_pool_backward(depth, axis, saved, cotangents):
  x, out, scale, rows, mean, spread, num = saved
  wide = jnp.promote_types(x.dtype, jnp.float32)
  # ReLU passes gradients where its result is positive.
  cotangent = jnp.where(out > 0, cotangents[0], 0).astype(wide)
  # Which sample was taken is found again: what is not saved is not moved.
  first, second = pairs(x, depth)
  taken = takes_second(first, second, scale < 0)
  pooled = jnp.where(taken, second, first).astype(wide)
  every = jnp.ones_like(rows)  # a row that does not count has no gradient
  bias_gradient = _per_feature_sum(cotangent, every, len(scale))
  centred = pooled - per_channel(mean, pooled)
  scale_gradient = spread * _per_feature_sum(
    cotangent * centred, every, len(scale)
  )
  # Of the statistics, which all devices' losses go through.
  sums = jnp.stack([bias_gradient, scale_gradient])
  if axis is not None:
    sums = lax.psum(sums, axis)
  # A sample moves the mean and the variance, and by them every other: the same
  # for all, and in proportion to its distance from the mean.
  factor = scale * spread
  level = -factor * sums[0] / num
  slope = -factor * spread * sums[1] / num

  def gradient(sample, chosen):
    sample = sample.astype(wide)
    shifted = (sample - per_channel(mean, sample)) * per_channel(
      slope, sample
    ) + per_channel(level, sample)
    passed = jnp.where(chosen, cotangent * per_channel(factor, sample), 0)
    return passed + shifted * rows[None, None]

  x_gradient = from_pairs(
    gradient(first, ~taken), gradient(second, taken), depth, x.shape[0]
  )
  return x_gradient.astype(x.dtype), scale_gradient, bias_gradient, None


_norm_and_pool.defvjp(_norm_and_pool_forward, _norm_and_pool_backward)


def _statistics(x, rows, depth, axis):
  """Returns mean, variance, [features], and samples, of the global batch.

  Every device takes its own in two passes, and all exchange them once: sums and
  sums of squares would cancel, as the first map's mean is a thousand times its
  variance. They are put together as Chan et al. (1979) do.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  num_features = x.shape[1] // depth
  num = jnp.sum(rows) * x.shape[0] * depth
  # A device may have no valid row.
  mean = _per_feature_sum(x, rows, num_features) / jnp.maximum(num, 1)
  squares = _per_feature_sum(
    jnp.square(x - per_channel(mean, x)), rows, num_features
  )
  if axis is None:
    return mean, squares / num, num
  nums, means, squares = lax.all_gather(
    jnp.stack([jnp.full_like(mean, num), mean, squares]), axis, axis=1
  )
  total_num = nums.sum(0)
  mean = (nums * means).sum(0) / total_num
  squares += nums * jnp.square(means - mean[None])
  return mean, squares.sum(0) / total_num, total_num
