"""WaveRNN: the front end, then an LSTM over the frames (Table 1)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech.models import frontend

GATE_INITS = ('constant', 'chrono')


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


class TanhCell(nn.Module):
  """One step of the plain RNN of eq. 8, s_t = tanh(U x_t + W s_{t-1}).

  Attributes are `LSTMCell`'s.
  """

  features: int
  dtype: Any = jnp.float32
  precision: jax.lax.Precision | None = None

  @nn.compact
  def __call__(self, carry, projected: jax.Array):
    """Returns (state, state) for projected [batch, features]."""
    state = jnp.tanh(
      projected
      + nn.Dense(
        self.features,
        use_bias=False,
        kernel_init=nn.initializers.orthogonal(),
        dtype=self.dtype,
        precision=self.precision,
        name='recurrent',
      )(carry)
    )
    return state, state


def _constant_bias(forget_bias):
  """Returns an initialiser of the gates' biases: zero but the forget gate's."""

  def init(key, shape, dtype=jnp.float32):
    del key
    gates = jnp.zeros((4, shape[0] // 4), dtype).at[1].set(forget_bias)
    return gates.reshape(shape)

  return init


def _chrono_bias(num_frames):
  """Returns an initialiser that spreads what units remember over a clip.

  A unit whose forget gate is 1 - 1/n on its own remembers for n frames: n is
  drawn between 2 and the clip's, and the input gate's bias is the opposite one
  (Tallec & Ollivier 2018, section 2.2).
  """

  def init(key, shape, dtype=jnp.float32):
    units = shape[0] // 4
    longest = max(num_frames - 1.0, 1.0)
    memory = jax.random.uniform(key, (units,), dtype, 1.0, longest)
    forget, zeros = jnp.log(memory), jnp.zeros(units, dtype)
    return jnp.concatenate([-forget, forget, zeros, zeros])

  return init


class WaveRNN(frontend.OnFrontEnd, nn.Module):
  """Recurrent classifier of raw audio (Trigeorgis et al. 2016).

  Attributes:
    num_classes: Width of the logits.
    frontend: Unbound front end.
    hidden_features: Units.
    forget_bias: Initial bias of the forget gate; 1 in Keras, 0 in Flax.
    gate_init: Of the gates' biases, one of `GATE_INITS`: 'constant' is
      `forget_bias`, 'chrono' makes units remember from one frame to the clip
      that the model is initialised on.
    cell: 'lstm', or 'tanh', the plain RNN of eq. 8.
  """

  num_classes: int
  frontend: frontend.FrontEnd
  hidden_features: int
  forget_bias: float
  gate_init: str = 'constant'
  cell: str = 'lstm'

  @nn.compact
  def __call__(self, audio: jax.Array, *, train: bool, valid=None):
    """Returns logits, [batch, num_classes] of at least float32.

    Args:
      audio: [batch, time] in [0, 1], whole frames.
      train: Whether batch norm uses this batch's statistics (and updates the
        running ones, collection 'batch_stats').
      valid: [batch], 1 on rows that count in them; None for all.
    """
    dtype, precision = self.frontend.dtype, self.frontend.precision
    x = self.frontend(audio, train=train, valid=valid)
    x = x.reshape(-1, *x.shape[2:]).transpose(1, 2, 0)
    lstm = self.cell == 'lstm'
    bias_init = nn.initializers.zeros
    if lstm and self.gate_init == 'chrono':
      bias_init = _chrono_bias(x.shape[1])
    elif lstm:
      bias_init = _constant_bias(self.forget_bias)
    # Every frame's input projection at once; the scan is left with h's.
    projected = nn.Dense(
      self.hidden_features * (4 if lstm else 1),
      kernel_init=nn.initializers.glorot_uniform(),
      bias_init=bias_init,
      dtype=dtype,
      precision=precision,
      name='input',
    )(x)
    cell = nn.scan(
      LSTMCell if lstm else TanhCell,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=1,
      out_axes=1,
    )(self.hidden_features, dtype, precision, name=self.cell)
    zeros = jnp.zeros((x.shape[0], self.hidden_features), dtype)
    carry, _ = cell((zeros, zeros) if lstm else zeros, projected)
    x = nn.Dense(
      self.num_classes,
      kernel_init=nn.initializers.glorot_uniform(),
      dtype=dtype,
      precision=precision,
      name='logits',
    )(carry[1] if lstm else carry)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Recurrence(NamedTuple):
  """The recurrent part of a WaveRNN with one clip's frames put in.

  Attributes:
    step_fn: Maps (state [size], projected input [width]) to the next state.
    initial: [size] zeros; an LSTM's state is its cell, then its hidden state.
    inputs: [frames, width] the input projection of every frame.
    forget_fn: Maps (state, projected input) to the forget gate [units]; None
      for the tanh cell.
  """

  step_fn: Callable[[jax.Array, jax.Array], jax.Array]
  initial: jax.Array
  inputs: jax.Array
  forget_fn: Callable[[jax.Array, jax.Array], jax.Array] | None


def recurrence(
  model: WaveRNN, variables: dict[str, Any], clip: jax.Array
) -> Recurrence:
  """Returns the recurrent part alone, as the model runs it on one clip.

  Args:
    model: Unbound module.
    variables: Its parameters and running statistics.
    clip: [time] in [0, 1].
  """
  # Taken from the model's own run: nothing before the recurrence is written a
  # second time here.
  _, captured = model.apply(
    variables,
    clip[None],
    train=False,
    capture_intermediates=lambda module, _: module.name == 'input',
    mutable=['intermediates'],
  )
  inputs = captured['intermediates']['input']['__call__'][0][0]
  front, units = model.frontend, model.hidden_features
  lstm = model.cell == 'lstm'
  kind = LSTMCell if lstm else TanhCell
  cell = kind(units, front.dtype, front.precision)
  params = {'params': variables['params'][model.cell]}

  # A step is one function of one vector, whatever the kind: Jacobians of it are
  # square, and compose.
  def step_fn(state, projected):
    carry = tuple(jnp.split(state[None], 2, -1)) if lstm else state[None]
    carry, _ = cell.apply(params, carry, projected[None])
    return jnp.concatenate(carry, -1)[0] if lstm else carry[0]

  def forget_fn(state, projected):
    recurrent = params['params']['recurrent']['kernel']
    gates = projected + jnp.matmul(
      state[units:],
      recurrent.astype(front.dtype),
      precision=front.precision,
    )
    return nn.sigmoid(gates[units : 2 * units])

  initial = jnp.zeros(units * (2 if lstm else 1), front.dtype)
  return Recurrence(step_fn, initial, inputs, forget_fn if lstm else None)
