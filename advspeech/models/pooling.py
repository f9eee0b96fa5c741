"""Maxima over pairs of samples, of maps of any depth."""

import functools

import jax
import jax.numpy as jnp


def max_pool(
  x: jax.Array, slope: jax.Array | None = None, depth: int = 1
) -> jax.Array:
  """Returns the maximum over pairs of samples, [ceil(length / 2), c, rows].

  An odd map's last sample stands alone ('same' padding). At a tie the gradient
  goes to the first of the pair, as in PyTorch and TensorFlow.

  Args:
    x: [length, channels, rows], or of a depth, as `convolution.conv1d_deep`
      returns it.
    slope: [channels], by which the result will be multiplied; where it is
      negative the minimum is taken, so that it is the maximum in the end. No
      gradient goes through this choice.
    depth: Of `x`.
  """
  num_channels = x.shape[1] // depth
  minimum = jnp.zeros(num_channels, bool) if slope is None else slope < 0
  pooled = _pool(x, minimum, depth)
  return pooled.reshape(-1, num_channels, x.shape[2])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _pool(x, minimum, depth):
  return _pool_forward(x, minimum, depth)[0]


def _pool_forward(x, minimum, depth):
  first, second = pairs(x, depth)
  take_second = takes_second(first, second, minimum)
  return jnp.where(take_second, second, first), (take_second, x.shape[0])


def _pool_backward(depth, saved, cotangent):
  take_second, length = saved
  first, second = (
    jnp.where(taken, cotangent, 0) for taken in (~take_second, take_second)
  )
  return from_pairs(first, second, depth, length), None


# Saved for the gradient: a bit a pair, where JAX would save both samples.
_pool.defvjp(_pool_forward, _pool_backward)


def pairs(x: jax.Array, depth: int) -> tuple[jax.Array, jax.Array]:
  """Returns the first and the second samples of all pairs of a map."""
  if depth > 1:  # the even samples of a block lie before the odd ones
    half = x.shape[1] // 2
    return x[:, :half], x[:, half:]
  # A last sample that stands alone is paired with itself: the first of a tie
  # gets the gradient, and `from_pairs` drops the second.
  if x.shape[0] % 2:
    x = jnp.concatenate([x, x[-1:]])
  pairs = x.reshape(-1, 2, *x.shape[1:])
  return pairs[:, 0], pairs[:, 1]


def from_pairs(
  first: jax.Array, second: jax.Array, depth: int, length: int
) -> jax.Array:
  """Returns the map whose `_pairs` these are."""
  if depth > 1:
    return jnp.concatenate([first, second], 1)
  pairs = jnp.stack([first, second], 1)
  return pairs.reshape(-1, *first.shape[1:])[:length]


def takes_second(
  first: jax.Array, second: jax.Array, minimum: jax.Array
) -> jax.Array:
  """Returns where the second of a pair is the maximum, or the minimum."""
  minimum = per_channel(minimum, first)
  return jnp.where(minimum, second < first, second > first)


def per_channel(value: jax.Array, x: jax.Array) -> jax.Array:
  """Returns [1, depth * features, 1]: a value a feature, for a map `x`."""
  return jnp.tile(value, x.shape[1] // len(value))[None, :, None]
