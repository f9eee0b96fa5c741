"""What a clip masks, against the formulas written out bin by bin."""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import audio
from advspeech.audio import psychoacoustics

RATE = 16_000
FRAME, HOP = 2048, 512


def frames_of(signal):
  """Returns spectra of every frame that touches the signal."""
  padded = np.concatenate([np.zeros(FRAME - HOP), signal, np.zeros(FRAME)])
  starts = range(0, FRAME - HOP + len(signal), HOP)
  n = np.arange(FRAME)
  window = 0.5 * (1 - np.cos(2 * np.pi * n / FRAME))
  return [np.fft.rfft(window * padded[t : t + FRAME]) for t in starts]


def bark_of(hz):
  return 13 * math.atan(0.00076 * hz) + 3.5 * math.atan((hz / 7500) ** 2)


def quiet_at(hz):
  khz = hz / 1000
  ear = 3.64 * khz**-0.8 - 6.5 * math.exp(-0.6 * (khz - 3.3) ** 2)
  return ear + 1e-3 * khz**4 - 12


def threshold_by_loops(signal):
  """The model in float64, with nothing shared with what is tested."""
  spectra = frames_of(np.asarray(signal, np.float64))
  # Qin et al. scale spectra by sqrt(8 / 3) / 2048: what it is drops out, as
  # long as it is the same for clip and perturbation.
  scale = 8 / 3 / FRAME**2
  psd = [scale * abs(x) ** 2 for x in spectra]
  peak = max(x.max() for x in psd)
  hz = [k * RATE / FRAME for k in range(FRAME // 2 + 1)]
  bark = [bark_of(f) for f in hz]
  lowest = next(f for f, z in zip(hz, bark, strict=True) if z >= 1)
  quiet = [quiet_at(max(f, lowest)) for f in hz]
  thresholds = []
  for row in psd:
    level = [96 + 10 * math.log10(max(x / peak, 1e-30)) for x in row]
    maskers = []
    for k in range(1, len(level) - 1):
      if row[k] <= 1.0001 * max(row[k - 1], row[k + 1]):
        continue
      smeared = 10 * math.log10(
        sum(10 ** (level[j] / 10) for j in (k - 1, k, k + 1))
      )
      if smeared > quiet[k]:
        maskers.append((bark[k], smeared))
    i = 0
    while i + 1 < len(maskers):
      if maskers[i + 1][0] - maskers[i][0] >= 0.5:
        i += 1
      elif maskers[i][1] < maskers[i + 1][1]:
        del maskers[i]
      else:
        del maskers[i + 1]
    total = []
    for k, z in enumerate(bark):
      power = 10 ** (quiet[k] / 10)
      for place, loud in maskers:
        dz = z - place
        slope = 27 if dz <= 0 else -27 + 0.37 * max(loud - 40, 0)
        power += 10 ** ((loud - 6.025 - 0.275 * place + slope * dz) / 10)
      total.append(power)
    thresholds.append(np.array(total) * peak / 10**9.6 / scale)
  return np.sqrt(thresholds)


def tones(num_samples=3000):
  """Tones near and far, in a little noise, that end before the clip does."""
  t = np.arange(num_samples) / RATE
  parts = ((440, 0.2), (470, 0.1), (3000, 0.05), (3600, 0.01), (7000, 0.002))
  signal = sum(a * np.sin(2 * np.pi * f * t) for f, a in parts)
  signal += np.random.default_rng(0).normal(0, 1e-3, num_samples)
  signal[int(0.8 * num_samples) :] = 0
  return signal


def voice(num_samples=3000):
  """A gliding voice of many harmonics, shorter than two frames."""
  t = np.arange(num_samples) / RATE
  turns = 120 * t + 200 * t**2
  k = np.arange(1, 40)[:, None]
  signal = np.sum(np.sin(2 * np.pi * k * turns) / k**1.5, 0)
  return 0.05 * signal * np.sin(np.pi * t / t[-1])


def assert_threshold_is_of_formulas(signal):
  # Beside another clip, and at another level.
  both = 0.5 + jnp.stack([jnp.asarray(signal), 0.01 * signal[::-1]])
  found = np.asarray(audio.masking_threshold(both))[0]
  # As the clip is in float32 about one half.
  expected = threshold_by_loops(np.asarray(both[0], np.float64) - 0.5)
  assert found.shape == expected.shape
  # Where two maskers are as strong as one another but for rounding, either may
  # be the one that is dropped.
  apart_db = np.abs(20 * np.log10(found / expected))
  assert np.mean(apart_db > 0.01) < 0.01
  assert np.median(apart_db) < 1e-3


@pytest.mark.parametrize('make', [tones, voice])
def test_a_threshold_is_what_the_formulas_say(make):
  assert_threshold_is_of_formulas(make().astype(np.float32))


@pytest.mark.slow
def test_a_threshold_of_speech_is_what_the_formulas_say(ravdess_folder):
  name = '03-01-05-01-01-01-01.*'
  path = sorted(pathlib.Path(ravdess_folder).rglob(name))[0]
  clip = audio.load(str(path))[16_000:24_000] / 65536
  assert_threshold_is_of_formulas(clip.astype(np.float32))


@pytest.mark.slow
def test_a_threshold_moves_with_its_clip():
  clip = jnp.asarray(tones().astype(np.float32))[None]
  loud, soft = (audio.masking_threshold(0.5 + x) for x in (clip, clip / 8))
  np.testing.assert_allclose(loud, 8 * soft, rtol=1e-2)


@pytest.mark.slow
def test_nothing_is_masked_by_silence_and_gradients_are_finite():
  silence = jnp.full((2, 1600), 0.5)
  clips = silence.at[0].add(jnp.asarray(tones(1600), jnp.float32))
  threshold = audio.masking_threshold(clips)
  assert (threshold[0] > 0).all()
  assert (threshold[1] == 0).all()
  np.testing.assert_array_equal(audio.masking_rms(threshold, 1600)[1], 0)

  def loudness(x):
    return jnp.sum(audio.masking_threshold(x)) + jnp.sum(
      psychoacoustics.power(psychoacoustics.analyse(x - clips))
    )

  assert jnp.isfinite(jax.grad(loudness)(clips)).all()


@pytest.mark.parametrize('num_samples', [100, 5001])
def test_a_spectrum_of_any_length_is_turned_back(num_samples):
  x = jax.random.normal(jax.random.key(0), (2, num_samples))
  spectrum = psychoacoustics.analyse(x)
  assert spectrum.shape == (2, psychoacoustics.num_frames(num_samples), 1025)
  back = psychoacoustics.synthesise(spectrum, num_samples)
  np.testing.assert_allclose(back, x, atol=1e-5)


def test_masking_rms_is_that_of_a_signal_whose_spectrum_is_the_threshold():
  x = jax.random.normal(jax.random.key(0), (2, 5000))
  magnitudes = jnp.abs(psychoacoustics.analyse(x))
  np.testing.assert_allclose(
    audio.masking_rms(magnitudes, 5000), jnp.sqrt(jnp.mean(x**2, -1)), rtol=1e-4
  )
