"""Resemblyzer's speaker encoder (GE2E, Wan et al. 2018), differentiable.

The victim is `VoiceEncoder.embed_utterance` behind `normalize_volume`, which
`preprocess_wav` calls first: quiet clips are raised to -30 dBFS. The mel powers
have no logarithm, so level matters to it, and both are differentiated. What
`preprocess_wav` does after that, dropping what webrtcvad takes for silence, is
no part of it: those decisions have no gradient and are made in C. The level is
therefore that of the whole recording, as there, and pauses stay in.
"""

import jax
import jax.numpy as jnp

from advspeech import features
from advspeech.embedders import resemblyzer_weights

DIMENSION = 256
SAMPLE_RATE_HZ, SAMPLE_RANGE = 16_000, (-1.0, 1.0)
TITLE = 'Resemblyzer'
_STFT = features.Stft(
  rate_hz=SAMPLE_RATE_HZ, window_samples=400, hop_samples=160, fft_size=400
)
_HOP = _STFT.hop_samples
# A partial utterance, and how far the next begins: 1.3 a second.
_FRAMES, _FRAME_STEP = 160, 77
# The last one is left out with less than three quarters of it recorded.
_LEAST_RECORDED = _FRAMES * _HOP * 3 // 4
_LEVEL = 10 ** (-30 / 20)
_EXACT = jax.lax.Precision.HIGHEST


def embed(
  weights: resemblyzer_weights.Weights, samples: jax.Array, mask: jax.Array
) -> jax.Array:
  """Returns embeddings of L2 norm 1, [batch, dimension].

  Args:
    weights: Learnt.
    samples: [batch, time] at 16 kHz in [-1, 1].
    mask: [batch, time], 1 on recorded samples, which follow each other; others
      are not heard.
  """
  begin = jnp.argmax(mask, -1)
  recorded = mask.sum(-1).astype(jnp.int32)
  signal = jax.vmap(jnp.roll)(samples * mask, -begin)
  signal = signal * _gain(signal, recorded)[:, None]
  mels = partial_mels(signal)
  batch, num_partials = mels.shape[:2]
  found = network(weights, mels.reshape(-1, *mels.shape[2:]))
  found = found.reshape(batch, num_partials, -1)
  is_there = jnp.arange(num_partials)[None] < _num_partials(recorded)[:, None]
  return _unit(jnp.where(is_there[..., None], found, 0).sum(1))


def _gain(signal, recorded):
  """Returns what raises clips to the level wanted, [batch]; 1 for loud ones."""
  power = jnp.sum(signal**2, -1) / jnp.maximum(recorded, 1)
  is_quiet = (power > 0) & (power < _LEVEL**2)
  return jnp.where(
    is_quiet, _LEVEL / jnp.sqrt(jnp.where(is_quiet, power, 1)), 1
  )


def partial_mels(signal: jax.Array) -> jax.Array:
  """Returns mel powers of partial utterances, [batch, partials, frames, mels].

  Of as many as a recording of the clips' full length can have.

  Args:
    signal: [batch, time].
  """
  time = signal.shape[-1]
  num = -(-max(1, _first_unused(time)) // _FRAME_STEP)
  starts = [i * _FRAME_STEP for i in range(num)]
  missing = max(0, (starts[-1] + _FRAMES) * _HOP - time)
  spectrum = _STFT.analyse(jnp.pad(signal, ((0, 0), (0, missing))))
  filters = features.mel_filters(
    SAMPLE_RATE_HZ, _STFT.fft_size, resemblyzer_weights.NUM_MELS
  )
  mels = jnp.matmul(features.power(spectrum), filters.T, precision=_EXACT)
  return jnp.stack([mels[:, i : i + _FRAMES] for i in starts], 1)


def _first_unused(num_samples):
  """Returns the frame before which partials of a recording begin, if any."""
  return num_samples // _HOP + 1 - _FRAMES + _FRAME_STEP + 1


def _num_partials(recorded):
  """Returns how many partials recordings of such lengths have, [batch]."""
  num = -(-jnp.maximum(1, _first_unused(recorded)) // _FRAME_STEP)
  in_last = recorded - (num - 1) * _FRAME_STEP * _HOP
  return num - ((in_last < _LEAST_RECORDED) & (num > 1))


def network(weights: resemblyzer_weights.Weights, mels: jax.Array) -> jax.Array:
  """Returns embeddings of partial utterances of L2 norm 1, [batch, dimension].

  Args:
    weights: Learnt.
    mels: [batch, frames, mels] powers.
  """
  x = mels.transpose(1, 0, 2)
  for layer in weights.layers:
    x = _lstm(layer, x)
  dense = jnp.matmul(x[-1], weights.kernel, precision=_EXACT)
  return _unit(jax.nn.relu(dense + weights.bias[None]))


def _lstm(layer, inputs):
  """Returns the states of an LSTM layer, [frames, batch, units]."""
  projected = jnp.matmul(inputs, layer.input, precision=_EXACT)
  projected = projected + layer.bias[None, None]

  def step(carry, at_frame):
    cell, state = carry
    gates = at_frame + jnp.matmul(state, layer.recurrent, precision=_EXACT)
    put, forget, new, out = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(put) * jnp.tanh(new)
    state = jax.nn.sigmoid(out) * jnp.tanh(cell)
    return (cell, state), state

  start = jnp.zeros((inputs.shape[1], layer.recurrent.shape[0]), inputs.dtype)
  return jax.lax.scan(step, (start, start), projected)[1]


def _unit(x):
  """Returns x over its L2 norm, 0 for 0, whose gradient is 0 too."""
  square = jnp.sum(x * x, -1, keepdims=True)
  is_zero = square == 0
  return jnp.where(is_zero, 0, x / jnp.sqrt(jnp.where(is_zero, 1, square)))
