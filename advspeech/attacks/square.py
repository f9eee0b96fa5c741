"""Square (Andriushchenko et al. 2020) in one dimension, without a gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints, queries

# Halvings of the window, in queries out of 10,000 (the authors' schedule).
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
  score_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  **settings: Any,
) -> jax.Array:
  """Returns examples found by random search, [num_epsilons, batch, time].

  Arguments and errors are those of `square_search`.
  """
  return square_search(score_fn, audio, epsilons, keys, **settings).audio


def square_search(
  score_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  *,
  counts: Sequence[int] = (),
  norm: str = 'linf',
  num_queries: int = 1000,
  first_share: float = 0.8,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  epsilons_at_once: int | None = None,
) -> queries.Searched:
  """Returns examples found by random search, and the best after each count.

  The paper's squares become windows in time, its vertical stripes blocks of
  random sign. Each query sets one window of the perturbation to epsilon times
  blocks of random sign (of a random length, up to the window's own), and is
  kept where it raises the score. Windows are counted in samples that may
  change, so that none is spent on padding.

  Args:
    score_fn: Maps audio [batch, time] to scores [batch], to be raised, such as
      margins. It needs no gradient, and is asked num_queries times.
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`, or
      [num_epsilons, batch] with a radius a clip.
    keys: [batch] typed PRNG keys, one a clip.
    counts: Queries after which the best score is recorded.
    norm: 'linf'; the windows are full steps of the max-norm.
    num_queries: Scores a clip.
    first_share: Of a clip, the first window's length; it shrinks on the
      authors' schedule.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    band: None; a window's edges are in every band.
    bounds: Smallest and largest legal sample.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: If `norm` is not 'linf', `band` is not None, `num_queries` is
      not positive, or `epsilons`, `keys` or `mask` has a shape that does not
      go with `audio`.
  """
  if norm != 'linf':
    raise ValueError(
      f"square knows the norm 'linf' alone, got {norm!r}; use apgd"
    )
  if band is not None:
    raise ValueError(
      'square cannot stay in a band, since the edges of its windows leak; use '
      'apgd with the band, or square without'
    )
  audio = jnp.asarray(audio)
  threat = constraints.Threat(norm, mask, None, bounds)
  threat.check(audio)
  arguments.check_keys(keys, audio)
  arguments.check_counts(num_queries=num_queries)
  movable = constraints.masked(jnp.ones_like(audio), mask) > 0
  shares = jnp.asarray(window_shares(num_queries, first_share), audio.dtype)

  def propose(key, movable, share):
    """Returns a window [time] and the signs in it, [time], for one clip."""
    place = jnp.cumsum(movable) - 1
    num_movable = movable.sum()
    length = jnp.maximum(jnp.round(share * num_movable).astype(int), 1)
    key = jax.random.split(key, 3)
    first = jax.random.randint(
      key[0], (), 0, jnp.maximum(num_movable - length, 0) + 1
    )
    u = jax.random.uniform(key[1])
    block = jnp.exp(u * jnp.log(length.astype(u.dtype) + 1)).astype(int)
    signs = _blocks(key[2], place - first, block)
    inside = (place >= first) & (place < first + length)
    return inside, signs

  def stripes(key, movable):
    """Returns blocks of random sign, as many as each is long, [time]."""
    place = jnp.cumsum(movable) - 1
    block = jnp.sqrt(movable.sum().astype(audio.dtype)).astype(int)
    return _blocks(key, place, jnp.maximum(block, 1))

  def attack(epsilon):
    def settle(signs):
      return threat.project(audio, epsilon[:, None] * signs, epsilon)

    def query(i, carry):
      best, score, record = carry
      turn = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      window, signs = jax.vmap(propose, (0, 0, None))(turn, movable, shares[i])
      new = jnp.where(window, settle(signs.astype(audio.dtype)), best)
      new_score = score_fn(threat.add(audio, new))
      better = new_score > score
      return (
        jnp.where(better[:, None], new, best),
        jnp.where(better, new_score, score),
        queries.noted(record, counts, i + 1, new_score),
      )

    first = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    start = settle(jax.vmap(stripes)(first, movable).astype(audio.dtype))
    score = score_fn(threat.add(audio, start))
    record = queries.nothing_asked(counts, audio)
    record = queries.noted(record, counts, 1, score)
    best, _, record = jax.lax.fori_loop(
      1, num_queries, query, (start, score, record)
    )
    asked = jnp.full_like(record.reached, num_queries)
    return queries.Searched(threat.add(audio, best), *record, asked)

  radii = arguments.radii(epsilons, audio)
  return arguments.each_epsilon(attack, radii, epsilons_at_once)


def _blocks(key, place, block):
  """Returns one random sign for every `block` places in a row, [time]."""
  signs = jax.random.rademacher(key, place.shape, jnp.int8)
  return signs[jnp.clip(place // block, 0, place.size - 1)]


def window_shares(num_queries, first_share):
  """Returns each query's window over the clip, [num_queries]."""
  return [
    first_share / 2 ** sum(i / num_queries * 10_000 > h for h in HALVINGS)
    for i in range(num_queries)
  ]
