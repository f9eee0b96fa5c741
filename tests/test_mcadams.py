"""The McAdams coefficient against a direct computation, frame by frame."""

import functools

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from advspeech import errors, mcadams, transforms

TIME, FRAME, HOP, ORDER = 1500, 320, 160, 20


def clip(seed=0):
  """A buzz through two formants, that ends in digital silence."""
  rng = np.random.default_rng(seed)
  source = rng.normal(0, 0.01, TIME)
  source[::110] += 0.3
  angles = np.array([0.2, 0.6])
  poles = 0.95 * np.exp(1j * np.concatenate([angles, -angles]))
  voiced = scipy.signal.lfilter([0.2], np.poly(poles).real, source)
  voiced[1200:] = 0
  return (0.5 + voiced).astype(np.float32)


def direct(samples, exponent):
  """As the baseline's own loop, with roots and filters of its own."""
  window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME))
  padded = np.zeros(-(-len(samples) // HOP) * HOP + 2 * HOP)
  padded[HOP : HOP + len(samples)] = samples
  total = np.zeros_like(padded)
  for start in range(0, len(padded) - HOP, HOP):
    frame = window * padded[start : start + FRAME]
    if not frame.any():
      continue
    lags = np.correlate(frame, frame, 'full')[FRAME - 1 : FRAME + ORDER]
    lags[0] *= 1 + 1e-9
    before = np.r_[1, -scipy.linalg.solve_toeplitz(lags[:-1], lags[1:])]
    poles = []
    for pole in np.roots(before):
      angle = np.angle(pole)
      if pole.imag:
        angle = np.sign(angle) * min(abs(angle) ** exponent, np.pi)
        pole = abs(pole) * np.exp(1j * angle)
      poles.append(pole)
    residual = scipy.signal.lfilter(before, 1, frame)
    made = scipy.signal.lfilter([1], np.poly(poles).real, residual)
    total[start : start + FRAME] += window * made
  total = total[HOP : HOP + len(samples)]
  return total * np.linalg.norm(samples) / np.linalg.norm(total)


@functools.cache
def moved(exponent):
  return np.asarray(jax.jit(functools.partial(mcadams.through, exponent))(BOTH))


BOTH = np.stack([clip(), clip(1)])


@pytest.mark.parametrize('exponent', [0.8, 1.2])
def test_it_is_the_baselines(exponent):
  found = moved(exponent) - 0.5
  for one, other in zip(found, BOTH.astype(float) - 0.5, strict=True):
    np.testing.assert_allclose(one, direct(other, exponent), atol=2e-6)


def test_an_exponent_of_one_changes_nothing():
  np.testing.assert_allclose(moved(1.0), BOTH, atol=2e-7)


def test_low_formants_rise_level_and_silence_stay():
  def center(x):
    """Where the spectrum's power lies."""
    power = np.abs(np.fft.rfft(x[0, :1200] - 0.5)) ** 2
    return power @ np.arange(len(power)) / power.sum()

  assert center(moved(0.8)) > 1.1 * center(BOTH)
  np.testing.assert_allclose(
    np.linalg.norm(moved(0.8) - 0.5), np.linalg.norm(BOTH - 0.5), rtol=1e-6
  )
  np.testing.assert_array_equal(moved(0.8)[:, 1200 + FRAME :], 0.5)
  silence = np.full((1, TIME), 0.5, np.float32)
  np.testing.assert_array_equal(mcadams.through(0.8, silence), silence)


@pytest.mark.parametrize('name', ['mcadams0', 'mcadams2.5', 'mcadams'])
def test_an_exponent_that_cannot_be_is_refused(name):
  with pytest.raises(errors.InputError, match='an exponent up to 2, got'):
    transforms.make(name)
