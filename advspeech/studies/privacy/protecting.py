"""What is compiled: clips protected in one way, and heard by all who judge."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import attacks, audio, embedders, randomness, transforms
from advspeech.studies.verification import scoring

# Of radii [batch] and a weight, to clips [batch, time].
Made = Callable[[Any, Any], jax.Array]
# Protections that are made at every epsilon: solvers, and noise of their size.
NOISE = 'random_sign'


class Judges(NamedTuple):
  """Who hears protected clips.

  Attributes:
    embedders: Speaker models; the first is attacked.
    models: That say the emotion; the first is spared.
  """

  embedders: tuple[embedders.Embedder, ...]
  models: tuple[nn.Module, ...]

  def hear(
    self, shared: Any, clips: jax.Array, found: jax.Array, recorded: jax.Array
  ) -> dict[str, Any]:
    """Returns what all say of clips as a 16-bit file has them, clips first.

    Args:
      shared: Variables of the embedders and of the models.
      clips: [batch, time] as they were.
      found: [batch, time] protected.
      recorded: [batch, time], 1 on recorded samples.
    """
    of_embedders, of_models = shared[:2]
    # Optimisation must not cancel the conversion against its inverse.
    pcm = jax.lax.optimization_barrier(audio.to_pcm(found))
    heard = audio.from_pcm(pcm)
    return {
      'embeddings': {
        str(i): judge.apply(variables, heard, recorded)
        for i, (judge, variables) in enumerate(
          zip(self.embedders, of_embedders, strict=True)
        )
      },
      'logits': {
        str(i): model.apply(variables, heard, train=False).astype(jnp.float32)
        for i, (model, variables) in enumerate(
          zip(self.models, of_models, strict=True)
        )
      },
      'snr_db': audio.snr_db(clips, heard, recorded),
    }


class Protecting(NamedTuple):
  """Clips by one solver or under noise, for `over_clips.map_clips`.

  Attributes:
    name: Of `attacks.SOLVERS`, or `NOISE`.
    judges: Who hears them.
    num_steps: Of a solver.
    bounds: Smallest and largest legal sample.
  """

  name: str
  judges: Judges
  num_steps: int
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> dict[str, Any]:
    """Returns what is heard, [chunk, num_epsilons, num_weights, ...].

    Args:
      shared: Variables of the embedders and the models, and weights.
      rows: Clips, with the columns `known` [chunk, dimension], what the first
        embedder says of other clips of the speaker, and `radii` [chunk,
        num_epsilons], the RMS of perturbations.
    """
    make = self.made(shared, rows)
    clips, recorded = rows['audio'], rows['mask']
    radii, weights = rows['radii'].T, shared[2]
    grid = (
      jnp.repeat(radii, len(weights), 0),
      jnp.tile(weights, len(radii)),
    )
    found = jax.lax.map(
      lambda point: self.judges.hear(shared, clips, make(*point), recorded),
      grid,
    )
    return jax.tree.map(
      lambda x: jnp.moveaxis(
        x.reshape(len(radii), len(weights), *x.shape[1:]), 2, 0
      ),
      found,
    )

  def made(self, shared: Any, rows: dict[str, jax.Array]) -> Made:
    """Returns what maps radii and a weight to protected clips."""
    clips, recorded, keys = rows['audio'], rows['mask'], rows['key']
    hidden_fn, drift_fn = self._losses(shared, rows)

    def noisy(radii, weight):
      del weight
      noise = attacks.random_sign_like(
        randomness.stream(keys, 'random_sign'),
        radii[:, None] * recorded,
        mask=recorded,
      )
      return attacks.add(clips, noise, bounds=self.bounds)

    def solved(radii, weight):
      return attacks.sparing(
        self.name,
        hidden_fn,
        drift_fn,
        clips,
        radii * jnp.sqrt(recorded.sum(-1)),
        randomness.stream(keys, 'attack'),
        weight=weight,
        num_steps=self.num_steps,
        mask=recorded,
        bounds=self.bounds,
      )

    return noisy if self.name == NOISE else solved

  def _losses(self, shared, rows):
    """Returns how well a speaker is hidden, and how far answers drift."""
    of_embedders, of_models = shared[:2]
    embedder, model = self.judges.embedders[0], self.judges.models[0]

    def hidden_fn(x):
      found = embedder.apply(of_embedders[0], x, rows['mask'])
      return -scoring.cosine(found, rows['known'])

    def answers(x):
      logits = model.apply(of_models[0], x, train=False)
      return jax.nn.log_softmax(logits.astype(jnp.float32))

    before = jax.lax.stop_gradient(answers(rows['audio']))

    def drift_fn(x):
      return jnp.sum(jnp.exp(before) * (before - answers(x)), -1)

    return hidden_fn, drift_fn


class Transforming(NamedTuple):
  """Clips through a transform, for `over_clips.map_clips`.

  Attributes:
    transform: Which one; None for clips as they are.
    judges: Who hears them.
  """

  transform: transforms.Transform | None
  judges: Judges

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> dict[str, Any]:
    """Returns what is heard, [chunk, 1, 1, ...]; see `Protecting`."""
    clips, recorded = rows['audio'], rows['mask']
    found = self.made(shared, rows)(None, None)
    heard = self.judges.hear(shared, clips, found, recorded)
    return jax.tree.map(lambda x: x[:, None, None], heard)

  def made(self, shared: Any, rows: dict[str, jax.Array]) -> Made:
    """Returns what gives transformed clips, whatever radii and weight are."""
    del shared
    draws = randomness.stream(rows['key'], 'transform')
    found = rows['audio']
    if self.transform:
      found = self.transform.apply(found, draws, rows['mask'])
    return lambda radii, weight: found
