"""Projections against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import constraints

TIME = 60
X = jax.random.normal(jax.random.key(0), (3, TIME))
SILENCE = jnp.zeros((3, TIME))
FREE = (-jnp.inf, jnp.inf)


def test_in_the_max_norm_ball_each_sample_is_clipped():
  threat = constraints.Threat(bounds=FREE)
  epsilon = jnp.array([0.1, 1.0, 9.0])
  out = threat.project(SILENCE, X, epsilon)
  expected = np.clip(X, -epsilon[:, None], epsilon[:, None])
  np.testing.assert_array_equal(out, expected)


def test_in_the_l2_ball_only_the_length_changes():
  threat = constraints.Threat('l2', bounds=FREE)
  out = threat.project(SILENCE, X, jnp.array([0.1, 1.0, 99.0]))
  length = np.linalg.norm(X, axis=-1, keepdims=True)
  np.testing.assert_allclose(
    out[:2], (X / length * np.array([[0.1], [1], [1]]))[:2], rtol=1e-5
  )
  np.testing.assert_array_equal(out[2], X[2])


def test_a_band_is_an_orthogonal_projection_onto_its_bins():
  band = attacks.band_weights(TIME, 500, 2000, 16_000)
  once = constraints.in_band(X, band)
  np.testing.assert_allclose(constraints.in_band(once, band), once, atol=1e-6)
  np.testing.assert_allclose(jnp.sum(once * (X - once), -1), 0, atol=1e-5)
  spectrum = np.fft.rfft(np.asarray(X, np.float64))
  spectrum[:, np.asarray(band) == 0] = 0
  np.testing.assert_allclose(
    once, np.fft.irfft(spectrum, n=TIME), rtol=1e-4, atol=1e-6
  )


def test_in_a_band_the_max_norm_ball_scales_and_does_not_clip():
  band = attacks.band_weights(TIME, 500, 2000, 16_000)
  threat = constraints.Threat(band=band, bounds=FREE)
  out = threat.project(SILENCE, X, jnp.array([0.1, 0.5, 99.0]))
  inside = constraints.in_band(X, band)
  np.testing.assert_allclose(jnp.abs(out).max(-1)[:2], [0.1, 0.5], rtol=1e-6)
  np.testing.assert_allclose(out[2], inside[2], rtol=1e-6)
  ratio = out[0] / inside[0]
  np.testing.assert_allclose(ratio, jnp.full(TIME, ratio[0]), rtol=1e-4)


@pytest.mark.parametrize('num_samples', [60, 61])
def test_band_weights_keep_the_bins_between_two_frequencies(num_samples):
  band = attacks.band_weights(num_samples, 1000, 3000, 16_000)
  bin_hz = np.fft.rfftfreq(num_samples, 1 / 16_000)
  expected = (bin_hz >= 1000) & (bin_hz <= 3000)
  np.testing.assert_array_equal(band, expected)
  x = jax.random.normal(jax.random.key(1), (1, num_samples))
  assert constraints.in_band(x, band).shape == (1, num_samples)


def test_a_band_without_bins_is_refused():
  with pytest.raises(ValueError, match='0 <= low_hz < high_hz'):
    attacks.band_weights(60, 2000, 1000, 16_000)
  with pytest.raises(ValueError, match='0 <= low_hz < high_hz'):
    attacks.band_weights(60, 2000, 9000, 16_000)
  with pytest.raises(ValueError, match=r'no bin lies between.*widen'):
    attacks.band_weights(60, 10, 20, 16_000)


def test_bounds_come_last_and_leave_untouched_samples_alone():
  audio = jnp.array([[0.95, -0.5, 0.5]])
  threat = constraints.Threat()
  out = threat.project(audio, jnp.array([[0.2, 0.0, -0.7]]), jnp.array([0.6]))
  np.testing.assert_allclose(out, [[0.05, 0, -0.5]], rtol=1e-6)
  np.testing.assert_allclose(
    threat.add(audio, out), [[1, -0.5, 0]], rtol=1e-6, atol=1e-7
  )


def test_the_steepest_step_is_best_among_all_of_its_norm():
  """By duality its gain is the gradient's dual norm."""
  for norm, dual in (('linf', 1), ('l2', 2)):
    step = constraints.Threat(norm).steepest(X)
    gain = jnp.sum(step * X, -1)
    np.testing.assert_allclose(
      gain, jnp.linalg.norm(X, dual, axis=-1), rtol=1e-6
    )


def test_a_tiny_gradient_has_a_direction():
  np.testing.assert_allclose(
    constraints.Threat('l2').steepest(X * 1e-30),
    constraints.Threat('l2').steepest(X),
    rtol=1e-5,
    atol=1e-7,
  )


@pytest.mark.parametrize('scale', [1e-6, 1e-4, 1.0])
def test_in_float16_subnormal_gradients_have_a_direction_too(scale):
  gradient = (X * scale).astype(jnp.float16)
  assert gradient.any()
  step = constraints.Threat('l2').steepest(gradient)
  assert step.dtype == jnp.float16
  np.testing.assert_allclose(
    step, constraints.Threat('l2').steepest(X), rtol=0.1, atol=0.02
  )
  # Squares of what is a perturbation are below what float16 holds.
  quiet = jnp.full((1, 100), 1e-4, jnp.float16)
  np.testing.assert_allclose(
    constraints.norm_of(quiet, 'l2'), [1e-3], rtol=1e-2
  )


@pytest.mark.parametrize('norm', constraints.NORMS)
def test_random_starts_fill_the_ball(norm):
  """A share of 1 / 2 lies within radius 2 ** (-1 / dimension)."""
  keys = jax.random.split(jax.random.key(2), 4000)
  audio = jnp.full((4000, 3), 0.5)
  mask = jnp.ones((4000, 3)).at[:, 2].set(0)
  epsilon = jnp.full(4000, 0.2)
  for kept, dimension in ((None, 3), (mask, 2)):
    threat = constraints.Threat(norm, kept)
    start = threat.random_start(keys, audio, epsilon)
    size = constraints.norm_of(start, norm)
    assert float(size.max()) <= 0.2 + 1e-7
    inner = (size < 0.2 * 0.5 ** (1 / dimension)).mean()
    assert abs(float(inner) - 0.5) < 0.04  # 5 standard deviations
    assert float(jnp.abs(start.mean(0)).max()) < 0.01
    if kept is not None:
      assert not start[:, 2].any()


def test_a_norm_does_not_depend_on_the_rows_beside():
  """XLA's own sum over 96,000 samples does, in its last bits."""
  x = jax.random.normal(jax.random.key(4), (5, 96_000))
  norm = jax.jit(lambda x: constraints.norm_of(x, 'l2'))
  for rows in (1, 3):
    np.testing.assert_array_equal(norm(x[:rows]), norm(x)[:rows])
  np.testing.assert_allclose(
    norm(x), np.linalg.norm(np.asarray(x, np.float64), axis=-1), rtol=1e-6
  )
