"""WaveRNN: the front end, then an LSTM over the frames (Table 1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech.models import frontend


class LSTMCell(nn.Module):
  """One step of an LSTM whose input projection was made beforehand.

  Gates in Keras's order (input, forget, cell, output), sigmoid and tanh.

  Attributes:
    features: Units.
    dtype: Type of the computation.
    precision: Of its products.
  """

  features: int
  dtype: Any = jnp.float32
  precision: jax.lax.Precision | None = None

  @nn.compact
  def __call__(self, carry, projected: jax.Array):
    """Returns ((cell, hidden), hidden) for projected [batch, 4 * features]."""
    cell, hidden = carry
    gates = projected + nn.Dense(
      4 * self.features,
      use_bias=False,
      kernel_init=nn.initializers.orthogonal(),
      dtype=self.dtype,
      precision=self.precision,
      name='recurrent',
    )(hidden)
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
    hidden = nn.sigmoid(o) * jnp.tanh(cell)
    return (cell, hidden), hidden


def _gate_bias(forget_bias):
  def init(key, shape, dtype=jnp.float32):
    del key
    gates = jnp.zeros((4, shape[0] // 4), dtype).at[1].set(forget_bias)
    return gates.reshape(shape)

  return init


class WaveRNN(nn.Module):
  """Recurrent classifier of raw audio (Trigeorgis et al. 2016).

  Attributes:
    num_classes: Width of the logits.
    frontend: Unbound front end.
    hidden_features: LSTM units.
    forget_bias: Initial bias of the forget gate; 1 in Keras, 0 in Flax.
  """

  num_classes: int
  frontend: frontend.FrontEnd
  hidden_features: int
  forget_bias: float

  @nn.compact
  def __call__(self, audio: jax.Array, *, train: bool, valid=None):
    """Returns logits, [batch, num_classes] float32.

    Args:
      audio: [batch, time] in [0, 1], whole frames.
      train: Whether batch norm uses this batch's statistics (and updates the
        running ones, collection 'batch_stats').
      valid: [batch], 1 on rows that count in them; None for all.
    """
    dtype, precision = self.frontend.dtype, self.frontend.precision
    x = self.frontend(audio, train=train, valid=valid)
    x = x.reshape(-1, *x.shape[2:]).transpose(1, 2, 0)
    # Every frame's input projection at once; the scan is left with h's.
    projected = nn.Dense(
      4 * self.hidden_features,
      kernel_init=nn.initializers.glorot_uniform(),
      bias_init=_gate_bias(self.forget_bias),
      dtype=dtype,
      precision=precision,
      name='input',
    )(x)
    lstm = nn.scan(
      LSTMCell,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=1,
      out_axes=1,
    )(self.hidden_features, dtype, precision, name='lstm')
    zeros = jnp.zeros((x.shape[0], self.hidden_features), dtype)
    (_, hidden), _ = lstm((zeros, zeros), projected)
    x = nn.Dense(
      self.num_classes,
      kernel_init=nn.initializers.glorot_uniform(),
      dtype=dtype,
      precision=precision,
      name='logits',
    )(hidden)
    return x.astype(jnp.float32)
