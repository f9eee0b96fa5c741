"""How often a network gives each answer to a clip under Gaussian noise."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import input_pipeline, over_clips, parallel, randomness

# Draws of a clip computed together: their number may decide about a logit's
# last bit, so that it goes by the kind of device alone.
_ON_HOST, _ON_ACCELERATOR = 8, 64
ALL, RECORDED = 'all', 'recorded'
MASKS = (ALL, RECORDED)
# What a perturbed clip must stay in.
_BOUNDS = (0.0, 1.0)


class Counting(NamedTuple):
  """All that is compiled to count; a function for `over_clips.map_clips`.

  Attributes:
    model: The base network.
    num_guessing: Draws by which the answer is chosen, the first ones.
    num_certifying: Those that follow.
    is_masked: Whether noise is on recorded samples alone.
    at_once: Draws of a clip computed together.
  """

  model: nn.Module
  num_guessing: int
  num_certifying: int
  is_masked: bool
  at_once: int

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns counts, [chunk, 2, num_classes] int32: guessing, certifying.

    A draw's noise comes from seed, clip and its number alone.

    Args:
      shared: The network's variables, and the noise's standard deviation.
      rows: The clips.
    """
    variables, sigma = shared
    clips = rows['audio']
    keys = randomness.stream(rows['key'], 'smoothing')
    where = rows['mask'] if self.is_masked else jnp.ones_like(clips)
    total = self.num_guessing + self.num_certifying

    def noise(key, draw):
      return jax.random.normal(jax.random.fold_in(key, draw), clips.shape[1:])

    def count(counts, first):
      draws = first + jnp.arange(self.at_once)
      drawn = jax.vmap(lambda key: jax.vmap(lambda d: noise(key, d))(draws))(
        keys
      )
      noisy = clips[:, None] + sigma * drawn * where[:, None]
      noisy = jnp.clip(noisy, *_BOUNDS).reshape(-1, clips.shape[1])
      logits = self.model.apply(variables, noisy, train=False)
      answers = jax.nn.one_hot(
        jnp.argmax(logits, -1).reshape(len(clips), -1),
        logits.shape[-1],
        dtype=jnp.int32,
      )
      is_guess = draws < self.num_guessing
      parts = jnp.stack([is_guess, ~is_guess & (draws < total)]).astype(
        jnp.int32
      )
      return counts + jnp.einsum('pd,cdk->cpk', parts, answers), None

    num_classes = jax.eval_shape(
      lambda x: self.model.apply(variables, x, train=False), clips
    ).shape[-1]
    counts = jnp.zeros((len(clips), 2, num_classes), jnp.int32)
    firsts = jnp.arange(0, total, self.at_once)
    return jax.lax.scan(count, counts, firsts)[0]


def make(model: nn.Module, settings: Any, mesh: sharding.Mesh) -> Counting:
  """Returns what counts the answers of a network.

  Args:
    model: The base network.
    settings: `config.smoothing`.
    mesh: Whose kind of device decides how many draws are computed together.
  """
  return Counting(
    model,
    settings.num_guessing,
    settings.num_certifying,
    settings.mask == RECORDED,
    _ON_HOST if parallel.is_host(mesh) else _ON_ACCELERATOR,
  )


def counts(
  counting: Counting,
  variables: Any,
  sigma: float,
  split: input_pipeline.Split,
  mesh: sharding.Mesh,
  *,
  seed: int,
  rows: slice = slice(None),
) -> np.ndarray:
  """Returns counts of some clips, [num_clips, 2, num_classes].

  Args:
    counting: As `make` returns it.
    variables: The network's, on the mesh.
    sigma: Of the noise, in the model's unit.
    split: The clips.
    mesh: The devices.
    seed: Of the noise.
    rows: Which clips; they must begin at a whole chunk.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  return over_clips.map_clips(
    counting,
    split,
    mesh,
    over_clips.chunk_size(mesh),
    shared=(variables, np.float32(sigma)),
    seed=seed,
    rows=rows,
  )


def shards(num_clips: int, size: int) -> Sequence[slice]:
  """Returns the clips of each part on disk."""
  return [
    slice(start, min(start + size, num_clips))
    for start in range(0, num_clips, size)
  ]
