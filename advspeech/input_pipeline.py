"""Epochs of batches on the mesh, in an order fixed by (seed, epoch) alone.

Clips stay int16 until they are on the device: half the bytes over the wire.
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import audio, parallel, tasks

if TYPE_CHECKING:  # at run time it would bring TFDS
  from advspeech import corpora

Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Split:
  """Labelled clips in memory.

  Attributes:
    ids: [num_clips] utterance ids.
    pcm: [num_clips, time] int16.
    num_samples: [num_clips] recorded samples, at most `time`.
    labels: [num_clips] int32.
  """

  ids: np.ndarray
  pcm: np.ndarray
  num_samples: np.ndarray
  labels: np.ndarray

  def __len__(self) -> int:
    """Returns the number of clips."""
    return len(self.ids)


def make_splits(
  corpus: 'corpora.Corpus', task: tasks.Task, kind: str, seed: int
) -> dict[str, Split]:
  """Returns the task's training, validation and test clips."""
  ids = corpus.ids[task.rows]
  if kind == 'speaker_disjoint':
    parts = tasks.speaker_disjoint_split(
      ids, task.labels, corpus.speaker[task.rows], seed
    )
  else:
    parts = tasks.split(ids, task.labels, seed)
  return {
    name: Split(
      ids=ids[part],
      pcm=corpus.pcm[task.rows[part]],
      num_samples=corpus.num_samples[task.rows[part]],
      labels=task.labels[part],
    )
    for name, part in parts.items()
  }


def num_batches(split: Split, batch_size: int) -> int:
  """Returns batches an epoch, the last, partial one counted."""
  return -(-len(split) // batch_size)


def batches(
  split: Split,
  batch_size: int,
  mesh: sharding.Mesh,
  order: np.ndarray | None = None,
) -> Iterator[Batch]:
  """Yields every clip once, in batches of one fixed size.

  A batch has `audio` [batch, time] float32 in [0, 1], `label` [batch], `mask`
  [batch, time] (1 on recorded samples) and `valid` [batch] (1 on real rows) on
  the mesh, and `id`, the real rows' ids, on the host. The last batch is filled
  up with rows of silence, valid 0.

  Args:
    split: The clips.
    batch_size: Rows a batch, a multiple of the device count.
    mesh: Where batches go.
    order: [num_clips] permutation; None keeps the order of the split.
  """
  if order is None:
    order = np.arange(len(split))
  for start in range(0, len(order), batch_size):
    rows = order[start : start + batch_size]
    fill = batch_size - len(rows)
    on_device = _decode(
      **parallel.shard_batch(
        {
          'pcm': np.pad(split.pcm[rows], ((0, fill), (0, 0))),
          'num_samples': np.pad(split.num_samples[rows], (0, fill)),
          'label': np.pad(split.labels[rows], (0, fill)),
          'valid': np.pad(np.ones(len(rows), np.float32), (0, fill)),
        },
        mesh,
      )
    )
    yield {**on_device, 'id': split.ids[rows]}


def step_arrays(batch: Batch) -> Batch:
  """Returns what steps of training and evaluation take, all on the mesh."""
  return {key: batch[key] for key in ('audio', 'label', 'valid')}


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
  """Returns the permutation of an epoch's clips, from (seed, epoch) alone."""
  return np.random.default_rng([seed, epoch]).permutation(num_clips)


@jax.jit
def _decode(pcm, num_samples, label, valid):
  mask = jnp.arange(pcm.shape[1])[None] < num_samples[:, None]
  return {
    'audio': audio.from_pcm(pcm),
    'label': label,
    'mask': mask.astype(jnp.float32),
    'valid': valid,
  }
