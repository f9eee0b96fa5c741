"""Clips that an attacker has, and the labels that a victim gives them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  corpora,
  input_pipeline,
  over_clips,
  randomness,
  tasks,
)

SAME, OTHER, CORPUS = 'same', 'other', 'corpus'
# Whose clips are asked about: those the victim was trained on, others of its
# corpus, and those of another corpus.
REGIMES = (SAME, OTHER, CORPUS)


class Answers(NamedTuple):
  """What a network answers; a function for `over_clips.map_clips`.

  Attributes:
    model: The network.
  """

  model: nn.Module

  def __call__(self, variables: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns classes, [chunk] int32.

    Args:
      variables: The network's.
      rows: The clips.
    """
    logits = self.model.apply(variables, rows['audio'], train=False)
    return jnp.argmax(logits, -1).astype(jnp.int32)


def labelled(
  split: input_pipeline.Split,
  model: nn.Module,
  variables: Any,
  mesh: jax.sharding.Mesh,
  chunk: int,
) -> input_pipeline.Split:
  """Returns clips with the labels that a network gives them: a query each.

  Args:
    split: The clips, as 16-bit files.
    model: The network.
    variables: Its own.
    mesh: The devices.
    chunk: See `over_clips.map_clips`.
  """
  labels = over_clips.map_clips(
    Answers(model), split, mesh, chunk, shared=variables
  )
  return dataclasses.replace(split, labels=labels)


def order(ids: Sequence[str], seed: int, number: int) -> np.ndarray:
  """Returns rows in an order drawn from seed, id and a number alone.

  The first few are a sample without replacement, as a reservoir's.

  Args:
    ids: [num_clips] of the clips.
    seed: Of everything random.
    number: Of the order.
  """
  drawn = _drawn(randomness.id_words(ids), np.uint32(seed), np.uint32(number))
  return np.lexsort((np.asarray(ids), np.asarray(drawn)))


@jax.jit
def _drawn(words, seed, number):
  """Returns a number from 0 to 1 a clip."""
  keys = randomness.clip_keys(jax.random.key(seed), words)
  keys = randomness.stream(keys, 'queries')
  keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
  return jax.vmap(jax.random.uniform)(keys)


def joined(
  first: input_pipeline.Split, second: input_pipeline.Split
) -> input_pipeline.Split:
  """Returns the clips of both, one behind the other, in memory."""

  def both(name):
    parts = (getattr(split, name) for split in (first, second))
    return np.concatenate([np.asarray(part[:]) for part in parts])

  fields = dataclasses.fields(input_pipeline.Split)
  return input_pipeline.Split(**{x.name: both(x.name) for x in fields})


def pool(
  run: Any, regime: str, judged: input_pipeline.Split, num: int
) -> input_pipeline.Split:
  """Returns clips that an attacker may ask about, in the order it does.

  None of them is judged.

  Args:
    run: An `experiment.Run`.
    regime: One of `REGIMES`.
    judged: The clips that are.
    num: How many are wanted; fewer where there are not so many.
  """
  splits = run.data.splits
  sources = {
    SAME: lambda: [splits['train']],
    OTHER: lambda: [splits['validation'], splits['test']],
    CORPUS: lambda: [_of_other_corpus(run)],
  }[regime]()
  sources = [
    (split, np.flatnonzero(~np.isin(split.ids, judged.ids)))
    for split in sources
  ]
  ids = np.concatenate([split.ids[rows] for split, rows in sources])
  wanted = ids[order(ids, run.config.seeds[0], 0)[:num]]
  chosen = None
  for split, rows in sources:
    part = input_pipeline.subset(split, rows[np.isin(split.ids[rows], wanted)])
    chosen = joined(chosen, part) if chosen else part
  place = np.argsort(chosen.ids)
  place = place[np.searchsorted(chosen.ids, wanted, sorter=place)]
  return input_pipeline.subset(chosen, place)


def _of_other_corpus(run):
  """Returns the clips of the run's classes of the corpus named besides."""
  config, settings = run.config, run.config.substitute
  corpus = corpora.read(
    settings.corpus,
    num_samples=run.data.splits['train'].pcm.shape[1],
    **config.clip,
    folder=settings.folder,
    manifest=settings.manifest,
    channels=config.corpus.channels,
    data_dir=settings.data_dir or config.data_dir,
  )
  column = getattr(corpus, tasks.COLUMNS[config.task])
  labels = tasks.labels_in(run.classes, column)
  rows = np.flatnonzero(labels >= 0)
  return input_pipeline.Split(
    ids=corpus.ids[rows],
    pcm=corpus.pcm.subset(rows),
    num_samples=corpus.num_samples[rows],
    labels=labels[rows],
    starts=corpus.starts[rows],
    speakers=corpus.speaker[rows],
  )
