"""The noise control is as large as the attack and knows nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import constraints

AUDIO = jnp.full((4, 10_000), 0.5)
KEYS = jax.random.split(jax.random.key(0), 4)


def random_sign(keys, audio, **kwargs):
  return attacks.random_sign_like(keys, jnp.ones_like(audio), **kwargs)


def test_signs_are_balanced_and_never_zero():
  signs = random_sign(KEYS, AUDIO)
  assert set(np.unique(signs)) == {-1, 1}
  assert float(jnp.abs(signs.astype(jnp.float32).mean())) < 0.02


def test_has_the_max_norm_and_the_l2_norm_of_fgsm():
  noise = attacks.perturb(AUDIO, random_sign(KEYS, AUDIO), [0.03])[0]
  attack = attacks.fgsm(lambda a: jnp.sum(a * a, -1), AUDIO, [0.03])[0]
  for order in (2, jnp.inf):
    np.testing.assert_allclose(
      jnp.linalg.norm(noise - AUDIO, order, axis=-1),
      jnp.linalg.norm(attack - AUDIO, order, axis=-1),
      rtol=1e-5,
    )


ETA = 0.02 * jax.random.normal(jax.random.key(3), (3, 4, 500))
LIKE = [attacks.random_sign_like, attacks.gaussian_like, attacks.shuffled]
EARLY = jnp.zeros((4, 500)).at[:, :200].set(1)


@pytest.mark.parametrize('control', LIKE)
def test_in_a_band_the_control_keeps_to_it_and_to_the_size(control):
  band = attacks.band_weights(500, 1000, 3000, 16_000)
  eta = constraints.in_band(ETA, band)
  noise = control(KEYS, eta, band=band)
  outside = np.abs(np.fft.rfft(noise))[..., np.asarray(band) == 0]
  assert outside.max() < 1e-5
  order = jnp.inf if control is attacks.random_sign_like else 2
  np.testing.assert_allclose(
    jnp.linalg.norm(noise, order, axis=-1),
    jnp.linalg.norm(eta, order, axis=-1),
    rtol=1e-5,
  )
  cosine = jnp.sum(noise * eta, -1) / jnp.linalg.norm(noise, axis=-1)
  assert jnp.abs(cosine / jnp.linalg.norm(eta, axis=-1)).max() < 0.4
  held = control(KEYS, eta * EARLY[None], mask=EARLY, band=band)
  assert held[..., :200].any()
  assert not held[..., 200:].any()


def test_random_signs_have_the_perturbations_max_norm():
  noise = attacks.random_sign_like(KEYS, ETA)
  largest = jnp.broadcast_to(jnp.abs(ETA).max(-1, keepdims=True), ETA.shape)
  np.testing.assert_array_equal(jnp.abs(noise), largest)


@pytest.mark.parametrize('mask', [None, EARLY])
def test_gaussian_noise_has_the_perturbations_l2_norm(mask):
  noise = attacks.gaussian_like(KEYS, ETA, mask=mask)
  np.testing.assert_allclose(
    jnp.linalg.norm(noise, axis=-1), jnp.linalg.norm(ETA, axis=-1), rtol=1e-5
  )
  share = (jnp.abs(noise) < noise.std(-1, keepdims=True)).mean()
  assert mask is not None or abs(float(share) - 0.683) < 0.03


@pytest.mark.parametrize('mask', [None, EARLY])
def test_shuffling_keeps_the_values_and_moves_them(mask):
  out = attacks.shuffled(KEYS, ETA, mask=mask)
  np.testing.assert_array_equal(jnp.sort(out, -1), jnp.sort(ETA, -1))
  moved = np.asarray(out != ETA)
  if mask is None:
    assert moved.mean() > 0.98
  else:
    assert moved[..., :200].mean() > 0.98
    assert not moved[..., 200:].any()


def test_every_order_of_a_shuffle_is_as_likely():
  keys = jax.random.split(jax.random.key(4), 6000)
  eta = jnp.broadcast_to(jnp.array([1.0, 9.0, 2.0, 3.0]), (6000, 4))
  mask = jnp.broadcast_to(jnp.array([1, 0, 1, 1]), (6000, 4))
  out = np.asarray(attacks.shuffled(keys, eta, mask=mask))
  assert (out[:, 1] == 9).all()
  orders, counts = np.unique(out, axis=0, return_counts=True)
  assert len(orders) == 6
  assert np.abs(counts - 1000).max() < 150  # 5 standard deviations


@pytest.mark.parametrize('control', LIKE)
def test_a_control_depends_on_its_clips_key_alone(control):
  together = control(KEYS, ETA)
  np.testing.assert_array_equal(
    control(KEYS[2:3], ETA[:1, 2:3])[0, 0], together[0, 2]
  )
  np.testing.assert_array_equal(control(KEYS, ETA[1]), together[1])
  assert (together[:, 0] != together[:, 1]).any()


@pytest.mark.parametrize('control', LIKE)
def test_without_an_attack_there_is_no_control(control):
  out = control(KEYS, jnp.zeros((2, 4, 500)))
  np.testing.assert_array_equal(
    attacks.add(AUDIO[:, :500], out), jnp.full((2, 4, 500), 0.5)
  )


@pytest.mark.parametrize('control', LIKE)
def test_controls_leave_masked_samples_alone(control):
  out = control(KEYS, jnp.where(EARLY[None] > 0, ETA, 0), mask=EARLY)
  assert not out[..., 200:].any()
  assert (out[..., :200] != 0).all()


@pytest.mark.parametrize('control', LIKE)
def test_controls_refuse_shapes_that_do_not_go_together(control):
  with pytest.raises(ValueError, match='mask must have the shape of audio'):
    control(KEYS, ETA, mask=jnp.ones((4, 3)))
  with pytest.raises(ValueError, match='keys must be 4 typed PRNG keys'):
    control(KEYS[:2], ETA)
