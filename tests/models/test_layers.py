"""Pooling keeps odd ends, sends ties to the first, and follows a slope."""

import jax
import jax.numpy as jnp
import numpy as np

from advspeech.models import layers


def column(*values):
  """One channel, one row."""
  return jnp.array(values, jnp.float32)[:, None, None]


def test_max_pool_takes_pairs_and_lets_an_odd_last_sample_stand_alone():
  pooled = layers.max_pool(column(3, 1, -5, -4, -9))
  np.testing.assert_array_equal(pooled[:, 0, 0], [3, -4, -9])


def test_max_pool_sends_a_ties_gradient_to_the_first():
  gradient = jax.grad(lambda x: layers.max_pool(x).sum())(column(2, 2, 1, 4))
  np.testing.assert_array_equal(gradient[:, 0, 0], [1, 0, 0, 1])


def test_an_odd_last_sample_gets_its_gradient_once():
  gradient = jax.grad(lambda x: layers.max_pool(x).sum())(column(1, 2, 7))
  np.testing.assert_array_equal(gradient[:, 0, 0], [0, 1, 1])


def test_pooling_before_a_slope_of_either_sign_is_pooling_after_it():
  x = jax.random.normal(jax.random.key(0), (7, 4, 3))
  slope = jnp.array([2.0, -3.0, 0.5, -1.0])
  scale = slope[None, :, None]

  def after(x):
    return layers.max_pool(x * scale)

  def before(x):
    return layers.max_pool(x, slope) * scale

  np.testing.assert_array_equal(before(x), after(x))
  for a, b in zip(
    jax.vjp(before, x)[1](before(x)),
    jax.vjp(after, x)[1](after(x)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-6)
