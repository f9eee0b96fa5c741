"""Convolution, batch norm, ReLU and max pool (Table 1), in one block."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from advspeech.models import convolution
from advspeech.models.batch_norm import BatchNorm
from advspeech.models.pooling import max_pool, per_channel

KERNEL_SIZE = 40
# How kernels in front of a ReLU begin: 'glorot' (Glorot & Bengio 2010; Keras's)
# halves the variance of a map at every layer, 'he' (He et al. 2015) leaves it.
INITS = {
  'glorot': nn.initializers.glorot_uniform(),
  'he': nn.initializers.he_normal(),
}


class ConvBlock(nn.Module):
  """Convolution, optional batch norm, ReLU, max pool (Table 1).

  Pooled first, which is the same function; see `BatchNorm`.

  Attributes:
    features: Number of feature maps.
    norm: 'batch' (no bias before it) or 'none'.
    norm_momentum: Decay of the running statistics.
    norm_axis: See `BatchNorm.axis`.
    dtype: Type of the computation; parameters stay float32.
    precision: Of the convolution's products.
    kernel_init: One of `INITS`.
  """

  features: int
  norm: str
  norm_momentum: float
  norm_axis: str | None = None
  dtype: Any = jnp.float32
  precision: lax.Precision | None = None
  kernel_init: str = 'glorot'

  @nn.compact
  def __call__(self, x: jax.Array, train: bool, valid: jax.Array | None):
    """Returns [ceil(length / 2), features, rows].

    Args:
      x: [length, channels, rows].
      train: Whether batch norm uses this batch's statistics.
      valid: [rows], 1 on rows that count in them; None for all.
    """
    kernel = self.param(
      'kernel',
      INITS[self.kernel_init],
      (KERNEL_SIZE, x.shape[1], self.features),
    )
    x, depth = convolution.conv1d_deep(
      x.astype(self.dtype), kernel.astype(self.dtype), self.precision
    )
    if self.norm == 'batch':
      norm = BatchNorm(self.norm_momentum, self.norm_axis, name='norm')
      return norm(x, train=train, valid=valid, depth=depth)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    x = max_pool(x, depth=depth)
    return nn.relu(x + per_channel(bias.astype(self.dtype), x))


def conv_block(rematerialize: bool) -> type[ConvBlock]:
  """Returns `ConvBlock`, or one that keeps nothing but its input.

  The latter computes its maps anew for the gradient: less memory, more time.
  """
  if not rematerialize:
    return ConvBlock
  return nn.remat(ConvBlock, static_argnums=(2,))
