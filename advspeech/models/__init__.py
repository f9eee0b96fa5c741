"""WaveCNN and WaveRNN (paper, Table 1), and models of the user's own."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import sharding

from advspeech import errors, parallel, registry
from advspeech.models import frontend, network, wavecnn, wavernn
from advspeech.models.layers import INITS
from advspeech.models.network import (
  activation_bytes,
  check,
  norms_over_the_mesh,
  takes_precision,
)
from advspeech.models.wavernn import GATE_INITS

__all__ = [
  'ALL_NAMES',
  'ALL_PRECISIONS',
  'GATE_INITS',
  'INITS',
  'NAMES',
  'NORMS',
  'PRECISIONS',
  'activation_bytes',
  'check',
  'clips_at_once',
  'create_model',
  'norms_over_the_mesh',
  'takes_precision',
]

NAMES = ('wavecnn', 'wavernn')
# With the plain RNN of eq. 8 in the LSTM's place, to measure beside the two.
ALL_NAMES = (*NAMES, 'wavernn_tanh')
NORMS = ('batch', 'none')
# Type of the computation, and precision of its products on devices that round
# the factors of float32 products (TF32 on GPUs, bfloat16 on TPUs) unless set.
PRECISIONS = {
  'float32': (jnp.float32, jax.lax.Precision.HIGHEST),
  'tf32': (jnp.float32, jax.lax.Precision.HIGH),
  'bfloat16': (jnp.bfloat16, jax.lax.Precision.DEFAULT),
}
# Only to study gradients: float64 needs `jax.enable_x64`, float16 underflows.
ALL_PRECISIONS = {
  **PRECISIONS,
  'float16': (jnp.float16, jax.lax.Precision.DEFAULT),
  'float64': (jnp.float64, jax.lax.Precision.HIGHEST),
}

# The first map of a clip at the paper's size is 12 MB.
_CACHED_BYTES = 2**24


def create_model(
  name: str,
  num_classes: int,
  *,
  precision: str = 'float32',
  norm_axis: str | None = None,
  rematerialize: bool = False,
  freeze_frontend: bool = False,
  **options: Any,
) -> nn.Module:
  """Returns an unbound model.

  Args:
    name: One of `ALL_NAMES`, or `package.module:Class`; see `models.network`.
    num_classes: Width of the logits.
    precision: One of `ALL_PRECISIONS`; parameters are made, and logits are at
      least, float32.
    norm_axis: Mesh axis over which batch norm sums, for a training step that
      runs in jax.shard_map.
    rematerialize: See `layers.conv_block`; of the built-in ones alone.
    freeze_frontend: See `frontend.FrontEnd`; the same.
    **options: Of the built-in ones `config.model`, which see; else the model's
      own.

  Raises:
    errors.InputError: If `name`, `norm` or `precision` is unknown, or a model
      of the user's own cannot be made.
  """
  _check_one_of('a precision', precision, ALL_PRECISIONS)
  arithmetic = ALL_PRECISIONS[precision]
  if registry.is_own(name):
    return network.make_own(
      name, num_classes, options, arithmetic, precision, norm_axis
    )
  _check_one_of('a model', name, ALL_NAMES)
  dtype, products = arithmetic
  return _paper_model(
    name,
    num_classes,
    **options,
    norm_axis=norm_axis,
    dtype=dtype,
    precision=products,
    rematerialize=rematerialize,
    frozen=freeze_frontend,
  )


def _paper_model(
  name,
  num_classes,
  *,
  frame_samples=640,
  features=32,
  hidden_features=64,
  input_pool=1,
  center_input=True,
  input_gain=1.0,
  norm='batch',
  norm_momentum=0.9,
  init='glorot',
  forget_bias=1.0,
  gate_init='constant',
  **arithmetic,
):
  """Returns a model of Table 1; the defaults are `configs/paper.py`'s.

  Args:
    name: One of `ALL_NAMES`.
    num_classes: Width of the logits.
    frame_samples: Samples of a 40 ms frame.
    features: Feature maps of every convolution.
    hidden_features: Width of WaveCNN's dense layer, units of WaveRNN's state.
    input_pool: Average pool before the first convolution (1: none).
    center_input: Subtract silence, 0.5, before the first convolution.
    input_gain: What the input is multiplied by then.
    norm: One of `NORMS`; 'none' is Table 1 to the letter.
    norm_momentum: Decay of batch norm's running statistics.
    init: One of `INITS`, of what is in front of a ReLU.
    forget_bias: Initial bias of the LSTM's forget gate.
    gate_init: One of `GATE_INITS`.
    **arithmetic: What else the front end has.
  """
  _check_one_of('config.model.norm', norm, NORMS)
  _check_one_of('config.model.init', init, INITS)
  _check_one_of('config.model.gate_init', gate_init, GATE_INITS)
  front = frontend.FrontEnd(
    features=features,
    frame_samples=frame_samples,
    input_pool=input_pool,
    center_input=center_input,
    input_gain=input_gain,
    norm=norm,
    norm_momentum=norm_momentum,
    kernel_init=init,
    **arithmetic,
  )
  if name == 'wavecnn':
    return wavecnn.WaveCNN(num_classes, front, hidden_features)
  cell = 'tanh' if name == 'wavernn_tanh' else 'lstm'
  return wavernn.WaveRNN(
    num_classes, front, hidden_features, forget_bias, gate_init, cell
  )


def _check_one_of(what, value, choices):
  if value not in choices:
    raise errors.InputError(
      f'{what} must be one of {", ".join(choices)}, got {value!r}'
    )


def clips_at_once(
  model: nn.Module,
  batch_size: int,
  num_samples: int,
  mesh: sharding.Mesh | None = None,
) -> int:
  """Returns how many of a batch's clips are best computed at a time.

  On a CPU as many as have a first map that fits its cache, so that what one
  layer writes is still there for the next: one clip at the paper's size, which
  is 1.2 to 1.5 times as fast as four. An accelerator wants the whole batch.

  Args:
    model: What computes them.
    batch_size: Clips there are, on one device.
    num_samples: Of a clip.
    mesh: See `parallel.platform`.
  """
  if not parallel.is_host(mesh):
    return batch_size
  num_bytes = activation_bytes(model, num_samples)
  return min(batch_size, max(1, _CACHED_BYTES // num_bytes))
