"""Pooling keeps odd ends, sends ties to the first, and follows a slope."""

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import parallel
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


def test_statistics_over_devices_are_those_of_all_rows_and_cancel_nothing():
  # A variance of a ten-millionth of the mean's square, on uneven devices: one
  # has no valid row, one has all.
  rng = np.random.default_rng(0)
  x = (30 + 0.01 * rng.normal(size=(5, 3, 8))).astype(np.float32)
  valid = np.array([1, 1, 1, 0, 0, 0, 0, 1], np.float32)
  norm = layers.BatchNorm(0.0, 'data')
  variables = {
    'params': {'scale': jnp.ones(3), 'bias': jnp.zeros(3)},
    'batch_stats': {'mean': jnp.zeros(3), 'var': jnp.ones(3)},
  }

  def statistics(x, valid):
    _, updates = norm.apply(
      variables, x, train=True, valid=valid, mutable=['batch_stats']
    )
    return updates['batch_stats']

  spec = jax.sharding.PartitionSpec
  found = jax.shard_map(
    statistics,
    mesh=parallel.make_mesh(),
    in_specs=(spec(None, None, 'data'), spec('data')),
    out_specs=spec(),
    check_vma=False,
  )(x, valid)
  rows = x.astype(np.float64)[..., valid == 1].transpose(1, 0, 2).reshape(3, -1)
  np.testing.assert_allclose(found['mean'], rows.mean(-1), rtol=1e-6)
  np.testing.assert_allclose(found['var'], rows.var(-1), rtol=1e-3)
