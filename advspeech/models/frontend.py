"""The front end both models share: 40 ms frames, 8 convolutions each."""

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech.audio import SILENCE
from advspeech.models import layers

FRAME_MS = 40
NUM_LAYERS = 8


class FrontEnd(nn.Module):
  """Audio to one short feature map a frame (Table 1, "Common Front-end").

  Attributes:
    features: Feature maps of every layer.
    frame_samples: Samples a frame, 640 at 16 kHz.
    input_pool: Average pool before the first layer; 1 is the paper, 2 the
      authors' published code.
    center_input: Subtract silence, 0.5, so that zero padding pads with silence
      and not with full scale negative; the edge of every frame otherwise
      outweighs the speech in it by far.
    input_gain: What the input is multiplied by then; 1 is the paper.
    norm: 'batch' or 'none'.
    norm_momentum: Decay of batch norm's running statistics.
    kernel_init: See `layers.INITS`; of everything built on this.
    norm_axis: Mesh axis over which batch norm sums, in jax.shard_map.
    dtype: Type of the computation.
    precision: Of its products.
    rematerialize: See `layers.conv_block`; of everything built on this.
    frozen: Train nothing of it: running statistics, and no gradient through.
  """

  features: int
  frame_samples: int
  input_pool: int
  center_input: bool
  input_gain: float
  norm: str
  norm_momentum: float
  kernel_init: str
  norm_axis: str | None = None
  dtype: Any = jnp.float32
  precision: jax.lax.Precision | None = None
  rematerialize: bool = False
  frozen: bool = False

  def activation_bytes(self, num_samples: int) -> int:
    """Returns bytes of one clip's first map, in float32."""
    return 4 * (num_samples // self.input_pool) * self.features

  @nn.compact
  def __call__(self, audio: jax.Array, *, train: bool, valid=None):
    """Returns [length, features, batch, frames] for audio [batch, time]."""
    batch, time = audio.shape
    if time % self.frame_samples or self.frame_samples % self.input_pool:
      raise ValueError(
        f'audio must be whole frames of {self.frame_samples} samples and a '
        f'frame whole pools of {self.input_pool}, got {time} samples'
      )
    if self.center_input:
      audio = audio - SILENCE
    if self.input_gain != 1:
      audio = audio * self.input_gain
    x = audio.astype(self.dtype)
    train = train and not self.frozen
    if self.input_pool > 1:
      x = x.reshape(batch, -1, self.input_pool).mean(-1)
    frames = time // self.frame_samples
    x = x.reshape(batch * frames, -1).T[:, None]
    if valid is not None:
      valid = jnp.repeat(valid, frames)
    for i in range(NUM_LAYERS):
      x = layers.conv_block(self.rematerialize)(
        self.features,
        self.norm,
        self.norm_momentum,
        self.norm_axis,
        self.dtype,
        self.precision,
        self.kernel_init,
        name=f'layer_{i}',
      )(x, train, valid)
    x = x.reshape(*x.shape[:2], batch, frames)
    return jax.lax.stop_gradient(x) if self.frozen else x


class OnFrontEnd:
  """What a model with a `frontend` says of itself; see `models.network`."""

  frontend: FrontEnd

  @property
  def frame_samples(self) -> int:
    """Returns the samples of a frame; clips are whole ones."""
    return self.frontend.frame_samples

  @property
  def dtype(self) -> Any:
    """Returns the type of its computation."""
    return self.frontend.dtype

  @property
  def precision(self) -> jax.lax.Precision | None:
    """Returns the precision of its products."""
    return self.frontend.precision

  @property
  def norm_axis(self) -> str | None:
    """Returns the mesh axis over which batch norm sums in training."""
    return self.frontend.norm_axis

  def frame_maps(
    self, variables: Mapping[str, Any], audio: jax.Array
  ) -> jax.Array:
    """Returns what the front end makes of audio, as in evaluation.

    Args:
      variables: Of the whole model.
      audio: [batch, time], whole frames.
    """
    inner = {kind: tree['frontend'] for kind, tree in variables.items()}
    return cast(jax.Array, self.frontend.apply(inner, audio, train=False))

  def activation_bytes(self, num_samples: int) -> int:
    """Returns bytes of one clip's largest map, the first, in float32."""
    return self.frontend.activation_bytes(num_samples)
