"""Mel powers, their cosine transform, and a power spectrum that has them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Nothing is divided by less, whose square float32 could not hold either.
_SMALLEST_IMAGE = 1e-16
# A bin that shrank to nothing would have an endless gradient, times nothing.
_SMALLEST_POWER = 1e-16
EXACT = jax.lax.Precision.HIGHEST


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
  target = jnp.matmul(mel, filters, precision=EXACT)
  start = jnp.maximum(target / np.where(heard > 0, heard, 1), _SMALLEST_POWER)

  @jax.checkpoint  # all of a step's arrays kept would be gigabytes
  def step(spectrum, _):
    image = jnp.matmul(spectrum, filters.T, precision=EXACT)
    image = jnp.matmul(image, filters, precision=EXACT)
    spectrum = spectrum * (target / jnp.maximum(image, _SMALLEST_IMAGE))
    return jnp.maximum(spectrum, _SMALLEST_POWER), None

  spectrum, _ = jax.lax.scan(step, start, None, num_iterations)
  return jnp.where(heard > 0, spectrum, 0)
