"""WaveCNN and WaveRNN again, in plain NumPy and float64, with their gradient.

Written from Table 1 without looking at a framework: sliding windows, explicit
loops over layers and frames, and the chain rule by hand. Batch norm uses the
running statistics, as when attacking.
"""

import numpy as np

FRAME_SAMPLES = 640
BATCH_NORM_EPSILON = 1e-5


def conv(x, kernel):
  """X [n, length, c], kernel [k, c, f]; returns y and the gradient to x."""
  size = kernel.shape[0]
  before, after = (size - 1) // 2, size // 2
  padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)
  y = np.einsum('nlck,kcf->nlf', windows, kernel, optimize=True)

  def backward(dy):
    length = x.shape[1]
    spread = np.einsum('nlf,kcf->nlkc', dy, kernel, optimize=True)
    dx = np.zeros_like(padded)
    for k in range(size):
      dx[:, k : k + length] += spread[:, :, k]
    return dx[:, before : before + length]

  return y, backward


def pool(x):
  """Maximum over pairs; a last odd sample stands alone; ties to the first."""
  length = x.shape[1]
  if length % 2:
    x = np.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=-np.inf)
  pairs = x.reshape(x.shape[0], -1, 2, x.shape[2])
  winner = np.argmax(pairs, axis=2)[:, :, None]
  y = np.take_along_axis(pairs, winner, axis=2)[:, :, 0]

  def backward(dy):
    dpairs = np.zeros_like(pairs)
    np.put_along_axis(dpairs, winner, dy[:, :, None], axis=2)
    return dpairs.reshape(x.shape)[:, :length]

  return y, backward


def block(x, params, stats):
  """Convolution, batch norm or bias, ReLU, pool."""
  y, conv_back = conv(x, params['kernel'])
  if 'norm' in params:
    scale = params['norm']['scale'] / np.sqrt(
      stats['norm']['var'] + BATCH_NORM_EPSILON
    )
    y = (y - stats['norm']['mean']) * scale + params['norm']['bias']
  else:
    scale, y = 1.0, y + params['bias']
  active = y > 0
  y, pool_back = pool(np.maximum(y, 0))
  return y, lambda dy: conv_back(pool_back(dy) * active * scale)


def blocks(x, params, stats, count):
  backs = []
  for i in range(count):
    name = f'layer_{i}'
    x, back = block(x, params[name], stats.get(name))
    backs.append(back)

  def backward(dy):
    for back in reversed(backs):
      dy = back(dy)
    return dy

  return x, backward


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def lstm(x, params):
  """X [batch, frames, inputs]; returns the last hidden state, its gradient."""
  kernel, bias = params['input']['kernel'], params['input']['bias']
  recurrent = params['lstm']['recurrent']['kernel']
  units = recurrent.shape[0]
  h = c = np.zeros((x.shape[0], units))
  tape = []
  for t in range(x.shape[1]):
    z = x[:, t] @ kernel + bias + h @ recurrent
    i, f, o = (sigmoid(z[:, k * units : (k + 1) * units]) for k in (0, 1, 3))
    g = np.tanh(z[:, 2 * units : 3 * units])
    previous, c = c, f * c + i * g
    h = o * np.tanh(c)
    tape.append((i, f, g, o, previous, c))

  def backward(dh):
    dx, dc = np.zeros_like(x), np.zeros_like(dh)
    for t in reversed(range(x.shape[1])):
      i, f, g, o, previous, c = tape[t]
      dc = dc + dh * o * (1 - np.tanh(c) ** 2)
      dz = np.concatenate(
        [
          dc * g * i * (1 - i),
          dc * previous * f * (1 - f),
          dc * i * (1 - g**2),
          dh * np.tanh(c) * o * (1 - o),
        ],
        axis=1,
      )
      dx[:, t] = dz @ kernel.T
      dh, dc = dz @ recurrent.T, dc * f
    return dx

  return h, backward


def run(
  audio,
  variables,
  *,
  recurrent,
  input_pool=1,
  center_input=True,
  input_gain=1.0,
):
  """Returns logits and a function from their gradient to the audio's."""
  params, stats = variables['params'], variables.get('batch_stats', {})
  batch, time = audio.shape
  frames = time // FRAME_SAMPLES
  x = (audio - 0.5 if center_input else audio) * input_gain
  x = x.reshape(batch * frames, -1, input_pool).mean(-1)[..., None]
  x, front_back = blocks(x, params['frontend'], stats.get('frontend', {}), 8)
  front_shape = x.shape
  if recurrent:
    x, middle_back = lstm(x.reshape(batch, frames, -1), params)
  else:
    x = x.reshape(batch, -1, x.shape[-1])
    x, back = blocks(x, params, stats, 6)
    tail_shape = x.shape
    hidden = (
      x.reshape(batch, -1) @ params['hidden']['kernel']
      + params['hidden']['bias']
    )
    x = np.maximum(hidden, 0)

    def middle_back(dy):
      dy = (dy * (hidden > 0)) @ params['hidden']['kernel'].T
      return back(dy.reshape(tail_shape))

  logits = x @ params['logits']['kernel'] + params['logits']['bias']

  def backward(dlogits):
    dx = middle_back(dlogits @ params['logits']['kernel'].T)
    dx = front_back(dx.reshape(front_shape))[..., 0]
    dx = np.repeat(dx, input_pool, axis=1).reshape(batch, time)
    return dx * input_gain / input_pool

  return logits, backward


def cross_entropy_gradient(logits, label):
  """Gradient of the sum of cross entropies with respect to logits."""
  shifted = np.exp(logits - logits.max(-1, keepdims=True))
  probs = shifted / shifted.sum(-1, keepdims=True)
  probs[np.arange(len(label)), label] -= 1
  return probs
