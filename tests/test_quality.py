"""Measures against NumPy in double precision, SciPy and closed forms."""

import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from advspeech import audio, errors, quality

TIME = 12_000


def speech(seed=0):
  """Two clips like speech: noise in syllables; the second ends in padding."""
  rng = np.random.default_rng(seed)
  time_s = np.arange(TIME) / 16_000
  loudness = np.maximum(np.sin(2 * np.pi * 2 * time_s) ** 2 - 0.12, 5e-4)
  taps = scipy.signal.firwin(63, [300, 3000], pass_zero=False, fs=16_000)
  noise = scipy.signal.lfilter(taps, 1, rng.normal(size=(2, TIME)))
  mask = np.ones((2, TIME), np.float32)
  mask[1, 9700:] = 0
  return (0.5 + 0.3 * noise * loudness * mask).astype(np.float32), mask


AUDIO, MASK = speech()
NOISE = np.random.default_rng(1).normal(size=AUDIO.shape)


def noisy(level):
  return (AUDIO + level * NOISE).astype(np.float32)


def reference_segmental_snr_db(clean, perturbed):
  """Of recorded samples, one clip, straight from the definition."""
  clean, perturbed = clean.astype(float), perturbed.astype(float)
  starts = range(0, len(clean), 480)
  segments = [slice(start, start + 480) for start in starts]
  power = np.array([np.mean((clean[s] - 0.5) ** 2) for s in segments])
  values = []
  for s, p in zip(segments, power, strict=True):
    if 10 * np.log10(p / power.max()) > -40:
      noise = np.sum((perturbed[s] - clean[s]) ** 2)
      values.append(10 * np.log10(p * len(clean[s]) / noise))
  return np.mean(np.clip(values, -10, 35)), len(power) - len(values)


@pytest.mark.parametrize('level', [1e-4, 0.01, 0.3])
def test_segmental_snr_is_its_definition(level):
  result = jax.jit(quality.segmental_snr_db)(AUDIO, noisy(level), MASK)
  num_silent = 0
  for i, end in enumerate((TIME, 9700)):
    expected, silent = reference_segmental_snr_db(
      AUDIO[i, :end], noisy(level)[i, :end]
    )
    num_silent += silent
    assert result[i] == pytest.approx(expected, abs=1e-4)
  assert num_silent > 0


def test_segmental_snr_is_clamped_and_blind_to_padding():
  function = quality.segmental_snr_db
  np.testing.assert_array_equal(function(AUDIO, AUDIO, MASK), [35, 35])
  np.testing.assert_array_equal(function(AUDIO, noisy(100), MASK), [-10, -10])
  only_padding = np.where(MASK > 0, AUDIO, noisy(0.3))
  np.testing.assert_array_equal(function(AUDIO, only_padding, MASK), [35, 35])


def test_a_perturbation_in_proportion_has_its_snr_in_every_segment():
  perturbed = (AUDIO + 0.1 * (AUDIO - 0.5)).astype(np.float32)
  np.testing.assert_allclose(
    quality.segmental_snr_db(AUDIO, perturbed, MASK), 20, atol=1e-3
  )


def reference_log_spectral_distance_db(clean, perturbed):
  """Of recorded samples, one clip, with SciPy's transform."""

  def log_power(x):
    # Spectra as SciPy scales them, by the window's sum.
    _, _, spectrum = scipy.signal.stft(
      x.astype(float) - 0.5,
      window='hann',
      nperseg=512,
      noverlap=256,
      boundary=None,
      padded=False,
    )
    window = scipy.signal.get_window('hann', 512)
    power = np.abs(spectrum * window.sum()) ** 2
    return 10 * np.log10(np.maximum(power, np.sum(window**2) / 65536**2))

  difference = log_power(clean) - log_power(perturbed)
  return np.mean(np.sqrt(np.mean(difference**2, 0)))


@pytest.mark.parametrize('level', [1e-3, 0.01, 0.3])
def test_log_spectral_distance_is_its_definition(level):
  result = jax.jit(quality.log_spectral_distance_db)(AUDIO, noisy(level), MASK)
  for i, end in enumerate((TIME, 9700)):
    expected = reference_log_spectral_distance_db(
      AUDIO[i, :end], noisy(level)[i, :end]
    )
    assert result[i] == pytest.approx(expected, rel=1e-4)


def test_half_the_amplitude_is_a_distance_of_6_db():
  rng = np.random.default_rng(0)
  loud = jnp.asarray(rng.uniform(0, 1, (2, 4000)), jnp.float32)
  distance = quality.log_spectral_distance_db(
    loud, 0.5 + (loud - 0.5) / 2, jnp.ones((2, 4000))
  )
  np.testing.assert_allclose(distance, 20 * np.log10(2), rtol=1e-4)


def test_distance_is_none_from_itself_and_none_below_a_step():
  function = quality.log_spectral_distance_db
  np.testing.assert_array_equal(function(AUDIO, AUDIO, MASK), [0, 0])
  silence = np.full_like(AUDIO, 0.5)
  unheard = (silence + 0.1 / 65536 * np.sign(NOISE)).astype(np.float32)
  np.testing.assert_allclose(function(silence, unheard, MASK), 0, atol=1e-3)


@pytest.mark.parametrize(
  'measure', [quality.segmental_snr_db, quality.log_spectral_distance_db]
)
def test_a_clip_does_not_depend_on_its_neighbours(measure):
  alone = measure(AUDIO[1:], noisy(0.01)[1:], MASK[1:])
  np.testing.assert_allclose(
    alone[0], measure(AUDIO, noisy(0.01), MASK)[1], rtol=1e-6
  )


@pytest.mark.slow
def test_what_cannot_be_measured_is_not_a_number():
  silence = jnp.full((1, 1000), 0.5)
  everywhere = jnp.ones((1, 1000))
  assert jnp.isnan(
    quality.segmental_snr_db(silence, silence + 0.1, everywhere)
  ).all()
  for x in (silence, silence[:, :500]):
    mask = jnp.ones_like(x).at[:, 500:].set(0)
    assert jnp.isnan(quality.log_spectral_distance_db(x, x, mask)).all()


def test_stoi_is_one_of_itself_and_falls_with_noise():
  levels = (0.0, 0.01, 0.05, 0.3)
  scores = np.array(
    [quality.stoi(AUDIO, noisy(level), MASK).values for level in levels]
  )
  np.testing.assert_allclose(scores[0], 1, atol=1e-6)
  assert (np.diff(scores, axis=0) < 0).all()


def test_stoi_looks_at_recorded_samples_only():
  import pystoi

  score = quality.stoi(AUDIO, noisy(0.05), MASK).values[1]
  clean, perturbed = (
    2 * x[1, :9700].astype(float) - 1 for x in (AUDIO, noisy(0.05))
  )
  assert score == pytest.approx(pystoi.stoi(clean, perturbed, 16_000))


def test_clips_without_a_stoi_are_counted_in_silence():
  clean = np.concatenate([AUDIO[:1]] * 4)
  clean[3] = 0.5
  mask = np.ones_like(clean)
  mask[1, 100:] = 0
  mask[2, 6200:] = 0  # long enough, but for its silent frames
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    scores = quality.stoi(clean, clean, mask)
  assert scores.values[0] == pytest.approx(1)
  assert scores.values[1:] == [None, None, None]
  assert scores.num_undefined == 3


def test_pesq_is_best_of_itself_and_falls_with_noise():
  pytest.importorskip('pesq')
  clean, mask = AUDIO[:1], MASK[:1]
  scores = [
    quality.pesq(clean, noisy(level)[:1], mask).values[0]
    for level in (0.0, 0.01, 0.1)
  ]
  assert scores[0] == pytest.approx(4.644, abs=1e-3)
  assert scores[0] > scores[1] > scores[2] > 1


def test_clips_without_a_pesq_are_counted():
  pytest.importorskip('pesq')
  clean = np.concatenate([AUDIO[:1]] * 4)
  perturbed = clean.copy()
  clean[1] = 0.5
  perturbed[2] = 0.5
  mask = np.ones_like(clean)
  mask[3, 3999:] = 0
  scores = quality.pesq(clean, perturbed, mask)
  assert scores.values[1:] == [None, None, None]
  assert scores.num_undefined == 3


def test_pesq_says_what_it_needs(monkeypatch):
  monkeypatch.setattr(quality, 'has_pesq', lambda: False)
  with pytest.raises(errors.InputError, match=r"'advspeech\[quality\]'"):
    quality.pesq(AUDIO, AUDIO, MASK)


def test_dnsmos_falls_with_noise_and_is_undefined_in_silence():
  pytest.importorskip('speechmos')
  if not quality.has_dnsmos():
    pytest.skip('onnxruntime or requests is not installed')
  clips = np.stack([AUDIO[0], noisy(0.1)[0], np.full(TIME, 0.5)])
  scores = quality.dnsmos(
    np.stack([AUDIO[0]] * 3), clips.astype(np.float32), np.ones_like(clips)
  )
  assert 5 > scores.values[0] > scores.values[1] >= 0.9
  assert scores.values[2] is None
  assert scores.num_undefined == 1


def test_dnsmos_says_what_it_needs(monkeypatch):
  monkeypatch.setattr(quality, 'has_dnsmos', lambda: False)
  with pytest.raises(errors.InputError, match=r"'advspeech\[dnsmos\]'"):
    quality.dnsmos(AUDIO, AUDIO, MASK)


def test_stoi_and_pesq_are_not_imported_before_they_are_needed():
  source = sys.modules['advspeech.quality'].__dict__
  assert 'pystoi' not in source
  assert 'pesq_lib' not in source


def test_unmasked_share_counts_cells_above_the_threshold_while_one_speaks():
  # Far above, far below, unchanged; and what stands in padding alone.
  clips = AUDIO[[0, 0, 0, 1]]
  change = np.stack([NOISE[0], 1e-7 * NOISE[0], 0 * NOISE[0], NOISE[1]])
  change[3, :11_800] = 0
  mask = MASK[[0, 0, 0, 1]]
  found = quality.unmasked_share(
    clips, (clips + 0.1 * change).astype(np.float32), mask
  )
  assert found[0] > 0.7
  assert found[1] < 0.01
  assert found[2] == 0
  assert found[3] == 0
  # A clip's share by counting, one that has both kinds of cells.
  perturbation = np.asarray(noisy(1e-4)[0] - AUDIO[0])
  cells = np.abs(audio.Masking(None, None).analyse(perturbation[None]))
  above = cells > audio.masking_threshold(AUDIO[:1])
  (share,) = quality.unmasked_share(AUDIO[:1], noisy(1e-4)[:1], MASK[:1])
  assert 0.1 < share < 0.9
  assert share == pytest.approx(float(above.mean()), abs=1e-3)
