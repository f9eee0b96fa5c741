"""Embeddings of clips and the scores of clean trials."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import embedders, input_pipeline, over_clips
from advspeech.studies.verification import trials as trials_lib

logger = logging.getLogger(__name__)

# Clips a device computes together: a step of an LSTM for many costs little more
# than one for a few.
CHUNK = {'on_host': 16, 'on_accelerator': 64}


class Embedding(NamedTuple):
  """An embedder as a function for `over_clips.map_clips`."""

  embedder: embedders.Embedder

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns embeddings, [chunk, dimension]."""
    return self.embedder.apply(shared, rows['audio'], rows['mask'])


def split_of(
  corpus: Any, rows: np.ndarray, ids: Sequence[str], labels: np.ndarray
) -> input_pipeline.Split:
  """Returns clips of a corpus as a split, some perhaps several times.

  Args:
    corpus: A `corpora.Corpus`.
    rows: [num] of it.
    ids: [num] what randomness goes by.
    labels: [num] of the clips.
  """
  return input_pipeline.Split(
    ids=np.array(ids),
    pcm=corpus.pcm.subset(rows),
    num_samples=corpus.num_samples[rows],
    labels=np.asarray(labels, np.int32),
    starts=corpus.starts[rows],
    speakers=corpus.speaker[rows],
  )


class Embedded:
  """The embeddings of some clips by one embedder.

  Attributes:
    rows: [num] of the corpus, ascending.
    vectors: [num, dimension], of L2 norm 1, or 0.
  """

  def __init__(self, rows: np.ndarray, vectors: np.ndarray):
    self.rows = rows
    self.vectors = vectors

  def of(self, rows: Sequence[int]) -> np.ndarray:
    """Returns the embeddings of rows, [num, dimension]."""
    return self.vectors[np.searchsorted(self.rows, rows)]

  def mean_of(self, rows: Sequence[int]) -> np.ndarray:
    """Returns the mean embedding of rows, [dimension], of L2 norm 1."""
    return unit(self.of(rows).mean(0))

  def scores(self, trials: Sequence[trials_lib.Trial]) -> np.ndarray:
    """Returns the cosines of clean trials, [num_trials]."""
    enrolled = trials_lib.columns(trials, self.mean_of, 'enrolled')
    return np.sum(self.of([t.row for t in trials]) * enrolled, -1)


def unit(x: np.ndarray) -> np.ndarray:
  """Returns vectors over their L2 norm, [..., dimension]; 0 for 0."""
  length = np.linalg.norm(x, axis=-1, keepdims=True)
  return x / np.where(length == 0, 1, length)


def embed(
  embedder: embedders.Embedder,
  corpus: Any,
  rows: np.ndarray,
  mesh: sharding.Mesh,
) -> np.ndarray:
  """Returns the embeddings of clips, [num, dimension], of L2 norm 1 or 0.

  Args:
    embedder: By which.
    corpus: A `corpora.Corpus`.
    rows: [num] of it.
    mesh: The devices.

  Raises:
    errors.InputError: If one is not finite.
    preemption.Stopped: If a signal asked for it.
  """
  found = over_clips.map_clips(
    Embedding(embedder),
    split_of(corpus, rows, corpus.ids[rows], np.zeros(len(rows))),
    mesh,
    over_clips.chunk_size(mesh, **CHUNK),
    shared=embedder.variables,
    name=f'embeddings by {embedder.title}',
  )
  found = np.asarray(found, np.float64)
  embedders.check_finite(embedder, corpus.ids[rows], found)
  num_zero = int((~found.any(-1)).sum())
  if num_zero:
    logger.warning(
      'verification: %s gives %d of %d clips an embedding of zeros, which is '
      'like no other (cosine 0)',
      embedder.title,
      num_zero,
      len(found),
    )
  return unit(found)


def cosine(x: jax.Array, y: jax.Array) -> jax.Array:
  """Returns cosines, [batch]; 0, with a gradient of 0, where x is 0.

  Args:
    x: [batch, dimension].
    y: [batch, dimension] of L2 norm 1, or 0.
  """
  return jnp.sum(embedders.unit(x) * y, -1)
