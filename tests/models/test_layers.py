"""Pooling keeps odd ends; batch norm's written-out gradient is JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import models, parallel
from advspeech.models import batch_norm, convolution, pooling


def column(*values):
  """One channel, one row."""
  return jnp.array(values, jnp.float32)[:, None, None]


def test_max_pool_takes_pairs_and_lets_an_odd_last_sample_stand_alone():
  pooled = pooling.max_pool(column(3, 1, -5, -4, -9))
  np.testing.assert_array_equal(pooled[:, 0, 0], [3, -4, -9])


def test_max_pool_sends_a_ties_gradient_to_the_first():
  gradient = jax.grad(lambda x: pooling.max_pool(x).sum())(column(2, 2, 1, 4))
  np.testing.assert_array_equal(gradient[:, 0, 0], [1, 0, 0, 1])


def test_an_odd_last_sample_gets_its_gradient_once():
  gradient = jax.grad(lambda x: pooling.max_pool(x).sum())(column(1, 2, 7))
  np.testing.assert_array_equal(gradient[:, 0, 0], [0, 1, 1])


def test_pooling_before_a_slope_of_either_sign_is_pooling_after_it():
  x = jax.random.normal(jax.random.key(0), (7, 4, 3))
  slope = jnp.array([2.0, -3.0, 0.5, -1.0])
  scale = slope[None, :, None]

  def after(x):
    return pooling.max_pool(x * scale)

  def before(x):
    return pooling.max_pool(x, slope) * scale

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
  norm = batch_norm.BatchNorm(0.0, 'data')
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


def deepened(x, depth):
  """A map as `conv1d_deep` leaves it: even samples of a block, then odd."""
  blocks = x.reshape(-1, depth, *x.shape[1:])
  order = [*range(0, depth, 2), *range(1, depth, 2)]
  return blocks[:, jnp.array(order)].reshape(len(blocks), -1, x.shape[2])


def plain_norm(x, scale, bias, valid):
  """Batch norm, ReLU and max pool in their order, as Table 1 has them."""
  rows = valid[None, None]
  num = valid.sum() * x.shape[0]
  mean = (x * rows).sum((0, 2), keepdims=True) / num
  var = (jnp.square(x - mean) * rows).sum((0, 2), keepdims=True) / num
  x = (x - mean) / jnp.sqrt(var + batch_norm.NORM_EPSILON)
  x = jax.nn.relu(x * scale[None, :, None] + bias[None, :, None])
  if len(x) % 2:
    x = jnp.concatenate([x, x[-1:]])
  return x.reshape(-1, 2, *x.shape[1:]).max(1)


@pytest.mark.parametrize(('length', 'depth'), [(8, 1), (7, 1), (8, 4), (8, 8)])
def test_batch_norm_in_training_is_that_of_table_1_with_its_gradients(
  length, depth
):
  keys = jax.random.split(jax.random.key(0), 3)
  with jax.enable_x64(True):
    x = 2 + jax.random.normal(keys[0], (length, 3, 6), jnp.float64)
    weight = jax.random.normal(keys[1], (-(-length // 2), 3, 6), jnp.float64)
    scale = jnp.array([1.5, -0.7, 0.3], jnp.float64)
    bias = jnp.array([0.2, 0.5, -0.1], jnp.float64)
    valid = jnp.array([1, 1, 0, 1, 1, 1], jnp.float64)
    weight = (
      weight * valid[None, None]
    )  # the loss of a row that does not count is nothing
    norm = batch_norm.BatchNorm(0.9)

    def ours(x, scale, bias):
      variables = {
        'params': {'scale': scale, 'bias': bias},
        'batch_stats': {'mean': jnp.zeros(3), 'var': jnp.ones(3)},
      }
      x = deepened(x, depth) if depth > 1 else x
      out, _ = norm.apply(
        variables,
        x,
        train=True,
        valid=valid,
        depth=depth,
        mutable=['batch_stats'],
      )
      return out

    expected, pull_back = jax.vjp(
      lambda *args: plain_norm(*args, valid), x, scale, bias
    )
    found, pull_back_ours = jax.vjp(ours, x, scale, bias)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for a, b in zip(pull_back_ours(weight), pull_back(weight), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize(('channels', 'depth'), [(1, 16), (3, 8)])
def test_a_deep_convolution_is_the_one_in_order(channels, depth, monkeypatch):
  monkeypatch.setattr(parallel, 'platform', lambda mesh=None: 'tpu')
  keys = jax.random.split(jax.random.key(0), 2)
  x = jax.random.normal(keys[0], (64, channels, 2))
  kernel = jax.random.normal(keys[1], (40, channels, 4))
  found, found_depth = convolution.conv1d_deep(x, kernel)
  assert found_depth == depth
  expected = deepened(convolution.conv1d_direct(x, kernel), depth)
  np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('depth', [2, 8])
@pytest.mark.parametrize('slope', [None, (2.0, -3.0)])
def test_a_deep_map_is_pooled_as_the_same_map_in_order(depth, slope):
  x = jax.random.normal(jax.random.key(0), (16, 2, 3))
  slope = slope and jnp.array(slope)
  expected, pull_back = jax.vjp(lambda x: pooling.max_pool(x, slope), x)
  found, pull_back_deep = jax.vjp(
    lambda x: pooling.max_pool(deepened(x, depth), slope, depth), x
  )
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(
    pull_back_deep(expected)[0], pull_back(expected)[0]
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ('platform', 'norm'),
  [
    ('tpu', 'none'),
    ('tpu', 'batch'),
    ('gpu', 'none'),
    ('gpu', 'batch'),
  ],
)
def test_what_other_platforms_compute_is_the_same_network(
  platform, norm, monkeypatch
):
  model = models.create_model(
    'wavecnn', 2, features=3, hidden_features=4, norm=norm
  )
  clips = 0.5 + 0.1 * jax.random.normal(jax.random.key(0), (3, 1280))
  variables = model.init(jax.random.key(1), clips, train=False)

  def loss(params, clips):
    logits, updates = model.apply(
      {**variables, 'params': params},
      clips,
      train=True,
      mutable=['batch_stats'],
    )
    return jnp.sum(jnp.sin(logits)), updates

  def everything():
    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
      variables['params'], clips
    )

  expected = everything()
  monkeypatch.setattr(parallel, 'platform', lambda mesh=None: platform)
  jax.clear_caches()
  for a, b in zip(*map(jax.tree.leaves, (everything(), expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5 * np.abs(b).max())
