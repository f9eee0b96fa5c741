"""The convolution's forms are one function; pooling keeps odd ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from advspeech.models import layers


def correlate(x, kernel):
  """The same correlation by SciPy, in float64, one channel at a time."""
  size = kernel.shape[0]
  padded = np.pad(
    np.asarray(x, np.float64), ((0, 0), ((size - 1) // 2, size // 2), (0, 0))
  )
  kernel = np.asarray(kernel, np.float64)
  return np.stack(
    [
      np.stack(
        [
          sum(
            signal.correlate(row[:, c], kernel[:, c, f], 'valid')
            for c in range(kernel.shape[1])
          )
          for f in range(kernel.shape[2])
        ],
        -1,
      )
      for row in padded
    ]
  )


@settings(deadline=None, max_examples=30)
@given(
  length=st.integers(1, 90),
  channels=st.integers(1, 3),
  features=st.integers(1, 3),
  size=st.sampled_from([1, 2, 3, 40]),
  seed=st.integers(0, 1000),
)
def test_every_form_equals_scipy(length, channels, features, size, seed):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(2, length, channels)).astype(np.float32)
  kernel = rng.normal(size=(size, channels, features)).astype(np.float32)
  expected = correlate(x, kernel)
  scale = np.abs(expected).max() + 1
  for form in (layers.conv1d, layers.conv1d_direct, layers.conv1d_toeplitz):
    np.testing.assert_allclose(form(x, kernel), expected, atol=1e-5 * scale)


@pytest.mark.parametrize('length', [3, 20, 40])
def test_both_forms_have_the_same_gradients(length):
  keys = jax.random.split(jax.random.key(length), 3)
  x = jax.random.normal(keys[0], (4, length, 3))
  kernel = jax.random.normal(keys[1], (40, 3, 5))
  weight = jax.random.normal(keys[2], (4, length, 5))

  def gradients(form):
    return jax.grad(lambda x, k: jnp.sum(form(x, k) * weight), argnums=(0, 1))(
      x, kernel
    )

  for a, b in zip(
    gradients(layers.conv1d_direct),
    gradients(layers.conv1d_toeplitz),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(a).max()))


def test_max_pool_takes_pairs_and_lets_an_odd_last_sample_stand_alone():
  x = jnp.array([[3.0], [1.0], [-5.0], [-4.0], [-9.0]])[None]
  np.testing.assert_array_equal(layers.max_pool(x)[0, :, 0], [3, -4, -9])


def test_max_pool_sends_a_ties_gradient_to_the_first():
  x = jnp.array([[2.0], [2.0], [1.0], [4.0]])[None]
  gradient = jax.grad(lambda x: layers.max_pool(x).sum())(x)
  np.testing.assert_array_equal(gradient[0, :, 0], [1, 0, 0, 1])
