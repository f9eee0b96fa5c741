"""FGSM and FGM against their closed forms, at any epsilon, and their price."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from advspeech import attacks

WEIGHTS = np.array(
  [[2.0, -1.0, 0.0, 0.5], [-3.0, 1e-30, 4.0, -0.1]], np.float32
)
AUDIO = np.array([[0.5, 0.6, 0.4, 0.5], [0.3, 0.5, 0.7, 0.55]], np.float32)


def linear_loss(audio):
  return jnp.sum(audio * WEIGHTS, -1)


def quadratic_loss(audio):
  return jnp.sum((audio - 0.37) ** 2, -1)


def test_on_a_linear_loss_moves_every_sample_by_epsilon_times_the_sign():
  epsilons = [0.0, 0.01, 0.05]
  out = attacks.fgsm(linear_loss, AUDIO, epsilons)
  expected = [AUDIO + np.float32(e) * np.sign(WEIGHTS) for e in epsilons]
  np.testing.assert_array_equal(out, np.stack(expected))


def test_raises_the_loss_by_epsilon_times_the_l1_norm_of_the_gradient():
  out = attacks.fgsm(linear_loss, AUDIO, [0.02])[0]
  gain = linear_loss(out) - linear_loss(AUDIO)
  np.testing.assert_allclose(gain, 0.02 * np.abs(WEIGHTS).sum(-1), rtol=1e-4)


def test_epsilon_zero_leaves_even_clips_out_of_bounds_alone():
  audio = jnp.array([[-0.5, 1.5, 0.2]])
  out = attacks.fgsm(quadratic_loss, audio, [0.0])
  np.testing.assert_array_equal(out[0], audio)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31 - 1), epsilon=st.floats(0, 1, width=32))
def test_stays_within_any_radius_and_the_bounds(seed, epsilon):
  audio = jax.random.uniform(jax.random.key(seed), (2, 50))
  out = attacks.fgsm(quadratic_loss, audio, [epsilon])[0]
  assert float(jnp.max(jnp.abs(out - audio))) <= epsilon + 6e-8
  assert float(out.min()) >= 0
  assert float(out.max()) <= 1


def test_bounds_can_be_lifted():
  audio = jnp.array([[0.99, 0.01, 0.5]])
  out = attacks.fgsm(quadratic_loss, audio, [0.5], bounds=(-jnp.inf, jnp.inf))[
    0
  ]
  np.testing.assert_allclose(out, [[1.49, -0.49, 1.0]], rtol=1e-6)


def test_a_zero_gradient_leaves_the_sample_where_it_is():
  out = attacks.fgsm(linear_loss, AUDIO, [0.1])[0]
  assert out[0, 2] == AUDIO[0, 2]
  assert out[1, 1] != AUDIO[1, 1]  # a gradient of 1e-30 has full strength


def test_one_backward_pass_serves_every_epsilon():
  calls = {'backward': 0}

  @jax.custom_vjp
  def counted(audio):
    return quadratic_loss(audio)

  def forward(audio):
    return quadratic_loss(audio), audio

  def backward(audio, cotangent):
    jax.debug.callback(lambda: calls.update(backward=calls['backward'] + 1))
    return (2 * (audio - 0.37) * cotangent[:, None],)

  counted.defvjp(forward, backward)
  out = jax.jit(lambda a, e: attacks.fgsm(counted, a, e))(
    jnp.asarray(AUDIO), jnp.linspace(0, 0.1, 20)
  )
  jax.block_until_ready(out)
  jax.effects_barrier()
  assert out.shape == (20, 2, 4)
  assert calls['backward'] == 1


def test_fgm_moves_each_clip_by_epsilon_along_its_gradient():
  epsilons = [0.0, 0.01, 0.05]
  out = attacks.fgm(linear_loss, AUDIO, epsilons)
  length = np.linalg.norm(WEIGHTS, axis=-1, keepdims=True)
  expected = [AUDIO + e * WEIGHTS / length for e in epsilons]
  np.testing.assert_allclose(out, np.stack(expected), atol=1e-7)
  np.testing.assert_array_equal(out[0], AUDIO)


def test_fgm_without_a_gradient_leaves_the_clip_where_it_is():
  out = attacks.fgm(lambda a: 0 * a.sum(-1), AUDIO, [0.1])
  np.testing.assert_array_equal(out[0], AUDIO)


def test_directions_of_fgsm_are_bytes_unless_a_band_forbids():
  audio = jax.random.uniform(jax.random.key(3), (2, 64))
  band = attacks.band_weights(64, 1000, 3000, 16_000)
  assert attacks.gradient_sign(quadratic_loss, audio).dtype == jnp.int8
  inside = attacks.gradient_sign(quadratic_loss, audio, band=band)
  assert inside.dtype == jnp.float32
  np.testing.assert_allclose(jnp.abs(inside).max(-1), 1, rtol=1e-6)


def test_in_a_band_the_sign_is_of_the_gradient_in_that_band():
  """On a linear loss of one tone in the band and one outside."""
  time = np.arange(64)
  inside = np.cos(2 * np.pi * 8 * time / 64 + 0.1)
  weights = inside + 5 * np.cos(2 * np.pi * 20 * time / 64)
  band = attacks.band_weights(64, 1000, 3000, 16_000)  # bins 4 to 12
  direction = attacks.gradient_sign(
    lambda a: (a @ weights[:, None])[:, 0], jnp.full((1, 64), 0.5), band=band
  )
  spectrum = np.fft.rfft(np.sign(inside))
  spectrum[np.asarray(band) == 0] = 0
  expected = np.fft.irfft(spectrum)
  expected /= np.abs(expected).max()
  np.testing.assert_allclose(direction[0], expected, atol=1e-5)
