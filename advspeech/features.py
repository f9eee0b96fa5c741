"""Acoustic features of audio and audio rebuilt from them, differentiable.

Attacks on features need both directions: MFCC (Iter et al. 2017) or the
magnitude spectrogram (Kereliuk et al. 2015) of a clip, and the clip again from
the changed features (paper, Figure 3). A `Representation` is such a pair.

Audio is the model's, in [0, 1] about silence; features are those of the signal
about silence at full scale, as librosa computes them from a WAV file. Nothing
here divides by a magnitude or takes a root of one that may be 0, so that
gradients are finite at silence.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio as audio_lib

WINDOW_MS, HOP_MS = 25, 10
# Of the model's audio, and of end-to-end perturbations.
WAVEFORM_UNIT = 'half of full scale'
RATES_HZ = (8_000, 16_000)
# The smallest power that has a logarithm of its own (librosa's `amin`): -140 dB
# below the bin of a sine at full scale, 20 dB below 16-bit rounding noise.
POWER_FLOOR = 1e-10
# Phases come from no smaller a magnitude than this, in Griffin-Lim.
_SMALLEST_MAGNITUDE = 1e-8
# Nothing is divided by less, whose square float32 could not hold either.
_SMALLEST_IMAGE = 1e-16
# A bin that shrank to nothing would have an endless gradient, times nothing.
_SMALLEST_POWER = 1e-16
_EXACT = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Stft:
  """A short-time Fourier transform: periodic Hann, frames centred on hops.

  Attributes:
    rate_hz: Of the signal.
    window_samples: Length of the window, in the middle of a frame.
    hop_samples: From frame to frame.
    fft_size: Length of a frame.
  """

  rate_hz: int
  window_samples: int
  hop_samples: int
  fft_size: int

  @property
  def num_bins(self) -> int:
    """Frequencies from 0 to half the rate."""
    return self.fft_size // 2 + 1

  @property
  def window(self) -> np.ndarray:
    """The window, [fft_size] float32, zeros around it."""
    n = np.arange(self.window_samples)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / self.window_samples)
    before = (self.fft_size - self.window_samples) // 2
    after = self.fft_size - self.window_samples - before
    return np.pad(hann, (before, after)).astype(np.float32)

  def num_frames(self, num_samples: int) -> int:
    """Returns the frames of a signal of that length."""
    return 1 + num_samples // self.hop_samples

  @property
  def _hops_a_frame(self):
    return -(-self.fft_size // self.hop_samples)

  def analyse(self, signal: jax.Array) -> jax.Array:
    """Returns the spectrum of a signal, [batch, frames, bins] complex.

    Args:
      signal: [batch, time] about 0.
    """
    batch, time = signal.shape
    frames, parts = self.num_frames(time), self._hops_a_frame
    before = self.fft_size // 2
    after = (frames - 1 + parts) * self.hop_samples - before - time
    padded = jnp.pad(signal, ((0, 0), (before, max(after, 0))))
    padded = padded[:, : (frames - 1 + parts) * self.hop_samples]
    hops = padded.reshape(batch, -1, self.hop_samples)
    framed = jnp.concatenate(
      [hops[:, i : i + frames] for i in range(parts)], axis=-1
    )
    return jnp.fft.rfft(framed[..., : self.fft_size] * self.window[None, None])

  def synthesise(self, spectrum: jax.Array, num_samples: int) -> jax.Array:
    """Returns the signal whose spectrum is nearest, [batch, num_samples].

    Least squares over all frames (Griffin & Lim 1984, eq. 6): exact where the
    spectrum is a signal's.

    Args:
      spectrum: [batch, frames, bins] complex.
      num_samples: Length of the signal.
    """
    window = self.window[None, None]
    frames = jnp.fft.irfft(spectrum, self.fft_size) * window
    squares = jnp.broadcast_to(jnp.square(window), (1, *frames.shape[1:]))
    start = self.fft_size // 2
    signal, weight = (
      self._overlap_add(x)[:, start : start + num_samples]
      for x in (frames, squares)
    )
    # Samples under no window, after the last frame, stay 0.
    return signal / jnp.where(weight > 0, weight, 1)

  def _overlap_add(self, frames):
    batch, num_frames, _ = frames.shape
    parts, hop = self._hops_a_frame, self.hop_samples
    fill = parts * hop - self.fft_size
    pieces = jnp.pad(frames, ((0, 0), (0, 0), (0, fill))).reshape(
      batch, num_frames, parts, hop
    )
    total = sum(
      jnp.pad(pieces[:, :, i], ((0, 0), (i, parts - 1 - i), (0, 0)))
      for i in range(parts)
    )
    signal = total.reshape(batch, -1)
    missing = self.fft_size // 2 + num_frames * hop - signal.shape[1]
    return jnp.pad(signal, ((0, 0), (0, max(missing, 0))))


def speech_stft(rate_hz: int = audio_lib.SAMPLE_RATE_HZ) -> Stft:
  """Returns the transform of speech features: 25 ms windows every 10 ms.

  Raises:
    ValueError: If the rate is neither 8 nor 16 kHz.
  """
  if rate_hz not in RATES_HZ:
    raise ValueError(
      f'rate_hz must be one of {", ".join(map(str, RATES_HZ))}, got {rate_hz}'
    )
  window = rate_hz * WINDOW_MS // 1000
  return Stft(
    rate_hz=rate_hz,
    window_samples=window,
    hop_samples=rate_hz * HOP_MS // 1000,
    fft_size=1 << (window - 1).bit_length(),
  )


def resample(signal: jax.Array, from_hz: int, to_hz: int) -> jax.Array:
  """Returns a signal at another rate, [batch, time * to_hz / from_hz].

  Its Fourier series cut off, or continued with zeros: linear, exact below half
  the lower rate, and periodic at the ends.

  Args:
    signal: [batch, time].
    from_hz: Its rate.
    to_hz: The rate wanted.

  Raises:
    ValueError: If the new length is not whole.
  """
  time = signal.shape[-1]
  new_time, rest = divmod(time * to_hz, from_hz)
  if rest or new_time % 2 or time % 2:
    raise ValueError(
      f'{time} samples at {from_hz} Hz must be an even number at {to_hz} Hz '
      'too; pad the clip'
    )
  if from_hz == to_hz:
    return signal
  bins = min(time, new_time) // 2  # the last, half the lower rate, is dropped
  spectrum = jnp.fft.rfft(signal)[..., :bins]
  return jnp.fft.irfft(spectrum, new_time) * (new_time / time)


def power(spectrum: jax.Array) -> jax.Array:
  """Returns the squared magnitude of a spectrum of any shape."""
  return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def decibels(power: jax.Array) -> jax.Array:
  """Returns 10 log10 of powers of any shape, those below the floor raised.

  The gradient is 0 below the floor, so that silence has one.
  """
  return 10 * jnp.log10(jnp.maximum(power, POWER_FLOOR))


def phasors(spectrum: jax.Array) -> jax.Array:
  """Returns a spectrum of magnitude 1 with the same phases.

  A bin too small to have a phase keeps its smallness instead.
  """
  size = jnp.maximum(power(spectrum), _SMALLEST_MAGNITUDE**2)
  return spectrum * jax.lax.rsqrt(size)


@functools.lru_cache
def mel_filters(rate_hz: int, fft_size: int, num_mels: int) -> np.ndarray:
  """Returns Slaney's mel filter bank, [num_mels, bins] float32.

  Triangles from 0 Hz to half the rate, linear below 1 kHz and logarithmic
  above, each of area 1 (Slaney's Auditory Toolbox; librosa's default).
  """

  def to_mel(hz):
    return np.where(
      hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / _LOG
    )

  def to_hz(mel):
    return np.where(
      mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * _LOG / 27)
    )

  edges = to_hz(np.linspace(0, to_mel(rate_hz / 2), num_mels + 2))
  hz = np.linspace(0, rate_hz / 2, fft_size // 2 + 1)
  low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
  rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
  triangles = np.maximum(0, np.minimum(rising, falling))
  return (triangles * 2 / (high - low)).astype(np.float32)


_LOG = np.log(6.4)


def dct_basis(num_coefficients: int, size: int) -> np.ndarray:
  """Returns the orthonormal DCT-II, [num_coefficients, size] float32."""
  n, k = np.arange(size), np.arange(num_coefficients)[:, None]
  basis = np.sqrt(2 / size) * np.cos(np.pi * k * (2 * n + 1) / (2 * size))
  basis[0] /= np.sqrt(2)
  return basis.astype(np.float32)


def mel_to_power(
  mel: jax.Array, filters: np.ndarray, num_iterations: int = 50
) -> jax.Array:
  """Returns a power spectrum that has these mel powers, nearly.

  Non-negative least squares by multiplicative steps (the image space
  reconstruction algorithm, Daube-Witherspoon & Muehllehner 1986): smooth,
  positive all the way, each frame by itself. Bins that no filter hears are 0.

  Args:
    mel: [..., mels] powers, not negative.
    filters: [mels, bins].
    num_iterations: Steps.
  """
  heard = (filters.T @ filters).sum(-1).reshape(*(1,) * (mel.ndim - 1), -1)
  target = jnp.matmul(mel, filters, precision=_EXACT)
  start = jnp.maximum(target / np.where(heard > 0, heard, 1), _SMALLEST_POWER)

  @jax.checkpoint  # all of a step's arrays kept would be gigabytes
  def step(spectrum, _):
    image = jnp.matmul(spectrum, filters.T, precision=_EXACT)
    image = jnp.matmul(image, filters, precision=_EXACT)
    spectrum = spectrum * (target / jnp.maximum(image, _SMALLEST_IMAGE))
    return jnp.maximum(spectrum, _SMALLEST_POWER), None

  spectrum, _ = jax.lax.scan(step, start, None, num_iterations)
  return jnp.where(heard > 0, spectrum, 0)


def griffin_lim(
  magnitude: jax.Array,
  stft: Stft,
  num_samples: int,
  *,
  start: jax.Array,
  num_iterations: int = 32,
  momentum: float = 0.99,
) -> jax.Array:
  """Returns phases under which magnitudes are nearly a signal's, as phasors.

  The fast algorithm (Perraudin et al. 2013; Griffin & Lim 1984 without
  momentum), [batch, frames, bins] complex.

  Args:
    magnitude: [batch, frames, bins].
    stft: The transform it is of.
    num_samples: Length of the signal.
    start: Phasors to start from, broadcast to `magnitude`.
    num_iterations: Times there and back.
    momentum: Of the steps.
  """

  def step(carry, _):
    phase, previous = carry
    signal = stft.synthesise(magnitude * phase, num_samples)
    rebuilt = stft.analyse(signal)
    ahead = rebuilt - momentum / (1 + momentum) * previous
    return (phasors(ahead), rebuilt), None

  start = jnp.broadcast_to(start, magnitude.shape)
  carry = start, jnp.zeros_like(start)
  return jax.lax.scan(step, carry, None, num_iterations)[0][0]


def fixed_phase(num_frames: int, num_bins: int) -> jax.Array:
  """Returns phasors without a pattern, [frames, bins], always the same."""
  angle = jax.random.uniform(jax.random.key(0), (num_frames, num_bins))
  return jnp.exp(2j * jnp.pi * angle).astype(jnp.complex64)


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
  filters = mel_filters(rate_hz, stft.fft_size, num_mels)
  basis = dct_basis(num_coefficients, num_mels)

  def analyse(audio):
    spectrum = stft.analyse(_signal(audio, rate_hz))
    mel = jnp.matmul(power(spectrum), filters.T, precision=_EXACT)
    level = decibels(mel)
    lowest = level.max((1, 2), keepdims=True) - top_db
    coefficients = jnp.matmul(
      jnp.maximum(level, lowest), basis.T, precision=_EXACT
    )
    return coefficients, _context(audio, spectrum)

  def magnitude(coefficients):
    level = jnp.matmul(coefficients, basis, precision=_EXACT)
    spectrum = mel_to_power(10 ** (level / 10), filters)
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
  """Returns an array that has nothing but the audio's shape to tell."""
  return jnp.zeros_like(audio)


def _context(audio, spectrum):
  """Returns what rebuilding takes from the original: phases and length."""
  return jax.lax.stop_gradient(phasors(spectrum)), _like(audio)


def _inverses(magnitude_fn, stft, phase, num_iterations):
  """Returns `synthesise` and `invert` of features that are magnitudes."""

  def invert(features, context):
    original, like = context
    return _rebuild(magnitude_fn(features) * original, stft, like)

  def synthesise(features, context):
    _, like = context
    magnitude = magnitude_fn(features)
    found = griffin_lim(
      magnitude,
      stft,
      _num_samples(stft, like),
      start=fixed_phase(*magnitude.shape[1:]),
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
