"""The weights of Resemblyzer's speaker encoder, out of its wheel.

They are a pickle of PyTorch's old format, and a pickle is a program. The wheel
holds one file of one digest, so its arrays lie at known places: they are read
from there, nothing is unpickled, and neither PyTorch nor the package itself,
which wants a voice detector in C, is imported. Another file is refused.
"""

import functools
import hashlib
import importlib.metadata
import pathlib
from typing import NamedTuple

import numpy as np

from advspeech import errors

SHA256 = '39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e'
NUM_MELS, UNITS, NUM_LAYERS = 40, 256, 3
_INSTALL = 'install it with pip install --no-deps Resemblyzer==0.1.4'
# Byte of the first number, and shape, of little-endian float32 arrays: of each
# layer what the input and the state are multiplied by, and their two biases.
_LAYERS = (
  (269_883, 433_723, 5_676_603, 5_680_699),
  (1_482_299, 2_530_875, 5_684_795, 5_688_891),
  (3_579_451, 4_628_027, 5_692_987, 5_697_083),
)
_DENSE = (7_731, 6_699)


class Layer(NamedTuple):
  """An LSTM layer; of gates the order is input, forget, cell, output.

  Attributes:
    input: [num_inputs, 4 * units].
    recurrent: [units, 4 * units].
    bias: [4 * units].
  """

  input: np.ndarray
  recurrent: np.ndarray
  bias: np.ndarray


class Weights(NamedTuple):
  """All that was learnt.

  Attributes:
    layers: Of the LSTM, from the input on.
    kernel: [units, dimension] of the dense layer.
    bias: [dimension] of it.
  """

  layers: tuple[Layer, ...]
  kernel: np.ndarray
  bias: np.ndarray


@functools.cache
def load() -> Weights:
  """Returns the weights of the installed wheel, float32.

  Raises:
    errors.InputError: If it is not installed, or its file is another.
  """
  try:
    wheel = importlib.metadata.distribution('Resemblyzer')
  except importlib.metadata.PackageNotFoundError as e:
    raise errors.InputError(
      "the victim 'resemblyzer' needs the weights in its wheel, which is not "
      f'installed; {_INSTALL}, of which nothing else is used'
    ) from e
  path = pathlib.Path(str(wheel.locate_file('resemblyzer/pretrained.pt')))
  return read(path)


def read(path: pathlib.Path) -> Weights:
  """Returns the weights in a file.

  Args:
    path: Of `pretrained.pt`.

  Raises:
    errors.InputError: If it is not there, or of another digest.
  """
  try:
    data = path.read_bytes()
  except OSError as e:
    raise errors.InputError(f'{path} cannot be read ({e}); {_INSTALL}') from e
  found = hashlib.sha256(data).hexdigest()
  if found != SHA256:
    raise errors.InputError(
      f'{path} must have the SHA-256 {SHA256}, got {found}; {_INSTALL}'
    )

  def array(start, *shape):
    numbers = np.frombuffer(data, '<f4', int(np.prod(shape)), start)
    return numbers.reshape(shape).astype(np.float32)

  gates = 4 * UNITS
  layers = tuple(
    Layer(
      array(of_input, gates, UNITS if i else NUM_MELS).T,
      array(of_state, gates, UNITS).T,
      array(one, gates) + array(other, gates),
    )
    for i, (of_input, of_state, one, other) in enumerate(_LAYERS)
  )
  kernel, bias = _DENSE
  return Weights(layers, array(kernel, UNITS, UNITS).T, array(bias, UNITS))
