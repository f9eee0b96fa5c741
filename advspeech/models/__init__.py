"""WaveCNN and WaveRNN (paper, Table 1) from one description."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from advspeech import errors
from advspeech.models import frontend, wavecnn, wavernn

NAMES = ('wavecnn', 'wavernn')
NORMS = ('batch', 'none')


def create_model(
  name: str,
  num_classes: int,
  *,
  frame_samples: int = 640,
  features: int = 32,
  hidden_features: int = 64,
  input_pool: int = 1,
  center_input: bool = True,
  norm: str = 'batch',
  norm_momentum: float = 0.9,
  forget_bias: float = 1.0,
  dtype: Any = jnp.float32,
) -> nn.Module:
  """Returns an unbound model; the defaults are `configs/paper.py`'s.

  Args:
    name: One of `NAMES`.
    num_classes: Width of the logits.
    frame_samples: Samples of a 40 ms frame.
    features: Feature maps of every convolution.
    hidden_features: Width of WaveCNN's dense layer, units of WaveRNN's LSTM.
    input_pool: Average pool before the first convolution (1: none).
    center_input: Subtract silence, 0.5, before the first convolution.
    norm: One of `NORMS`; 'none' is Table 1 to the letter.
    norm_momentum: Decay of batch norm's running statistics.
    forget_bias: Initial bias of the LSTM's forget gate.
    dtype: Type of the computation; parameters stay float32.

  Raises:
    errors.InputError: If `name` or `norm` is unknown.
  """
  if name not in NAMES:
    raise errors.InputError(
      f'a model must be one of {", ".join(NAMES)}, got {name!r}'
    )
  if norm not in NORMS:
    raise errors.InputError(
      f'config.model.norm must be one of {", ".join(NORMS)}, got {norm!r}'
    )
  front = frontend.FrontEnd(
    features=features,
    frame_samples=frame_samples,
    input_pool=input_pool,
    center_input=center_input,
    norm=norm,
    norm_momentum=norm_momentum,
    dtype=dtype,
  )
  if name == 'wavecnn':
    return wavecnn.WaveCNN(num_classes, front, hidden_features)
  return wavernn.WaveRNN(num_classes, front, hidden_features, forget_bias)
