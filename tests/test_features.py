"""Features against librosa, inverses against what they invert."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from advspeech import audio as audio_lib
from advspeech import features

TIME = 8000  # half a second


def speech_like(num_clips=2, time=TIME, seed=0):
  """Clips in the model's range: a gliding voice, noise, and a silent end."""
  rng = np.random.default_rng(seed)
  seconds = np.arange(time) / 16_000
  clips = []
  for _ in range(num_clips):
    pitch_hz = rng.uniform(90, 250) * (1 + 0.2 * np.sin(9 * seconds))
    turns = np.cumsum(pitch_hz) / 16_000
    harmonics = np.arange(1, 25)[:, None]
    voice = (np.cos(2 * np.pi * harmonics * turns) / harmonics).sum(0)
    clips.append(0.1 * voice + 0.005 * rng.standard_normal(time))
  clips = np.stack(clips).astype(np.float32)
  clips[:, time * 9 // 10 :] = 0
  return (clips + 1) / 2


AUDIO = speech_like()
MASK = np.ones_like(AUDIO)
REPRESENTATIONS = {
  r.name: r
  for r in (
    features.complex_stft(),
    features.spectrogram(),
    features.spectrogram(phase='griffin_lim', num_iterations=4),
    features.mfcc(rate_hz=8000, num_iterations=4),
  )
}
every_representation = pytest.mark.parametrize(
  'representation', REPRESENTATIONS.values(), ids=REPRESENTATIONS
)
both_rates = pytest.mark.parametrize('rate_hz', features.RATES_HZ)


def librosa_sizes(rate_hz):
  stft = features.speech_stft(rate_hz)
  return {
    'n_fft': stft.fft_size,
    'hop_length': stft.hop_samples,
    'win_length': stft.window_samples,
  }


def test_windows_are_25_ms_and_hops_10_ms():
  assert features.speech_stft() == features.Stft(16_000, 400, 160, 512)
  assert features.speech_stft(8000) == features.Stft(8000, 200, 80, 256)


@both_rates
@pytest.mark.parametrize('time', [8037, 161])
def test_the_transform_and_its_inverse_are_librosas(rate_hz, time):
  stft = features.speech_stft(rate_hz)
  signal = np.random.default_rng(1).normal(0, 0.3, (2, time))
  expected = librosa.stft(signal, **librosa_sizes(rate_hz))
  found = stft.analyse(jnp.asarray(signal, jnp.float32))
  np.testing.assert_allclose(found.swapaxes(1, 2), expected, atol=1e-5)
  # A spectrum that is no signal's: the nearest signal is asked for.
  other = found * jnp.linspace(0.1, 2, found.shape[-1])[None, None]
  back = stft.synthesise(other, time)
  expected = librosa.istft(
    np.asarray(other, np.complex128).swapaxes(1, 2),
    length=time,
    **librosa_sizes(rate_hz),
  )
  np.testing.assert_allclose(back, expected, atol=1e-5)


@both_rates
def test_synthesis_undoes_analysis(rate_hz):
  stft = features.speech_stft(rate_hz)
  signal = np.random.default_rng(1).normal(0, 0.3, (1, 1234))
  back = stft.synthesise(stft.analyse(jnp.asarray(signal, jnp.float32)), 1234)
  np.testing.assert_allclose(back, signal, atol=1e-6)


@both_rates
@pytest.mark.parametrize('num_mels', [13, 40])
def test_the_mel_filters_are_librosas(rate_hz, num_mels):
  fft_size = features.speech_stft(rate_hz).fft_size
  np.testing.assert_allclose(
    features.mel_filters(rate_hz, fft_size, num_mels),
    librosa.filters.mel(sr=rate_hz, n_fft=fft_size, n_mels=num_mels),
    atol=1e-7,
  )


@both_rates
@pytest.mark.parametrize('num_coefficients', [13, 39])
def test_mfcc_are_librosas_to_a_ten_thousandth(rate_hz, num_coefficients):
  # One rate's clip is as good as the other's: what is compared is arithmetic.
  time = TIME // (16_000 // rate_hz)
  signal = audio_lib.to_full_scale(speech_like(time=time))
  representation = features.mfcc(num_coefficients, rate_hz=rate_hz)
  # Resampled up, so that `analyse` hears the signal itself at its rate.
  clips = audio_lib.from_full_scale(
    features.resample(jnp.asarray(signal), rate_hz, 16_000)
  )
  back = features.resample(audio_lib.to_full_scale(clips), 16_000, rate_hz)
  found, _ = representation.analyse(clips)
  expected = [  # one by one: librosa takes `top_db` from the loudest of all
    librosa.feature.mfcc(
      y=y.astype(np.float64),
      sr=rate_hz,
      n_mfcc=num_coefficients,
      n_mels=40,
      **librosa_sizes(rate_hz),
    ).T
    for y in np.asarray(back)
  ]
  expected = np.stack(expected)
  assert found.shape == (2, 51, num_coefficients)
  # A bin 80 dB below the loudest has a float32 transform's rounding in it.
  np.testing.assert_allclose(found, expected, atol=1e-3)
  assert np.median(np.abs(found - expected)) < 1e-4


@both_rates
def test_mfcc_of_noise_are_librosas_to_a_ten_thousandth(rate_hz):
  time = TIME // (16_000 // rate_hz)
  signal = np.random.default_rng(2).normal(0, 0.1, (2, time))
  stft = features.speech_stft(rate_hz)
  mel = features.power(stft.analyse(jnp.asarray(signal, jnp.float32)))
  mel = mel @ features.mel_filters(rate_hz, stft.fft_size, 40).T
  found = features.decibels(mel) @ features.dct_basis(39, 40).T
  expected = librosa.feature.mfcc(
    y=signal, sr=rate_hz, n_mfcc=39, n_mels=40, **librosa_sizes(rate_hz)
  ).swapaxes(1, 2)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_spectrogram_is_the_transform_in_decibels():
  level, _ = features.spectrogram().analyse(AUDIO)
  spectrum = librosa.stft(
    audio_lib.to_full_scale(AUDIO).astype(np.float64), **librosa_sizes(16_000)
  ).swapaxes(1, 2)
  power = np.abs(spectrum) ** 2
  expected = 10 * np.log10(np.maximum(power, features.POWER_FLOOR))
  loud = power > 1e-6
  np.testing.assert_allclose(
    np.where(loud, level, 0), np.where(loud, expected, 0), atol=1e-2
  )
  assert float(level.min()) == pytest.approx(-100)


@pytest.mark.parametrize(('low', 'high'), [(8000, 16_000), (16_000, 8000)])
def test_resampling_keeps_what_both_rates_can_carry(low, high):
  hz = 1000
  tone, expected = (
    np.sin(2 * np.pi * hz * np.arange(rate // 10) / rate)[None]
    for rate in (low, high)
  )
  found = features.resample(jnp.asarray(tone, jnp.float32), low, high)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_resampling_to_a_fraction_of_a_sample_is_refused():
  with pytest.raises(ValueError, match='even number'):
    features.resample(jnp.zeros((1, 801)), 16_000, 8000)


def test_mel_powers_are_inverted_as_well_as_librosa_does():
  stft = features.speech_stft()
  filters = features.mel_filters(16_000, stft.fft_size, 40)
  power = features.power(stft.analyse(audio_lib.to_full_scale(AUDIO[:1])))
  mel = np.asarray(power @ filters.T)[0, 5:40]
  found = np.asarray(features.mel_to_power(mel, filters))
  reference = librosa.util.nnls(
    filters.astype(np.float64), mel.T.astype(np.float64)
  ).T
  assert found.min() >= 0

  def misfit(spectrum):
    return np.linalg.norm(spectrum @ filters.T - mel) / np.linalg.norm(mel)

  assert misfit(found) < max(0.01, misfit(reference))


def test_more_steps_fit_mel_powers_better():
  stft = features.speech_stft()
  filters = features.mel_filters(16_000, stft.fft_size, 40)
  power = features.power(stft.analyse(audio_lib.to_full_scale(AUDIO[:1])))
  mel = power @ filters.T
  misfits = [
    float(
      jnp.linalg.norm(features.mel_to_power(mel, filters, n) @ filters.T - mel)
    )
    for n in (1, 10, 100)
  ]
  assert misfits[0] > 3 * misfits[1] > 9 * misfits[2]


def test_a_bin_that_shrinks_to_nothing_leaves_the_gradient_finite():
  """A frame of PGD on MFCC whose second bin least squares empties."""
  low, high = [-278.5, 83.3, 1.7, 29.8, -16.9, -10.0], [-27.1, -33.8, -42.2]
  frame = jnp.array([*low, *high, -20.1, -24.7, -34.3, -7.2])
  filters = features.mel_filters(16_000, 512, 40)

  def loss(frame):
    level = frame @ features.dct_basis(13, 40)
    power = features.mel_to_power(10 ** (level / 10), filters)
    return jnp.sqrt(power + features.POWER_FLOOR).sum()

  gradient = jax.grad(loss)(frame)
  assert np.isfinite(gradient).all()
  assert gradient[0] > 0  # louder is more


def test_griffin_lim_is_librosas():
  stft = features.speech_stft()
  signal = audio_lib.to_full_scale(AUDIO[:1]).astype(np.float64)
  magnitude = np.abs(librosa.stft(signal[0], **librosa_sizes(16_000)))
  # Bins without a phase are dropped by the two in different ways.
  magnitude += 1e-3
  expected = librosa.griffinlim(
    magnitude, n_iter=8, init=None, length=TIME, **librosa_sizes(16_000)
  )
  target = jnp.asarray(magnitude.T[None], jnp.float32)
  found = features.griffin_lim(
    target, stft, TIME, start=jnp.ones((), jnp.complex64), num_iterations=8
  )
  rebuilt = stft.synthesise(target * found, TIME)[0]
  error = np.linalg.norm(rebuilt - expected) / np.linalg.norm(expected)
  assert error < 1e-3


def test_griffin_lim_comes_nearer_to_the_magnitudes():
  stft = features.speech_stft()
  magnitude = jnp.abs(stft.analyse(audio_lib.to_full_scale(AUDIO)))
  misfits = []
  for n in (0, 8, 64):
    phase = features.griffin_lim(
      magnitude,
      stft,
      TIME,
      start=features.fixed_phase(*magnitude.shape[1:]),
      num_iterations=n,
    )
    rebuilt = jnp.abs(stft.analyse(stft.synthesise(magnitude * phase, TIME)))
    misfits.append(float(jnp.linalg.norm(rebuilt - magnitude)))
  assert misfits[0] > 2 * misfits[1] > 2.4 * misfits[2]


def conversion_snr_db(representation):
  rebuilt = representation.synthesise(*representation.analyse(AUDIO))
  return np.asarray(audio_lib.snr_db(AUDIO, rebuilt, MASK))


def test_nothing_compressed_is_converted_without_loss():
  assert (conversion_snr_db(features.complex_stft()) > 80).all()
  assert (conversion_snr_db(features.spectrogram()) > 80).all()


def test_fewer_coefficients_lose_more():
  snr = [
    conversion_snr_db(features.mfcc(n, phase='original')) for n in (13, 39)
  ]
  assert (snr[0] + 3 < snr[1]).all()


def test_a_lost_phase_loses_the_waveform():
  assert (
    conversion_snr_db(features.spectrogram(phase='griffin_lim')) < 3
  ).all()


def test_8_khz_lose_what_lies_above_4():
  stft = features.speech_stft(8000)
  representation = features.complex_stft(8000)
  rebuilt = representation.synthesise(*representation.analyse(AUDIO))
  lost = np.fft.rfft(rebuilt - AUDIO)
  kept = np.fft.rfft(AUDIO - AUDIO.mean())
  hz = np.fft.rfftfreq(TIME, 1 / 16_000)
  assert stft.num_bins == 129
  assert np.abs(lost[:, hz < 3990]).max() < 1e-3 * np.abs(kept).max()
  np.testing.assert_allclose(lost[:, hz > 4010], -kept[:, hz > 4010], atol=1e-2)


@every_representation
def test_gradients_are_finite_at_silence_and_at_speech(representation):
  half_silent = AUDIO.copy()
  half_silent[0] = 0.5

  def loss(audio):
    values, context = representation.analyse(audio)
    rebuilt = representation.synthesise(values, context)
    return jnp.sum(values * 1e-3) + jnp.sum(jnp.sin(rebuilt))

  for clips in (AUDIO, half_silent):
    gradient = jax.jit(jax.grad(loss))(clips)
    assert bool(jnp.isfinite(gradient).all())


@every_representation
def test_a_clip_alone_has_the_features_it_has_in_a_batch(representation):
  together, context = representation.analyse(AUDIO)
  rebuilt = representation.synthesise(together, context)
  for i in range(len(AUDIO)):
    alone, context = representation.analyse(AUDIO[i : i + 1])
    np.testing.assert_allclose(alone[0], together[i], atol=1e-3)
    np.testing.assert_allclose(
      representation.synthesise(alone, context)[0], rebuilt[i], atol=2e-4
    )


@every_representation
def test_the_inverse_next_to_the_clip_keeps_its_phases(representation):
  """Whatever `synthesise` does, `invert` is at least as near to the clip."""
  values, context = representation.analyse(AUDIO)
  near = audio_lib.snr_db(AUDIO, representation.invert(values, context), MASK)
  assert (np.asarray(near) > 3).all()
  assert (np.asarray(near) >= conversion_snr_db(representation)).all()


def test_unknown_rates_phases_and_too_many_coefficients_are_refused():
  with pytest.raises(ValueError, match='rate_hz must be one of 8000, 16000'):
    features.speech_stft(22_050)
  with pytest.raises(ValueError, match='phase must be one of original, grif'):
    features.spectrogram(phase='none')
  with pytest.raises(ValueError, match='got 41 and 40'):
    features.mfcc(41)


def test_inverses_have_gradients_however_features_are_changed():
  """What PGD does to silence: levels far below the floor, and far above."""
  representation = features.mfcc(phase='original')
  values, context = representation.analyse(AUDIO[:1])
  signs = np.where(np.arange(values.shape[-1]) % 2, 1, -1)[None, None]
  gradient_fn = jax.jit(
    jax.grad(lambda f: jnp.sum(jnp.sin(representation.invert(f, context))))
  )
  for change in (-200 * np.abs(signs), -60 * np.abs(signs), 60 * signs):
    assert bool(jnp.isfinite(gradient_fn(values + change)).all())
