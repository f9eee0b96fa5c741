"""The convolution's forms are one function, to float64, with both gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import signal

from advspeech.models import convolution

FORMS = {
  'direct': convolution.conv1d_direct,
  'toeplitz': convolution.conv1d_toeplitz,
  'blocks': functools.partial(convolution.conv1d_toeplitz, block=8),
  'space to depth 4': functools.partial(
    convolution.conv1d_space_to_depth, block=4
  ),
  'space to depth 16': functools.partial(
    convolution.conv1d_space_to_depth, block=16
  ),
  'spectral': convolution.conv1d_spectral,
}


def correlate(x, kernel):
  """The same correlation by SciPy, [length, features, rows] in float64."""
  size = kernel.shape[0]
  padded = np.pad(x, (((size - 1) // 2, size // 2), (0, 0), (0, 0)))
  return np.stack(
    [
      np.stack(
        [
          sum(
            signal.correlate(padded[:, c, r], kernel[:, c, f], 'valid')
            for c in range(kernel.shape[1])
          )
          for f in range(kernel.shape[2])
        ],
        -1,
      )
      for r in range(x.shape[2])
    ],
    -1,
  )


def gradients(x, kernel, weight):
  """Those of sum(correlate(x, kernel) * weight), one sample at a time."""
  size, length = kernel.shape[0], x.shape[0]
  before = (size - 1) // 2
  x_gradient, kernel_gradient = np.zeros_like(x), np.zeros_like(kernel)
  for out in range(length):
    for tap in range(size):
      i = out + tap - before
      if 0 <= i < length:
        x_gradient[i] += kernel[tap] @ weight[out]
        kernel_gradient[tap] += x[i] @ weight[out].T
  return x_gradient, kernel_gradient


def assert_close(actual, expected):
  error = np.abs(actual - expected).max()
  assert error <= 1e-5 * np.abs(expected).max()


@jax.jit
def by_every_form(x, kernel, weight):
  """Each form's result and its gradients to x and kernel, by name."""
  results = {}
  for name, form in FORMS.items():
    out, pull_back = jax.vjp(form, x, kernel)
    results[name] = out, *pull_back(weight)
  return results


@example(length=1, channels=1, features=1, size=40, seed=0)
@example(length=90, channels=3, features=2, size=40, seed=1)
@settings(deadline=None, max_examples=5)
@given(
  length=st.integers(1, 90),
  channels=st.integers(1, 3),
  features=st.integers(1, 3),
  size=st.sampled_from([1, 2, 3, 17, 40]),
  seed=st.integers(0, 1000),
)
def test_every_form_equals_scipy_forward_and_backward(
  length, channels, features, size, seed
):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(length, channels, 2))
  kernel = rng.normal(size=(size, channels, features))
  weight = rng.normal(size=(length, features, 2))
  expected = correlate(x, kernel), *gradients(x, kernel, weight)
  # Of sums that cancel nothing: what float32's rounding goes by.
  sizes = np.abs(x), np.abs(kernel), np.abs(weight)
  largest = correlate(*sizes[:2]), *gradients(*sizes)
  x, kernel, weight = (jnp.asarray(a, jnp.float32) for a in (x, kernel, weight))
  for results in by_every_form(x, kernel, weight).values():
    for actual, wanted, size_of in zip(results, expected, largest, strict=True):
      assert np.abs(actual - wanted).max() <= 3e-6 * size_of.max()


@pytest.mark.parametrize(
  ('length', 'channels'), [(640, 1), (320, 32), (20, 32)]
)
def test_every_form_is_exact_at_the_papers_size(length, channels):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(length, channels, 2))
  kernel = rng.normal(size=(40, channels, 32))
  expected = correlate(x, kernel)
  for form in FORMS.values():
    actual = jax.jit(form)(x.astype(np.float32), kernel.astype(np.float32))
    assert_close(actual, expected)


@pytest.mark.slow
def test_a_gradient_of_a_gradient_goes_through_the_spectral_form():
  keys = jax.random.split(jax.random.key(0), 3)
  x, direction = jax.random.normal(keys[0], (2, 50, 2, 1))
  kernel = jax.random.normal(keys[1], (40, 2, 3))

  def curvature(form):
    def loss(x):
      return jnp.sum(jnp.tanh(form(x, kernel)))

    return jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), direction))(x)

  assert_close(
    curvature(convolution.conv1d_spectral),
    curvature(convolution.conv1d_direct),
  )


@pytest.mark.parametrize(
  ('x_shape', 'dtype', 'platform', 'form', 'block'),
  [
    ((320, 32, 150), jnp.float32, 'cpu', 'conv1d_spectral', None),
    ((20, 32, 150), jnp.float32, 'cpu', 'conv1d_toeplitz', None),
    ((320, 32, 150), jnp.bfloat16, 'cpu', 'conv1d_direct', None),
    ((320, 32, 150), jnp.float32, 'gpu', 'conv1d_space_to_depth', 4),
    ((640, 1, 150), jnp.float32, 'gpu', 'conv1d_direct', None),
    ((640, 1, 150), jnp.bfloat16, 'tpu', 'conv1d_space_to_depth', 16),
    ((160, 32, 150), jnp.float32, 'tpu', 'conv1d_space_to_depth', 8),
    ((40, 32, 150), jnp.bfloat16, 'tpu', 'conv1d_toeplitz', None),
  ],
)
def test_the_form_is_chosen_by_shape_type_and_platform(
  x_shape, dtype, platform, form, block
):
  chosen = convolution.choose(x_shape, (40, 32, 32), dtype, platform)
  function = chosen.function
  if block is not None:
    assert chosen.depth == block
    assert function.keywords == {'block': block}
    function = function.func
  assert function is getattr(convolution, form)


@pytest.mark.parametrize('length', [160, 20])
def test_in_float64_it_is_exact_to_float64(length):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(length, 2, 3))
  kernel = rng.normal(size=(40, 2, 4))
  with jax.enable_x64(True):
    result = np.asarray(
      convolution.conv1d_deep(jnp.asarray(x), jnp.asarray(kernel))[0]
    )
  assert result.dtype == np.float64
  np.testing.assert_allclose(result, correlate(x, kernel), atol=1e-12)
