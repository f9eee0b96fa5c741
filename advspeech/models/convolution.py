"""One-dimensional convolution in several exact forms, and which one is used.

Maps are [length, channels, rows], rows being frames or clips: every form is
then a product with a small matrix on the left and all rows, contiguous, on the
right. The forms give the same numbers up to rounding.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from advspeech import parallel

# What the choice goes by. On CPUs in float32: milliseconds a clip of six
# seconds (150 rows) for convolution, bias, pooling and ReLU / with the gradient
# to the input / with both gradients. 2 cores, JAX 0.12.0.1, 2026-11-24.
#
# features  length     direct              toeplitz            spectral
#     32       640     1.4/ 7.9/12.4       1.2/ 3.7/ 6.9 (10)
#     32       320    10.2/20.2/32.5      17.4/33.7/54.8 (40)   4.1/ 8.2/14.1
#     32       160     5.1/10.2/15.9       9.0/17.3/27.2 (40)   2.3/ 4.3/ 6.3
#     32        80     2.6/ 5.1/ 7.9       4.9/ 9.2/15.0 (40)   1.2/ 2.3/ 4.1
#     32        40                         1.5/ 4.0/ 5.3        0.6/ 1.3/ 1.6
#     32        20                         0.4/ 1.0/ 1.7        0.6/ 1.3/ 1.7
#      8       640     1.2/ 3.4/ 4.1       0.4/ 1.1/ 1.5 (10)
#      8       320     2.0/ 4.0/ 5.9                             0.8/ 2.0/ 2.2
#      8        80     0.6/ 1.3/ 1.9                             0.4/ 0.6/ 0.8
#      8        40                         0.2/ 0.4/ 0.7        0.2/ 0.4/ 0.4
#      8        20                         0.1/ 0.2/ 0.2        0.2/ 0.4/ 0.4
#
# (10) and (40) are outputs a block, otherwise the whole map. Direct on a map of
# 20, shorter than the kernel, takes 26 ms and its gradient 0.4 s.
_TOEPLITZ_MAX_LENGTH = 20
_ONE_CHANNEL_BLOCK = 10
# Rows whose map is this large are transformed at once: 150 of the paper's
# second layer, 6 MB, with spectra of 12 that a cache still holds.
_CHUNK_FLOATS = 320 * 32 * 150
# On matrix units: milliseconds of the same, 9,600 rows, forward / with both
# gradients, length 320. NVIDIA H200, JAX 0.11.2, 2026-11-27; in float32 and of
# other lengths nothing is measured.
#
#               direct      space to depth 2 / 4 / 8              spectral
#  bfloat16    1.5/ 4.3    0.86/2.3   0.88/1.9   0.81/2.1        2.3/6.9
#  TF32        4.0/14.5               1.3 /3.9   1.4 /4.8
#
# For TPUs by the compiler's estimate of the eight layers' training step, with
# what follows each convolution (v5e, bfloat16, 1,200 rows): 7.2 ms direct, 3.7
# in blocks of 8 and 4, 2.8 in blocks of 16 and 8, whose maxima fill 128 lanes.
#
# Samples in a block, of a map with many channels and of one with a single one.
_DEPTH = {'gpu': (4, 1), 'tpu': (8, 16)}


def conv1d_deep(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> tuple[jax.Array, int]:
  """Returns the convolution by the fastest form, as that leaves it, its depth.

  Where the depth is 1 that is [length, features, rows]; otherwise [length /
  depth, depth * features, rows], the even samples of a block before the odd
  ones. To bring it into the order of time costs a TPU more than the product.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products, on devices that have a choice.
  """
  form = choose(x.shape, kernel.shape, x.dtype, parallel.platform())
  block = form.depth
  if block == 1 or x.shape[0] % block:
    return form.function(x, kernel, precision), 1
  order = [*range(0, block, 2), *range(1, block, 2)]
  return _space_to_depth(x, kernel, precision, block, order), block


class Form(NamedTuple):
  """A form of the convolution.

  Attributes:
    function: Maps (x, kernel, precision) to `conv1d_direct`'s result.
    depth: Of the maps that suit it; see `conv1d_deep`.
  """

  function: Callable[..., jax.Array]
  depth: int = 1


def choose(
  x_shape: Sequence[int],
  kernel_shape: Sequence[int],
  dtype: Any,
  platform: str,
) -> Form:
  """Returns the fastest form for these shapes (see the tables above)."""
  length, channels, _ = x_shape
  size = kernel_shape[0]
  if platform == 'cpu' and dtype in (jnp.float32, jnp.float64):
    if length <= _TOEPLITZ_MAX_LENGTH:
      return Form(conv1d_toeplitz)
    if channels == 1:
      return Form(functools.partial(conv1d_toeplitz, block=_ONE_CHANNEL_BLOCK))
    return Form(conv1d_spectral)
  if length <= size:
    return Form(conv1d_toeplitz)
  depth = _DEPTH[platform][channels == 1] if platform in _DEPTH else 1
  if depth == 1:
    return Form(conv1d_direct)
  return Form(functools.partial(conv1d_space_to_depth, block=depth), depth)


def conv1d_direct(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
  """Returns the zero-padded ('same') correlation, [length, features, rows].

  As in TensorFlow and Keras an even kernel reaches one sample further to the
  right: `(k - 1) // 2` zeros before, `k // 2` after. By XLA's convolution.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products, on devices that have a choice.
  """
  size = kernel.shape[0]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1,),
    padding=[((size - 1) // 2, size // 2)],
    dimension_numbers=('WCN', 'WIO', 'WCN'),
    precision=precision,
  )


def conv1d_toeplitz(
  x: jax.Array,
  kernel: jax.Array,
  precision: lax.Precision | None = None,
  *,
  block: int | None = None,
) -> jax.Array:
  """Returns `conv1d_direct` as products with a banded matrix of the kernel.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Outputs a product; None for the whole map at once, where the matrix
      leaves out what would meet padding.
  """
  length, channels, rows = x.shape
  size, _, features = kernel.shape
  before = (size - 1) // 2
  if block is None:
    block, seen, first = length, x[None], 0
  else:
    parts = -(-(block + size - 1) // block)
    seen = jnp.concatenate(_windows(x, block, parts, before), axis=1)
    first = -before
  num_blocks, reach = seen.shape[:2]
  # Output o sees input i through this tap.
  tap = np.arange(reach)[:, None] + first - np.arange(block) + before
  inside = (tap >= 0) & (tap < size)
  banded = jnp.where(
    inside[..., None, None], kernel[np.clip(tap, 0, size - 1)], 0
  )
  out = jnp.einsum(
    'ij,nir->njr',
    banded.transpose(0, 2, 1, 3).reshape(reach * channels, block * features),
    seen.reshape(num_blocks, reach * channels, rows),
    precision=precision,
  )
  return out.reshape(-1, features, rows)[:length]


def conv1d_space_to_depth(
  x: jax.Array,
  kernel: jax.Array,
  precision: lax.Precision | None = None,
  *,
  block: int,
) -> jax.Array:
  """Returns `conv1d_direct` by XLA's convolution, of blocks of samples.

  Matrix units are 128 columns wide, or want as much to be busy, and a map has
  32 features. `block` samples in a row become one of `block` times as many
  channels, a reshape; the kernel, spread to as many features, is shorter by as
  much, and `block - 1` taps in `size` of it are zeros.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Samples that become channels.
  """
  length, _, rows = x.shape
  x = jnp.pad(x, [(0, -length % block), (0, 0), (0, 0)])
  out = _space_to_depth(x, kernel, precision, block, range(block))
  return out.reshape(-1, kernel.shape[2], rows)[:length]


def _space_to_depth(x, kernel, precision, block, order):
  """Returns [length / block, block * features, rows], samples in an order.

  Args:
    x: [length, channels, rows], whole blocks.
    kernel: [kernel_size, channels, features].
    precision: Of the products.
    block: Samples that become channels.
    order: Which sample of its block each of the outputs is.
  """
  size, channels, features = kernel.shape
  before = (size - 1) // 2
  # Blocks that the first output of a block sees on its left, and the last one
  # on its right.
  left, right = (
    (reach + block - 1) // block for reach in (before, size - 1 - before)
  )
  # Sample i of seen block m meets output j of its block through this tap.
  m = np.arange(left + right + 1)[:, None, None] - left
  i, j = np.arange(block)[:, None], np.asarray(order)
  tap = m * block + i - j + before
  inside = (tap >= 0) & (tap < size)
  spread = jnp.where(
    inside[..., None, None], kernel[np.clip(tap, 0, size - 1)], 0
  )
  return lax.conv_general_dilated(
    x.reshape(-1, block * channels, x.shape[2]),
    spread.transpose(0, 1, 3, 2, 4).reshape(
      len(tap), block * channels, block * features
    ),
    window_strides=(1,),
    padding=[(left, right)],
    dimension_numbers=('WCN', 'WIO', 'WCN'),
    precision=precision,
  )


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
  turned = kernel[::-1].transpose(0, 2, 1)
  x_gradient = _spectral(cotangent, turned, size // 2, precision)
  chunk = _rows_at_once(x.shape)

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
  a, b = _windows(x, tile, 2, before)
  num_tiles = a.shape[0]
  halves = jnp.stack([a + b, a - b]).transpose(0, 2, 3, 1, 4)
  spectrum = jnp.einsum(
    'hki,hicr->hkcr',
    forward,
    halves.reshape(2, tile, channels, num_tiles * rows),
    precision=precision,
  )
  out = jnp.einsum(
    'kcf,kcr->kfr',
    _spectral_kernel(kernel, forward),
    spectrum.reshape(tile, 2 * channels, -1),
    precision=precision,
  )
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
  inverse *= 2
  # Bins 0 and `tile` take the place of the first pair.
  alternating = (-1.0) ** sample
  forward[0, 0] = np.ones(tile), alternating
  inverse[:, 0, 0] = np.stack([np.ones(tile), alternating], -1)
  return (
    forward.reshape(2, tile, tile),
    (inverse / (2 * tile)).reshape(tile, 2 * tile),
  )


def _windows(x, block, num_parts, before):
  """Returns the parts of overlapping windows, [num_blocks, block, ...] each.

  Window n is part 0 to part `num_parts - 1` of block n, starting `before`
  samples left of output `n * block`; samples outside `x` are zero.
  """
  length = x.shape[0]
  num_blocks = -(-length // block)
  after = (num_blocks + num_parts - 1) * block - length - before
  # Windows may end before the map does when the kernel is short.
  padding = [(before, max(after, 0)), (0, 0), (0, 0)]
  blocks = jnp.pad(x, padding)[: (num_blocks + num_parts - 1) * block]
  blocks = blocks.reshape(-1, block, *x.shape[1:])
  return [blocks[part : part + num_blocks] for part in range(num_parts)]
