"""What attacks that only ask a model report, query by query."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Searched(NamedTuple):
  """What a search by scores found.

  Attributes:
    audio: [num_epsilons, batch, time] the best clips.
    best: [num_epsilons, num_counts, batch] highest score of a clip within its
      radius after so many queries; -inf before the first.
    reached: [num_epsilons, batch] int32 number of the query, from 1, that
      first reached the goal; 0 where none did.
    num_asked: [num_epsilons, batch] int32 queries of each clip.
  """

  audio: jax.Array
  best: jax.Array
  reached: jax.Array
  num_asked: jax.Array


class Record(NamedTuple):
  """The best so far, of one radius; what a search carries along.

  Attributes:
    best: [num_counts, batch].
    reached: [batch] int32.
  """

  best: jax.Array
  reached: jax.Array


def milestones(num_queries: int) -> tuple[int, ...]:
  """Returns 1, 10, 20, 50, 100, 200, ... and `num_queries`, the last."""
  counts, decade = [1], 10
  while decade < num_queries:
    counts += [n for n in (decade, 2 * decade, 5 * decade) if n < num_queries]
    decade *= 10
  return tuple(dict.fromkeys((*counts, num_queries)))


def nothing_asked(counts: Sequence[int], audio: jax.Array) -> Record:
  """Returns the record before the first query.

  Args:
    counts: Numbers of queries after which the best is recorded.
    audio: [batch, time] for the shape and the type.
  """
  batch_size = audio.shape[0]
  return Record(
    jnp.full((len(counts), batch_size), -jnp.inf, audio.dtype),
    jnp.zeros(batch_size, jnp.int32),
  )


def noted(
  record: Record,
  counts: Sequence[int],
  number: jax.Array | int,
  score: jax.Array,
  enough: float = 0.0,
) -> Record:
  """Returns the record with one more query.

  Args:
    record: So far.
    counts: As for `nothing_asked`.
    number: Of the query, from 1.
    score: [batch] of clips within their radius; -inf for one not asked.
    enough: Above which the goal is reached.
  """
  in_time = jnp.asarray(counts, jnp.int32)[:, None] >= number
  best = jnp.where(in_time, jnp.maximum(record.best, score[None]), record.best)
  first = (record.reached == 0) & (score > enough)
  return Record(best, jnp.where(first, number, record.reached))
