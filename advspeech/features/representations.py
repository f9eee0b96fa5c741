"""Pairs of features and audio rebuilt from them, which attacks move."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from advspeech import audio as audio_lib
from advspeech.features import mel, phases
from advspeech.features.stft import (
  POWER_FLOOR,
  decibels,
  power,
  resample,
  speech_stft,
)

# Of the model's audio, and of end-to-end perturbations.
WAVEFORM_UNIT = 'half of full scale'


@dataclasses.dataclass(frozen=True)
class Representation:
  """Features of audio, and audio rebuilt from features.

  Attributes:
    name: As in tables.
    unit: Of a feature.
    analyse: Maps audio [batch, time] in [0, 1] to features [batch, ...], and to
      what else rebuilding takes from the original (its phases, its length); a
      clip's do not depend on its neighbours.
    synthesise: Maps features and that, to audio [batch, time], not clipped.
    invert: The same with the clip's own phases, whatever `synthesise` does:
      the inverse of `analyse` next to the clip.
  """

  name: str
  unit: str
  analyse: Callable[[jax.Array], tuple[jax.Array, Any]]
  synthesise: Callable[[jax.Array, Any], jax.Array]
  invert: Callable[[jax.Array, Any], jax.Array]


def waveform() -> Representation:
  """Returns the samples themselves: what end-to-end attacks perturb."""
  return Representation(
    'waveform',
    WAVEFORM_UNIT,
    lambda audio: (audio, ()),
    lambda audio, _: audio,
    lambda audio, _: audio,
  )


PHASES = ('original', 'griffin_lim')


def complex_stft(rate_hz: int = audio_lib.SAMPLE_RATE_HZ) -> Representation:
  """Returns the transform itself, nothing compressed: a check of all others."""
  stft = speech_stft(rate_hz)

  def analyse(audio):
    spectrum = stft.analyse(_signal(audio, rate_hz))
    return jnp.stack([spectrum.real, spectrum.imag], -1), _like(audio)

  def synthesise(features, like):
    spectrum = jax.lax.complex(features[..., 0], features[..., 1])
    return _rebuild(spectrum, stft, like)

  return Representation(
    'complex_stft', 'amplitude', analyse, synthesise, synthesise
  )


def spectrogram(
  rate_hz: int = audio_lib.SAMPLE_RATE_HZ,
  phase: str = 'original',
  num_iterations: int = 32,
) -> Representation:
  """Returns the log-magnitude spectrogram, [batch, frames, bins] in dB.

  Args:
    rate_hz: At which the spectrogram is taken, 8 or 16 kHz.
    phase: How audio is rebuilt: with the clip's 'original' phases (Kereliuk et
      al. 2015), or with those of 'griffin_lim'.
    num_iterations: Of Griffin-Lim.

  Raises:
    ValueError: If the rate or the phase is none of these.
  """
  stft = speech_stft(rate_hz)
  _check_phase(phase)

  def analyse(audio):
    spectrum = stft.analyse(_signal(audio, rate_hz))
    return decibels(power(spectrum)), _context(audio, spectrum)

  return Representation(
    _name('spectrogram', rate_hz, phase),
    'dB',
    analyse,
    *_inverses(lambda level: 10 ** (level / 20), stft, phase, num_iterations),
  )


def mfcc(
  num_coefficients: int = 13,
  num_mels: int = 40,
  rate_hz: int = audio_lib.SAMPLE_RATE_HZ,
  phase: str = 'griffin_lim',
  num_iterations: int = 32,
  top_db: float = 80.0,
) -> Representation:
  """Returns MFCC, features [batch, frames, num_coefficients], librosa's.

  Rebuilt as librosa does it: the missing coefficients are 0, the mel powers
  become a power spectrum by non-negative least squares, phases are found.

  Args:
    num_coefficients: 13 to 39 in speech (paper, "Limitations" of features).
    num_mels: Filters.
    rate_hz: At which MFCC are taken, 8 or 16 kHz.
    phase: Where phases come from: 'griffin_lim' (Iter et al. 2017 had nothing
      but MFCC), or the clip's 'original' ones, which an attacker has too.
    num_iterations: Of Griffin-Lim.
    top_db: Mel powers further below a clip's largest are raised to there.

  Raises:
    ValueError: If the rate or the phase is none of these, or there are more
      coefficients than filters.
  """
  stft = speech_stft(rate_hz)
  _check_phase(phase)
  if not 1 <= num_coefficients <= num_mels:
    raise ValueError(
      'num_coefficients must lie between 1 and num_mels, got '
      f'{num_coefficients} and {num_mels}'
    )
  filters = mel.mel_filters(rate_hz, stft.fft_size, num_mels)
  basis = mel.dct_basis(num_coefficients, num_mels)

  def analyse(audio):
    spectrum = stft.analyse(_signal(audio, rate_hz))
    powers = jnp.matmul(power(spectrum), filters.T, precision=mel.EXACT)
    level = decibels(powers)
    lowest = level.max((1, 2), keepdims=True) - top_db
    coefficients = jnp.matmul(
      jnp.maximum(level, lowest), basis.T, precision=mel.EXACT
    )
    return coefficients, _context(audio, spectrum)

  def magnitude(coefficients):
    level = jnp.matmul(coefficients, basis, precision=mel.EXACT)
    spectrum = mel.mel_to_power(10 ** (level / 10), filters)
    return jnp.sqrt(spectrum + POWER_FLOOR)

  return Representation(
    _name(f'mfcc{num_coefficients}', rate_hz, phase),
    'MFCC',
    analyse,
    *_inverses(magnitude, stft, phase, num_iterations),
  )


def for_attacks() -> dict[str, Representation]:
  """Returns what attacks by name move, `attacks.ON_FEATURES`.

  Rebuilt with the clip's own phases, which an attacker has.
  """
  return {'mfcc': mfcc(phase='original'), 'spectrogram': spectrogram()}


def _check_phase(phase):
  if phase not in PHASES:
    raise ValueError(f'phase must be one of {", ".join(PHASES)}, got {phase!r}')


def _name(base, rate_hz, phase):
  rate = '' if rate_hz == audio_lib.SAMPLE_RATE_HZ else f'_{rate_hz // 1000}khz'
  return f'{base}{rate}_{phase}'


def _signal(audio, rate_hz):
  """Returns audio about 0 at full scale and at another rate."""
  return resample(
    audio_lib.to_full_scale(audio), audio_lib.SAMPLE_RATE_HZ, rate_hz
  )


def _like(audio):
  """Returns an array that carries nothing but the audio's shape."""
  return jnp.zeros_like(audio)


def _context(audio, spectrum):
  """Returns what rebuilding takes from the original: phases and length."""
  return jax.lax.stop_gradient(phases.phasors(spectrum)), _like(audio)


def _inverses(magnitude_fn, stft, phase, num_iterations):
  """Returns `synthesise` and `invert` of features that are magnitudes."""

  def invert(features, context):
    original, like = context
    return _rebuild(magnitude_fn(features) * original, stft, like)

  def synthesise(features, context):
    _, like = context
    magnitude = magnitude_fn(features)
    found = phases.griffin_lim(
      magnitude,
      stft,
      _num_samples(stft, like),
      start=phases.fixed_phase(*magnitude.shape[1:]),
      num_iterations=num_iterations,
    )
    return _rebuild(magnitude * found, stft, like)

  return invert if phase == 'original' else synthesise, invert


def _num_samples(stft, like):
  return like.shape[-1] * stft.rate_hz // audio_lib.SAMPLE_RATE_HZ


def _rebuild(spectrum, stft, like):
  """Returns audio in the model's range, of the length of `like`."""
  signal = stft.synthesise(spectrum, _num_samples(stft, like))
  return audio_lib.from_full_scale(
    resample(signal, stft.rate_hz, audio_lib.SAMPLE_RATE_HZ)
  )
