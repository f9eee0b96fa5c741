"""WaveCNN and WaveRNN (paper, Table 1) from one description."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import sharding

from advspeech import errors, parallel
from advspeech.models import frontend, wavecnn, wavernn

NAMES = ('wavecnn', 'wavernn')
# With the plain RNN of eq. 8 in the LSTM's place, to measure beside the two.
ALL_NAMES = (*NAMES, 'wavernn_tanh')
NORMS = ('batch', 'none')
# Type of the computation, and precision of its products on devices that round
# the factors of float32 products (TF32 on GPUs, bfloat16 on TPUs) unless told.
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

# 16 MB of float32: the first map of a clip at the paper's size is 12.
_CACHED_FLOATS = 4 * 2**20


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
  precision: str = 'float32',
  norm_axis: str | None = None,
  rematerialize: bool = False,
  freeze_frontend: bool = False,
) -> nn.Module:
  """Returns an unbound model; the defaults are `configs/paper.py`'s.

  Args:
    name: One of `ALL_NAMES`.
    num_classes: Width of the logits.
    frame_samples: Samples of a 40 ms frame.
    features: Feature maps of every convolution.
    hidden_features: Width of WaveCNN's dense layer, units of WaveRNN's state.
    input_pool: Average pool before the first convolution (1: none).
    center_input: Subtract silence, 0.5, before the first convolution.
    norm: One of `NORMS`; 'none' is Table 1 to the letter.
    norm_momentum: Decay of batch norm's running statistics.
    forget_bias: Initial bias of the LSTM's forget gate.
    precision: One of `ALL_PRECISIONS`; parameters are made, and logits are at
      least, float32.
    norm_axis: Mesh axis over which batch norm sums, for a training step that
      runs in jax.shard_map.
    rematerialize: See `layers.conv_block`.
    freeze_frontend: See `frontend.FrontEnd`.

  Raises:
    errors.InputError: If `name`, `norm` or `precision` is unknown.
  """
  for what, value, choices in (
    ('a model', name, ALL_NAMES),
    ('config.model.norm', norm, NORMS),
    ('a precision', precision, ALL_PRECISIONS),
  ):
    if value not in choices:
      raise errors.InputError(
        f'{what} must be one of {", ".join(choices)}, got {value!r}'
      )
  dtype, products = ALL_PRECISIONS[precision]
  front = frontend.FrontEnd(
    features=features,
    frame_samples=frame_samples,
    input_pool=input_pool,
    center_input=center_input,
    norm=norm,
    norm_momentum=norm_momentum,
    norm_axis=norm_axis,
    dtype=dtype,
    precision=products,
    rematerialize=rematerialize,
    frozen=freeze_frontend,
  )
  if name == 'wavecnn':
    return wavecnn.WaveCNN(num_classes, front, hidden_features)
  cell = 'tanh' if name == 'wavernn_tanh' else 'lstm'
  return wavernn.WaveRNN(num_classes, front, hidden_features, forget_bias, cell)


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
  front = model.frontend
  floats = num_samples // front.input_pool * front.features
  return min(batch_size, max(1, _CACHED_FLOATS // floats))
