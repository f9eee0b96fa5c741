"""Which form of the convolution is the fastest, by measured tables."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from advspeech import parallel
from advspeech.models.convolution.direct import conv1d_direct
from advspeech.models.convolution.space_to_depth import (
  blocks_to_depth,
  conv1d_space_to_depth,
)
from advspeech.models.convolution.spectral import conv1d_spectral
from advspeech.models.convolution.toeplitz import conv1d_toeplitz

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
  # A map that is no whole number of blocks would end in samples of padding,
  # which pooling in blocks cannot leave out.
  if block == 1 or x.shape[0] % block:
    return form.function(x, kernel, precision), 1
  # Pooling pairs an even sample with the odd one behind it: each in a half of
  # the channels of its own, the maximum is taken without moving a sample.
  order = [*range(0, block, 2), *range(1, block, 2)]
  return blocks_to_depth(x, kernel, precision, block, order), block


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
