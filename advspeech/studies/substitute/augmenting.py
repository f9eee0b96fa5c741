"""New clips out of old ones: along the substitute's gradient, or without it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  input_pipeline,
  over_clips,
  randomness,
  transforms,
)

JACOBIAN, NOISE, TRANSFORMS = 'jacobian', 'noise', 'transforms'
# Ways that make new clips out of those that were asked about.
KINDS = (JACOBIAN, NOISE, TRANSFORMS)
_BOUNDS = (0.0, 1.0)


class Augmenting(NamedTuple):
  """What is done to clips; a function for `over_clips.map_clips`.

  Attributes:
    kind: One of `KINDS`.
    model: The substitute.
    transform: What clips go through, of TRANSFORMS.
  """

  kind: str
  model: nn.Module
  transform: transforms.Transform | None

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns clips as 16-bit files, [chunk, time] int16.

    Args:
      shared: The substitute's variables, the size of a change as a ratio to a
        clip's RMS, negative towards other classes, and the number of the round.
      rows: The clips, with the victim's labels.
    """
    variables, ratio, number = shared
    clips, recorded = rows['audio'], rows['mask']
    keys = jax.vmap(jax.random.fold_in, (0, None))(
      randomness.stream(rows['key'], 'augmented'), number
    )
    if self.kind == TRANSFORMS:
      return audio.to_pcm(self.transform.augment(clips, keys, recorded))
    size = ratio * audio.signal_rms(clips, recorded)

    def log_probability_fn(x):
      logits = self.model.apply(variables, x, train=False)
      return attacks.targeted_cross_entropy(logits, rows['label'])

    if self.kind == JACOBIAN:
      sign = attacks.gradient_sign(log_probability_fn, clips, mask=recorded)
      change = size[:, None] * sign
    else:
      change = attacks.gaussian_like(
        keys, jnp.abs(size)[:, None] * recorded, mask=recorded
      )
    return audio.to_pcm(attacks.add(clips, change, bounds=_BOUNDS))


def signed_ratio(settings: Any, number: int) -> float:
  """Returns the size of a round's changes, whose sign flips every few rounds.

  Args:
    settings: `config.substitute`.
    number: Of the round, from 1.
  """
  flips = (number - 1) // settings.flip_every
  return settings.ratio * (-1) ** flips


def augmented(
  kind: str,
  split: input_pipeline.Split,
  model: nn.Module,
  variables: Any,
  settings: Any,
  mesh: jax.sharding.Mesh,
  chunk: int,
  *,
  seed: int,
  number: int,
) -> np.ndarray:
  """Returns what becomes of clips in one round, [num_clips, time] int16.

  Args:
    kind: One of `KINDS`.
    split: The clips, with the victim's labels.
    model: The substitute.
    variables: Its own, on the mesh.
    settings: `config.substitute`.
    mesh: The devices.
    chunk: See `over_clips.map_clips`.
    seed: Of everything random.
    number: Of the round, from 1.
  """
  return over_clips.map_clips(
    Augmenting(kind, model, _transform(kind, settings.transforms, number)),
    split,
    mesh,
    chunk,
    shared=(
      variables,
      np.float32(signed_ratio(settings, number)),
      np.uint32(number),
    ),
    seed=seed,
  )


def _transform(kind: str, names: Sequence[str], number: int):
  """Returns a round's transform, each in its turn; None of other kinds."""
  if kind != TRANSFORMS:
    return None
  return transforms.make(names[(number - 1) % len(names)])
