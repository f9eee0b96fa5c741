"""One filter for all clips: closed forms, sizes, lengths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import conformance, constraints

NUM_TAPS, TIME = 9, 64
CLIPS = conformance.clips(TIME)
SOUND = np.asarray(CLIPS) - 0.5
WEIGHTS = jax.random.normal(jax.random.key(1), CLIPS.shape)
EPSILONS = jnp.array([0.0, 0.5, 1.0])
FREE = (-jnp.inf, jnp.inf)


def linear_loss(audio):
  return jnp.sum(audio * WEIGHTS, -1)


@functools.partial(jax.jit, static_argnames=('bounds',))
def step(taps, mask=None, bounds=FREE):
  return attacks.filter_step(
    *(linear_loss, taps, CLIPS, EPSILONS),
    relative_step=0.25,
    mask=mask,
    bounds=bounds,
  )


def test_what_is_added_is_the_clip_through_the_taps_at_the_radius():
  taps = jax.random.normal(jax.random.key(2), (3, NUM_TAPS))
  adv = attacks.filter_all(CLIPS, taps, EPSILONS, bounds=FREE)
  np.testing.assert_array_equal(adv[0], CLIPS)
  for e in (1, 2):
    for clip, sound, found in zip(CLIPS, SOUND, adv[e], strict=True):
      added = np.convolve(sound, taps[e])[NUM_TAPS // 2 :][:TIME]
      added *= float(EPSILONS[e]) / np.linalg.norm(added)
      np.testing.assert_allclose(found - clip, added, atol=1e-6)


def test_a_middle_tap_is_the_clip_itself_louder_whatever_its_length():
  middle = jnp.zeros((1, NUM_TAPS)).at[0, NUM_TAPS // 2].set(0.3)
  for num_samples in (5, TIME):
    clips = CLIPS[:, :num_samples]
    adv = attacks.filter_all(clips, middle, jnp.array([0.1]), bounds=FREE)[0]
    louder = 1 + 0.1 / jnp.linalg.norm(clips - 0.5, axis=-1, keepdims=True)
    np.testing.assert_allclose(adv, 0.5 + louder * (clips - 0.5), atol=1e-6)


def test_the_first_step_is_along_the_summed_correlations():
  found = step(jnp.zeros((3, NUM_TAPS)))
  total = np.zeros(NUM_TAPS)
  for sound, weights in zip(SOUND, np.asarray(WEIGHTS), strict=True):
    for k in range(NUM_TAPS):
      delay = k - NUM_TAPS // 2
      heard = np.zeros(TIME)
      heard[max(delay, 0) : TIME + min(delay, 0)] = sound[
        max(-delay, 0) : TIME - max(delay, 0)
      ]
      total[k] += heard @ weights / np.linalg.norm(sound)
  expected = 0.25 * total / np.linalg.norm(total)
  np.testing.assert_allclose(found, np.tile(expected, (3, 1)), atol=1e-4)


def test_steps_raise_the_loss_and_stay_in_the_ball():
  taps = jnp.zeros((3, NUM_TAPS))
  for _ in range(8):
    taps = step(taps, bounds=(0.0, 1.0))
  np.testing.assert_allclose(jnp.linalg.norm(taps, axis=-1), 1, rtol=1e-5)
  adv = attacks.filter_all(CLIPS, taps, EPSILONS)
  assert float(adv.min()) >= 0
  assert float(adv.max()) <= 1
  losses = jax.vmap(linear_loss)(adv).sum(-1)
  assert losses[2] > losses[1] > losses[0]


def test_masked_samples_stay_and_teach_nothing():
  mask = (jnp.arange(TIME)[None] < 20) * jnp.ones_like(CLIPS)
  taps = step(jnp.zeros((3, NUM_TAPS)), mask)
  adv = attacks.filter_all(CLIPS, taps, EPSILONS, mask=mask)
  np.testing.assert_array_equal(adv[:, :, 20:], jnp.stack([CLIPS[:, 20:]] * 3))
  radius = constraints.norm_of(adv[2] - CLIPS, 'l2')
  assert float(radius.max()) <= 1 + 1e-5
  assert not np.allclose(taps, step(jnp.zeros((3, NUM_TAPS))), atol=1e-2)


@pytest.mark.parametrize('shape', [(3, 8), (2, 9), (9,)])
def test_taps_of_another_shape_are_refused(shape):
  with pytest.raises(ValueError, match='an odd number, got shape'):
    attacks.filter_all(CLIPS, jnp.zeros(shape), EPSILONS)
