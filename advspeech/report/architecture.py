"""Table 1 of the paper as it was built, from a model's record alone."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from advspeech import registry
from advspeech.models import frontend, layers, wavecnn


class Group(NamedTuple):
  """Layers of a kind that follow each other.

  Attributes:
    what: In words.
    output: Shape of one clip after them.
    num_parameters: Trained in them.
  """

  what: str
  output: str
  num_parameters: int


def groups(summary: Mapping[str, Any]) -> list[Group]:
  """Returns a model's groups of layers, from the samples to the logits.

  Args:
    summary: Of `summary.json`: `model`, `clip_samples`, `sample_rate_hz`, and
      `num_parameters` of a model of the user's own, which is one group.
  """
  model = summary['model']
  if registry.is_own(model['name']):
    return [_own(model, summary['num_parameters'])]
  features, pool = model['features'], model['input_pool']
  frame = summary['sample_rate_hz'] * frontend.FRAME_MS // 1000
  frames = summary['clip_samples'] // frame
  length = frame // pool
  first, length_in_frame = _convolutions(
    model, frontend.NUM_LAYERS, 1, length, f'{frames} frames x '
  )
  result = [
    Group(
      f'Split into frames of {frontend.FRAME_MS} ms'
      + (', silence subtracted' if model['center_input'] else '')
      + (f', times {model["input_gain"]:g}' if model['input_gain'] != 1 else '')
      + (f', averaged by {pool}' if pool > 1 else ''),
      f'{frames} frames x {length} samples',
      0,
    ),
    first,
  ]
  units, classes = model['hidden_features'], model['num_classes']
  if model['name'] == 'wavecnn':
    back, left = _convolutions(
      model, wavecnn.NUM_LAYERS, features, frames * length_in_frame
    )
    flat = features * left
    result += [
      Group(
        'Frames joined in time',
        f'{frames * length_in_frame} x {features}',
        0,
      ),
      back,
      Group('Flattened', f'{flat}', 0),
      Group('Dense, ReLU', f'{units}', (flat + 1) * units),
    ]
  else:
    lstm = model['name'] != 'wavernn_tanh'
    gates = 4 * units if lstm else units
    inputs = features * length_in_frame
    result.append(
      Group(
        f'LSTM, {_gates(model)}, last state'
        if lstm
        else 'tanh RNN, last state',
        f'{units}',
        (inputs + 1) * gates + units * gates,
      )
    )
  result.append(Group('Dense, logits', f'{classes}', (units + 1) * classes))
  return result


def _gates(model):
  """Returns how the gates of an LSTM begin."""
  if model['gate_init'] == 'chrono':
    return 'chrono initialisation'
  return f'forget bias {model["forget_bias"]:g}'


def _own(model, num_parameters):
  """Returns all of a model of the user's own, by its name and options."""
  options = ', '.join(
    f'{key} {value}'
    for key, value in model.items()
    if key not in ('name', 'num_classes')
  )
  what = f'{model["name"]} ({options})' if options else model['name']
  return Group(what, f'{model["num_classes"]}', num_parameters)


def _convolutions(model, number, channels, length, prefix=''):
  """Returns a group of convolutions with their pools, and the length left."""
  features, norm = model['features'], model['norm']
  lengths = [length]
  num_parameters = 0
  for _ in range(number):
    lengths.append(math.ceil(lengths[-1] / 2))
    num_parameters += layers.KERNEL_SIZE * channels * features
    num_parameters += features * (2 if norm == 'batch' else 1)
    channels = features
  between = ', batch norm' if norm == 'batch' else ''
  group = Group(
    f'{number} times: convolution of {layers.KERNEL_SIZE}, {features} feature '
    f'maps{between}, ReLU, maximum of 2',
    f'{prefix}{lengths[-1]} x {features} (lengths '
    f'{", ".join(map(str, lengths))})',
    num_parameters,
  )
  return group, lengths[-1]
