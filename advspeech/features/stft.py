"""A short-time Fourier transform and its inverse, differentiable at silence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio as audio_lib

WINDOW_MS, HOP_MS = 25, 10
RATES_HZ = (8_000, 16_000)
# The smallest power that has a logarithm of its own (librosa's `amin`): -140 dB
# below the bin of a sine at full scale, 20 dB below 16-bit rounding noise.
POWER_FLOOR = 1e-10


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
