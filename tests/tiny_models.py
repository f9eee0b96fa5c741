"""The smallest model that learns anything: for tests of what is around one.

In a config: `tests.tiny_models:TinyModel`.
"""

import flax.linen as nn
import jax


class TinyModel(nn.Module):
  """One strided convolution, its mean over time, and a dense layer.

  Attributes:
    num_classes: Width of the logits.
    width: Feature maps.
    dropout: Share of them dropped in training.
  """

  num_classes: int
  width: int = 8
  dropout: float = 0.0
  title = 'Tiny model'

  @nn.compact
  def __call__(self, audio: jax.Array, *, train: bool, valid=None):
    """Returns logits [batch, num_classes] for audio [batch, time]."""
    del valid  # a row does not depend on the others
    x = nn.Conv(self.width, [16], strides=8, name='conv')(
      10 * (audio[..., None] - 0.5)  # speech is quiet
    )
    x = nn.relu(x).mean(1)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(self.num_classes, name='logits')(x)
