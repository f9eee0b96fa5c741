"""The convolution by Fourier transforms over tiles of the length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from advspeech.models.convolution.windows import windows

# Rows whose map is this large are transformed at once: 150 of the paper's
# second layer, 6 MB, with spectra of 12 that a cache still holds.
_CHUNK_FLOATS = 320 * 32 * 150


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv1d_spectral(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
  """Returns `conv1d_direct` by Fourier transforms over tiles of the length.

  Overlap-save: `t` outputs see `2 t` inputs, in two halves a and b, where t is
  the kernel's size made even. Of the 2 t real numbers of their transform the
  even bins are a t by t product with a + b, the odd bins one with a - b; bins
  0 and t, which are real, share the place of one complex bin. Products with a
  dense transform suit the channels better than an FFT: they are as wide as all
  channels and rows. A tile takes under a quarter of the direct form's
  operations when there are many channels.

  Spectra are twice the size of what they are made of, so rows are taken a few
  at a time. The gradient to `x` is taken as what it is, a convolution with the
  kernel turned round, for which JAX would run every step backwards.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products.
  """
  return _spectral(x, kernel, (kernel.shape[0] - 1) // 2, precision)


def _spectral_forward(x, kernel, precision):
  return conv1d_spectral(x, kernel, precision), (x, kernel)


def _spectral_backward(precision, saved, cotangent):
  x, kernel = saved
  size = kernel.shape[0]
  # An even kernel reaches one sample further to the right, and turned round
  # one further to the left.
  turned = kernel[::-1].transpose(0, 2, 1)
  x_gradient = _spectral(cotangent, turned, size // 2, precision)
  chunk = _rows_at_once(x.shape)

  # Spectra are computed again, a chunk at a time: those of all rows would be
  # several times as large as the map that is saved instead.
  def add(i, total):
    _, pull_back = jax.vjp(
      lambda kernel: _spectral_rows(
        _rows(x, i, chunk), kernel, (size - 1) // 2, precision
      ),
      kernel,
    )
    return total + pull_back(_rows(cotangent, i, chunk))[0]

  kernel_gradient = lax.fori_loop(
    0, x.shape[2] // chunk, add, jnp.zeros_like(kernel)
  )
  return x_gradient, kernel_gradient


conv1d_spectral.defvjp(_spectral_forward, _spectral_backward)


def _rows_at_once(shape):
  """Returns the rows of a chunk, a divisor of all rows."""
  length, channels, rows = shape
  most = max(1, _CHUNK_FLOATS // (length * channels))
  return max(n for n in range(1, min(most, rows) + 1) if rows % n == 0)


def _rows(x, i, chunk):
  return lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=2)


def _spectral(x, kernel, before, precision):
  """Returns `conv1d_spectral` with `before` zeros before the first sample."""
  chunk = _rows_at_once(x.shape)
  if chunk == x.shape[2]:
    return _spectral_rows(x, kernel, before, precision)

  def put(i, out):
    part = _spectral_rows(_rows(x, i, chunk), kernel, before, precision)
    return lax.dynamic_update_slice_in_dim(out, part, i * chunk, axis=2)

  out = jnp.zeros((x.shape[0], kernel.shape[2], x.shape[2]), x.dtype)
  return lax.fori_loop(0, x.shape[2] // chunk, put, out)


def _spectral_rows(x, kernel, before, precision):
  length, channels, rows = x.shape
  size, _, features = kernel.shape
  tile = size + size % 2
  forward, inverse = (matrix.astype(x.dtype) for matrix in _transforms(tile))
  a, b = windows(x, tile, 2, before)
  num_tiles = a.shape[0]
  # Bin k of a window of two halves is that of a + (-1)^k b: a transform half
  # as long. Tiles stand beside rows, so that one product serves all of them.
  halves = jnp.stack([a + b, a - b]).transpose(0, 2, 3, 1, 4)
  spectrum = jnp.einsum(
    'hki,hicr->hkcr',
    forward,
    halves.reshape(2, tile, channels, num_tiles * rows),
    precision=precision,
  )
  # A bin's real and imaginary parts are channels like any other: the complex
  # product is a real one, a matrix for each bin.
  out = jnp.einsum(
    'kcf,kcr->kfr',
    _spectral_kernel(kernel, forward),
    spectrum.reshape(tile, 2 * channels, -1),
    precision=precision,
  )
  # The first half alone: in the second the window's end meets its beginning.
  out = jnp.einsum(
    'ik,kfr->ifr',
    inverse,
    out.reshape(2 * tile, features, -1),
    precision=precision,
  )
  out = out.reshape(tile, features, num_tiles, rows).transpose(2, 0, 1, 3)
  return out.reshape(-1, features, rows)[:length]


def _spectral_kernel(kernel, forward):
  """Returns [tile, 2 * channels, 2 * features]: the product in every bin.

  A correlation multiplies by the conjugate of the kernel's transform; written
  on (real, imaginary) pairs. The first bin holds two real ones.
  """
  size, channels, features = kernel.shape
  tile = forward.shape[1]
  # In full precision, whatever that of the data: the kernel is small, and its
  # rounding would be the same in every row.
  transform = jnp.einsum(
    'hki,icf->hkcf',
    forward[:, :, :size],
    kernel,
    precision=lax.Precision.HIGHEST,
  )
  transform = transform.reshape(tile, 2, channels, features)
  real, imaginary = transform[:, 0], transform[:, 1]
  zero = jnp.zeros_like(real[:1])
  rest = jnp.stack(
    [
      jnp.stack([real[1:], -imaginary[1:]], 2),
      jnp.stack([imaginary[1:], real[1:]], 2),
    ],
    1,
  )
  first = jnp.stack(
    [jnp.stack([real[:1], zero], 2), jnp.stack([zero, imaginary[:1]], 2)], 1
  )
  return jnp.concatenate([first, rest]).reshape(tile, 2 * channels, -1)


@functools.cache
def _transforms(tile):
  """Returns the transforms of `conv1d_spectral`, float64.

  Returns:
    [2, tile, tile] from a + b to the even bins and from a - b to the odd ones,
    and [tile, 2 * tile] back to the first half of the window. Bins lie as
    (half, pair, real or imaginary).
  """
  sample = np.arange(tile)
  forward = np.zeros((2, tile // 2, 2, tile))
  inverse = np.zeros((tile, 2, tile // 2, 2))
  for half in range(2):
    for pair in range(tile // 2):
      angle = np.pi * (2 * pair + half) * sample / tile
      forward[half, pair] = np.cos(angle), -np.sin(angle)
      inverse[:, half, pair] = np.stack([np.cos(angle), -np.sin(angle)], -1)
  # A bin stands for its conjugate as well, but for 0 and `tile`, which are real
  # and take the place of the first pair.
  inverse *= 2
  alternating = (-1.0) ** sample
  forward[0, 0] = np.ones(tile), alternating
  inverse[:, 0, 0] = np.stack([np.ones(tile), alternating], -1)
  return (
    forward.reshape(2, tile, tile),
    (inverse / (2 * tile)).reshape(tile, 2 * tile),
  )
