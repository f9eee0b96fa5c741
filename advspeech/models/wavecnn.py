"""WaveCNN: the front end, then convolutions over all frames (Table 1)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech.models import frontend, layers

NUM_LAYERS = 6


class WaveCNN(frontend.OnFrontEnd, nn.Module):
  """Feed-forward classifier of raw audio; the paper's hypothetical model.

  Attributes:
    num_classes: Width of the logits.
    frontend: Unbound front end.
    hidden_features: Width of the dense layer before the logits.
  """

  num_classes: int
  frontend: frontend.FrontEnd
  hidden_features: int

  @nn.compact
  def __call__(self, audio: jax.Array, *, train: bool, valid=None):
    """Returns logits, [batch, num_classes] of at least float32.

    Args:
      audio: [batch, time] in [0, 1], whole frames.
      train: Whether batch norm uses this batch's statistics (and updates the
        running ones, collection 'batch_stats').
      valid: [batch], 1 on rows that count in them; None for all.
    """
    front = self.frontend
    x = front(audio, train=train, valid=valid)
    length, features, batch, frames = x.shape
    x = x.transpose(3, 0, 1, 2).reshape(frames * length, features, batch)
    for i in range(NUM_LAYERS):
      x = layers.conv_block(front.rematerialize)(
        features,
        front.norm,
        front.norm_momentum,
        front.norm_axis,
        front.dtype,
        front.precision,
        front.kernel_init,
        name=f'layer_{i}',
      )(x, train, valid)
    x = x.reshape(-1, batch).T
    dense = functools.partial(
      nn.Dense, dtype=front.dtype, precision=front.precision
    )
    hidden, last = layers.INITS[front.kernel_init], layers.INITS['glorot']
    x = dense(self.hidden_features, kernel_init=hidden, name='hidden')(x)
    x = dense(self.num_classes, kernel_init=last, name='logits')(nn.relu(x))
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
