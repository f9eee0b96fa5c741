"""The noise control is as large as the attack and knows nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks

AUDIO = jnp.full((4, 10_000), 0.5)
KEYS = jax.random.split(jax.random.key(0), 4)


def test_signs_are_balanced_and_never_zero():
  signs = attacks.random_sign(KEYS, AUDIO)
  assert set(np.unique(signs)) == {-1, 1}
  assert float(jnp.abs(signs.astype(jnp.float32).mean())) < 0.02


def test_has_the_max_norm_and_the_l2_norm_of_fgsm():
  noise = attacks.perturb(AUDIO, attacks.random_sign(KEYS, AUDIO), [0.03])[0]
  attack = attacks.fgsm(lambda a: jnp.sum(a * a, -1), AUDIO, [0.03])[0]
  for order in (2, jnp.inf):
    np.testing.assert_allclose(
      jnp.linalg.norm(noise - AUDIO, order, axis=-1),
      jnp.linalg.norm(attack - AUDIO, order, axis=-1),
      rtol=1e-5,
    )


def test_a_clips_noise_depends_on_its_key_alone():
  together = attacks.random_sign(KEYS, AUDIO)
  alone = attacks.random_sign(KEYS[2:3], AUDIO[2:3])
  np.testing.assert_array_equal(alone[0], together[2])
  assert (together[0] != together[1]).any()


def test_masked_samples_get_no_noise():
  mask = jnp.zeros((4, 10_000)).at[:, :500].set(1)
  signs = attacks.random_sign(KEYS, AUDIO, mask=mask)
  assert not signs[:, 500:].any()
  assert signs[:, :500].all()


def test_a_mask_of_another_shape_is_refused():
  with pytest.raises(ValueError, match='mask must have the shape of audio'):
    attacks.random_sign(KEYS, AUDIO, mask=jnp.ones((4, 3)))
