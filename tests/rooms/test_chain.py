"""What the air does to clips: against SciPy, and what must always hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from advspeech import rooms
from advspeech.audio import snr_db
from advspeech.rooms import chain

TIME = 4001
KEYS = jax.random.split(jax.random.key(0), 3)
RNG = np.random.default_rng(0)
MASK = np.ones((3, TIME), np.float32)
MASK[2, 3000:] = 0
AUDIO = (0.5 + MASK * RNG.normal(0, 0.05, (3, TIME))).astype(np.float32)
RESPONSES = np.zeros((2, 700), np.float32)
RESPONSES[:, 40] = 1
RESPONSES[:, 45:] = RNG.normal(0, 0.1, (2, 655))
NOTHING = rooms.Parts(device=False, room=False, microphone=False)


def draws(**changes):
  return rooms.draw(KEYS, 2)._replace(**changes)


def carry(parts, some, audio=AUDIO):
  if isinstance(parts, str):
    parts = rooms.PARTS[parts]
  return np.asarray(rooms.carry(parts, RESPONSES, audio, some, MASK))


def rms(audio):
  power = ((audio - 0.5) ** 2 * MASK).sum(-1) / MASK.sum(-1)
  return np.sqrt(power)


def shape_of(audio):
  return (audio - 0.5) / rms(audio)[:, None]


def test_a_room_is_a_convolution_without_the_direct_paths_delay():
  some = draws(room=jnp.array([0, 1, 1]))
  expected = np.stack(
    [
      np.convolve(x.astype(float) - 0.5, RESPONSES[n])[40 : 40 + TIME]
      for x, n in zip(AUDIO, (0, 1, 1), strict=True)
    ]
  )
  np.testing.assert_allclose(
    shape_of(carry('room', some)), shape_of(0.5 + expected), atol=2e-5
  )


def test_a_device_clips_softly_and_limits_the_band():
  some = draws(band=jnp.array([0, 1, 1]))
  limit = 4 * rms(AUDIO)[:, None]
  clipped = limit * np.tanh((AUDIO - 0.5) / limit)
  expected = np.stack(
    [
      np.convolve(
        x,
        scipy.signal.firwin(255, chain.BANDS_HZ[n], fs=16_000, pass_zero=False),
        'same',
      )
      for x, n in zip(clipped, (0, 1, 1), strict=True)
    ]
  )
  np.testing.assert_allclose(
    shape_of(carry('device', some)), shape_of(0.5 + expected), atol=5e-5
  )


def test_an_offset_is_so_many_samples_of_silence():
  silent = jnp.full(3, 300.0)  # noise that float32 cannot add
  parts = NOTHING._replace(microphone=True)
  late = carry(parts, draws(offset=jnp.array([0, 1, 160]), snr_db=silent))
  for row, offset in enumerate((0, 1, 160)):
    expected = np.r_[np.full(offset, 0.5), AUDIO[row, : TIME - offset]]
    gain = (late[row] - 0.5) @ (expected - 0.5) / np.sum((expected - 0.5) ** 2)
    np.testing.assert_allclose(
      late[row] - 0.5, gain * (expected - 0.5), atol=1e-6
    )
    assert gain == pytest.approx(1, abs=0.05)


def test_noise_has_the_ratio_drawn():
  ratios = jnp.array([20.0, 25.0, 30.0])
  parts = NOTHING._replace(microphone=True)
  some = draws(offset=jnp.zeros(3, int), snr_db=ratios)
  noisy = carry(parts, some)
  # The level is that of before, so the clip is a little softer.
  softer = 0.5 + (AUDIO - 0.5) / np.sqrt(1 + 10 ** (-ratios[:, None] / 10))
  np.testing.assert_allclose(snr_db(softer, noisy, MASK), ratios, atol=0.2)


@pytest.mark.parametrize('name', ['room', 'device', 'air'])
def test_clean_and_attacked_clips_keep_their_level(name):
  attacked = AUDIO + 0.03 * RNG.choice([-1, 1], AUDIO.shape).astype('f')
  for clips in (AUDIO, attacked):
    heard = carry(name, draws(), clips)
    np.testing.assert_allclose(rms(heard), rms(clips), rtol=1e-4)


@pytest.mark.parametrize('name', ['room', 'device', 'air'])
def test_gradients_are_those_of_finite_differences(name):
  way = RNG.normal(size=AUDIO.shape).astype('f')
  weights = RNG.normal(size=AUDIO.shape).astype('f')

  def heard(x):
    return jnp.sum(
      weights * rooms.carry(rooms.PARTS[name], RESPONSES, x, draws(), MASK), -1
    )

  _, slope = jax.jvp(heard, (AUDIO,), (way,))
  step = 2e-4
  expected = (heard(AUDIO + step * way) - heard(AUDIO - step * way)) / step / 2
  np.testing.assert_allclose(slope, expected, rtol=0.02, atol=0.5)


def test_silence_stays_silence_and_has_a_finite_gradient():
  silence = np.full_like(AUDIO, 0.5)
  np.testing.assert_array_equal(carry('air', draws(), silence), silence)
  slope = jax.grad(
    lambda x: jnp.sum(
      rooms.carry(rooms.PARTS['air'], RESPONSES, x, draws(), MASK) ** 2
    )
  )(silence)
  assert np.isfinite(slope).all()


def test_draws_depend_on_the_clips_key_alone():
  whole, some = rooms.draw(KEYS, 1000), rooms.draw(KEYS[1:2], 1000)
  for name in ('room', 'band', 'offset', 'snr_db'):
    assert getattr(whole, name)[1] == getattr(some, name)[0]
  many = rooms.draw(jax.random.split(jax.random.key(1), 500), 1000)
  assert len(np.unique(many.room)) > 350
  assert 0 <= many.offset.min() < 10 < 150 < many.offset.max() <= 160
  assert 20 <= many.snr_db.min() < 21 < 29 < many.snr_db.max() <= 30
  assert set(np.asarray(many.band)) == {0, 1}


def test_a_clip_alone_is_the_clip_of_a_batch():
  whole = carry('air', draws())
  one = rooms.carry(
    rooms.PARTS['air'],
    RESPONSES,
    AUDIO[1:2],
    jax.tree.map(lambda x: x[1:2], draws()),
    MASK[1:2],
  )
  np.testing.assert_allclose(one[0], whole[1], atol=1e-6)
