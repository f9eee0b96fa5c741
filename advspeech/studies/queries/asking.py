"""What is compiled: a network asked about a chunk of clips, query by query."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import attacks, randomness
from advspeech import audio as audio_lib
from advspeech.attacks import queries
from advspeech.sweep import masks

# By scores within an epsilon; by decisions as near as may be.
SCORED = ('square', 'nes')
NEAREST = 'hopskipjump'
NAMES = (*SCORED, NEAREST)
# The control: the same number of queries, spent on noise of the same size.
NOISE = 'random_sign'


class Scores(NamedTuple):
  """What a search by scores found, clips first.

  Attributes:
    clean: [num_clips] margin of the clip as it is, above 0 if judged wrong.
    best: [num_clips, num_counts] best margin after so many queries.
    reached: [num_clips] number of the query that was judged wrong first; 0 if
      none was.
    num_asked: [num_clips] queries.
  """

  clean: jax.Array
  best: jax.Array
  reached: jax.Array
  num_asked: jax.Array


class Distances(NamedTuple):
  """What a search by decisions found, clips first.

  Attributes:
    sizes: [num_clips, 2, num_counts] max-norm and L2 norm of the nearest clip
      judged wrong after so many queries; inf before there is one, 0 for a clip
      that is judged wrong as it is.
    num_asked: [num_clips] queries.
  """

  sizes: jax.Array
  num_asked: jax.Array


class Asked(NamedTuple):
  """What asking led to, clips first.

  Attributes:
    found: After how many queries.
    pcm: [num_clips, time] int16, the clip that it ended at.
  """

  found: Scores | Distances
  pcm: jax.Array


def random_signs(
  score_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  *,
  counts: Sequence[int],
  num_queries: int,
  mask: jax.Array | None,
  bounds: tuple[float, float],
) -> attacks.Searched:
  """Returns the best of random signs, new ones a query, of one epsilon.

  Args:
    score_fn: As for `attacks.square_search`, and so are the others.
    audio: [batch, time].
    epsilons: [1, batch].
    keys: [batch].
    counts: Queries after which the best is recorded.
    num_queries: Of a clip.
    mask: [batch, time] or None.
    bounds: Smallest and largest legal sample.
  """
  size = jnp.broadcast_to(epsilons[0][:, None], audio.shape)

  def query(i, carry):
    best, score, record = carry
    turn = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
    noise = attacks.random_sign_like(turn, size, mask=mask)
    new_score = score_fn(attacks.add(audio, noise, bounds=bounds))
    better = new_score > score
    return (
      jnp.where(better[:, None], noise, best),
      jnp.where(better, new_score, score),
      queries.noted(record, counts, i + 1, new_score),
    )

  lowest = jnp.full(len(audio), -jnp.inf, audio.dtype)
  best, _, record = jax.lax.fori_loop(
    0,
    num_queries,
    query,
    (jnp.zeros_like(audio), lowest, queries.nothing_asked(counts, audio)),
  )
  found = attacks.add(audio, best, bounds=bounds)
  asked = jnp.full_like(record.reached, num_queries)
  return attacks.Searched(
    found[None], record.best[None], record.reached[None], asked[None]
  )


_SEARCHES = {
  'square': attacks.square_search,
  'nes': attacks.nes_search,
  NOISE: random_signs,
}


class ByScores(NamedTuple):
  """Clips attacked within a radius; a function for `over_clips.map_clips`.

  Attributes:
    model: Asked.
    search: One of `SCORED`, or `NOISE`.
    counts: Queries after which the best is recorded; the last is of all.
    mask: What may be touched.
    bounds: Smallest and largest legal sample.
  """

  model: nn.Module
  search: str
  counts: tuple[int, ...]
  mask: masks.Mask
  bounds: tuple[float, float]

  def __call__(self, variables: Any, rows: dict[str, jax.Array]) -> Asked:
    """Returns what was found for a chunk.

    Args:
      variables: The model's.
      rows: Clips, with the column `radius` [chunk].
    """
    stream = NOISE if self.search == NOISE else 'attack'

    def margin_fn(audio):
      logits = self.model.apply(variables, audio, train=False)
      return attacks.margin(logits, rows['label'])

    found = _SEARCHES[self.search](
      margin_fn,
      rows['audio'],
      rows['radius'][None],
      randomness.stream(rows['key'], stream),
      counts=self.counts,
      num_queries=self.counts[-1],
      mask=self.mask.samples(rows['mask']),
      bounds=self.bounds,
    )
    scores = Scores(
      margin_fn(rows['audio']),
      found.best[0].T,
      found.reached[0],
      found.num_asked[0],
    )
    return Asked(scores, audio_lib.to_pcm(found.audio[0]))


class ByDecisions(NamedTuple):
  """Clips brought near the boundary; a function for `over_clips.map_clips`.

  Attributes:
    model: Asked.
    norm: To be small, 'l2' or 'linf'.
    num_starts: Clips of other classes to begin at, drawn from the pool.
    counts: Queries after which distances are recorded; the last is of all.
    mask: What may be touched.
    bounds: Smallest and largest legal sample.
  """

  model: nn.Module
  norm: str
  num_starts: int
  counts: tuple[int, ...]
  mask: masks.Mask
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Asked:
    """Returns what was found for a chunk.

    Args:
      shared: The model's variables, and a pool of other clips [num, time] with
        their labels [num].
      rows: Clips.
    """
    variables, pool, pool_labels = shared

    def reached_fn(audio):
      logits = self.model.apply(variables, audio, train=False)
      return jnp.argmax(logits, -1) != rows['label']

    order = jax.vmap(lambda key: jax.random.uniform(key, (len(pool),)))(
      randomness.stream(rows['key'], 'starts')
    )
    is_same = pool_labels[None] == rows['label'][:, None]
    order = jnp.argsort(jnp.where(is_same, jnp.inf, order), -1)
    found = attacks.hopskipjump(
      reached_fn,
      rows['audio'],
      pool[order[:, : self.num_starts]],
      randomness.stream(rows['key'], 'attack'),
      counts=self.counts,
      norm=self.norm,
      num_queries=self.counts[-1],
      mask=self.mask.samples(rows['mask']),
      bounds=self.bounds,
    )
    sizes = jnp.moveaxis(found.sizes, -1, 0)
    return Asked(
      Distances(sizes, found.num_asked), audio_lib.to_pcm(found.audio)
    )
