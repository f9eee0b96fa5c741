"""Epochs of batches on the mesh, in an order fixed by (seed, epoch) alone.

Clips lie in memory, on the devices, or on disk; the batches are the same. They
stay int16 until they are on the device: half the bytes over the wire.
"""

import collections
import concurrent.futures
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import audio, parallel
from advspeech.input_pipeline import splits

Batch = dict[str, Any]
# Batches that are read and sent ahead of the one asked for.
_AHEAD = 2
# Marks a row of a batch that no clip fills.
_NONE = -1


def num_batches(split: splits.Split, batch_size: int) -> int:
  """Returns batches an epoch, the last, partial one counted."""
  return -(-len(split) // batch_size)


def batch_rows(order: np.ndarray, batch_size: int) -> np.ndarray:
  """Returns which clip is where, [num_batches, batch_size], -1 for none.

  Devices, and with them processes, take equal parts of a row, whatever their
  number: together they have every clip once.
  """
  fill = -len(order) % batch_size
  padded = np.pad(order, (0, fill), constant_values=_NONE)
  return padded.reshape(-1, batch_size).astype(np.int32)


def batches(
  split: splits.Split,
  batch_size: int,
  mesh: sharding.Mesh,
  order: np.ndarray | None = None,
) -> Iterator[Batch]:
  """Yields every clip once, in batches of one fixed size.

  A batch has `audio` [batch, time] float32 in [0, 1], `label` [batch], `mask`
  [batch, time] (1 on recorded samples), `id_words` [batch, 2] and `valid`
  [batch] (1 on real rows) on the mesh, and `id`, the real rows' ids, on the
  host. The last batch is filled
  up with rows of silence, valid 0. A process reads its devices' clips alone.

  Args:
    split: The clips.
    batch_size: Rows a batch, a multiple of the device count.
    mesh: Where batches go.
    order: [num_clips] permutation, or what is left of it; None keeps the order
      of the split.
  """
  for rows, encoded in encoded_batches(split, batch_size, mesh, order):
    yield {**_decode_batch(encoded), 'id': split.ids[rows]}


def encoded_batches(
  split: splits.Split,
  batch_size: int,
  mesh: sharding.Mesh,
  order: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, Batch]]:
  """Yields the batches of `batches` as they are sent, still to be decoded.

  Of each the real rows' numbers in the split, and on the mesh `pcm` [batch,
  time] int16, `span` [batch, 2], `label` [batch], `id_words` [batch, 2] and
  `valid` [batch].

  Args:
    split: The clips.
    batch_size: Rows a batch, a multiple of the device count.
    mesh: Where batches go.
    order: See `batches`.
  """
  if order is None:
    order = np.arange(len(split))
  table = batch_rows(order, batch_size)
  if isinstance(split.pcm, jax.Array):
    steps = _gathered(split, table, mesh)
  else:
    steps = _ahead(functools.partial(_sent, split, mesh=mesh), table)
  for rows, encoded in zip(table, steps, strict=True):
    yield rows[rows != _NONE], encoded


def _sent(split, rows, mesh):
  """Returns a batch as it is sent: int16 clips and their numbers."""

  def read(part):
    chosen = rows[part]
    clips = np.zeros((len(chosen), split.pcm.shape[1]), np.int16)
    real = chosen != _NONE
    clips[real] = split.pcm[chosen[real]]
    return clips

  real = rows != _NONE
  return {
    'pcm': parallel.shard_rows(read, (len(rows), split.pcm.shape[1]), mesh),
    **parallel.shard_batch(
      {
        'span': np.where(real[:, None], split.spans[rows], 0).astype(np.int32),
        'label': np.where(real, split.labels[rows], 0),
        'id_words': np.where(real[:, None], split.id_words[rows], 0),
        'valid': real.astype(np.float32),
      },
      mesh,
    ),
  }


def _ahead(make: Callable[[Any], Any], items) -> Iterator[Any]:
  """Yields `make(item)` of each, computed in a thread ahead of time."""
  with concurrent.futures.ThreadPoolExecutor(1, 'batches') as thread:
    waiting = collections.deque()
    try:
      for item in items:
        waiting.append(thread.submit(make, item))
        if len(waiting) > _AHEAD:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:  # who asks no more need not wait for what is not begun
      for future in waiting:
        future.cancel()


def _gathered(split, table, mesh):
  """Yields batches as they are sent, put together on the devices."""
  gather = gather_step(mesh)
  columns = parallel.replicate(
    {
      'span': split.spans.astype(np.int32),
      'label': split.labels,
      'id_words': split.id_words,
    },
    mesh,
  )
  on_device = parallel.replicate(table, mesh)
  for step in range(len(table)):
    yield gather(split.pcm, columns, on_device, step)


@functools.lru_cache
def gather_step(mesh: sharding.Mesh) -> Callable[..., Batch]:
  """Returns the compiled function that puts a batch together, by its number."""

  def gather(pcm, columns, table, step):
    rows = jax.lax.with_sharding_constraint(table[step], parallel.sharded(mesh))
    real = rows != _NONE

    def of_rows(x):
      is_real = real.reshape(-1, *(1,) * (x.ndim - 1))
      return jnp.where(is_real, x[rows], jnp.zeros((), x.dtype))

    batch = jax.tree.map(of_rows, {**columns, 'pcm': pcm})
    return {**batch, 'valid': real.astype(jnp.float32)}

  copies = parallel.replicated(mesh)
  return jax.jit(
    gather,
    in_shardings=(copies, copies, copies, None),
    out_shardings=parallel.sharded(mesh),
  )


def step_arrays(batch: Batch) -> Batch:
  """Returns what steps of training and evaluation take, all on the mesh."""
  return {key: value for key, value in batch.items() if key != 'id'}


def abstract_batch(
  batch_size: int, num_samples: int, mesh: sharding.Mesh
) -> Batch:
  """Returns shapes, types and placement of `step_arrays`, unmade."""
  arrays = {
    'audio': ((batch_size, num_samples), np.float32),
    'label': ((batch_size,), np.int32),
    'mask': ((batch_size, num_samples), np.float32),
    'id_words': ((batch_size, 2), np.uint32),
    'valid': ((batch_size,), np.float32),
  }
  return parallel.abstract_sharded(arrays, mesh)


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
  """Returns the permutation of an epoch's clips, from (seed, epoch) alone."""
  return np.random.default_rng([seed, epoch]).permutation(num_clips)


def rows_reordered(
  order: np.ndarray, batch_size: int, row_order: int
) -> np.ndarray:
  """Returns an order of clips with the rows of every batch in another one.

  Args:
    order: [num_clips] as `epoch_order` returns.
    batch_size: Clips of a batch; the last may have fewer.
    row_order: Which other order.
  """
  rng = np.random.default_rng([row_order, *order[:2]])
  starts = range(0, len(order), batch_size)
  batches = [rng.permutation(order[i : i + batch_size]) for i in starts]
  return np.concatenate(batches)


def abstract_encoded(
  batch_size: int, num_samples: int, mesh: sharding.Mesh
) -> Batch:
  """Returns shapes, types and placement of `encoded_batches`, unmade."""
  arrays = {
    'pcm': ((batch_size, num_samples), np.int16),
    'span': ((batch_size, 2), np.int32),
    'label': ((batch_size,), np.int32),
    'id_words': ((batch_size, 2), np.uint32),
    'valid': ((batch_size,), np.float32),
  }
  return parallel.abstract_sharded(arrays, mesh)


def decode(pcm: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns clips in model range and 1 on recorded samples, both [batch, time].

  Args:
    pcm: [batch, time] int16.
    span: [batch, 2] where recordings begin in their clips, and end.
  """
  time = jnp.arange(pcm.shape[1])[None]
  recorded = (span[:, :1] <= time) & (time < span[:, 1:])
  return audio.from_pcm(pcm), recorded.astype(jnp.float32)


@jax.jit
def _decode_batch(encoded):
  clips, recorded = decode(encoded['pcm'], encoded['span'])
  return {
    'audio': clips,
    'label': encoded['label'],
    'mask': recorded,
    'id_words': encoded['id_words'],
    'valid': encoded['valid'],
  }
