"""Epochs of batches on the mesh, in an order fixed by (seed, epoch) alone.

Clips lie in memory, on the devices, or on disk; the batches are the same. They
stay int16 until they are on the device: half the bytes over the wire.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import audio, holdout, parallel, randomness, tasks

if TYPE_CHECKING:  # at run time it would bring TFDS
  from advspeech import corpora
  from advspeech.corpora import stored

Batch = dict[str, Any]
# Batches that are read and sent ahead of the one asked for.
_AHEAD = 2
# Marks a row of a batch that no clip fills.
_NONE = -1


@dataclasses.dataclass(frozen=True)
class Split:
  """Labelled clips.

  Attributes:
    ids: [num_clips] utterance ids.
    pcm: [num_clips, time] int16: an array in memory, one on all devices
      (`place`), or clips that are read from disk when they are needed.
    num_samples: [num_clips] recorded samples, at most `time`.
    labels: [num_clips] int32.
    starts: [num_clips] first recorded sample; all 0 if None.
    speakers: [num_clips] who speaks, '' where unknown; unknown if None.
  """

  ids: np.ndarray
  pcm: 'np.ndarray | jax.Array | stored.StoredClips'
  num_samples: np.ndarray
  labels: np.ndarray
  starts: np.ndarray | None = None
  speakers: np.ndarray | None = None

  def __post_init__(self):
    """Sets `starts` and `speakers` where they were not given."""
    if self.starts is None:
      object.__setattr__(self, 'starts', np.zeros(len(self.ids), np.int32))
    if self.speakers is None:
      object.__setattr__(self, 'speakers', np.full(len(self.ids), ''))

  def __len__(self) -> int:
    """Returns the number of clips."""
    return len(self.ids)

  @property
  def spans(self) -> np.ndarray:
    """[num_clips, 2] where recordings begin in their clips, and end."""
    return np.stack([self.starts, self.starts + self.num_samples], 1)

  @functools.cached_property
  def id_words(self) -> np.ndarray:
    """[num_clips, 2] uint32 of each id; see `randomness.id_words`."""
    return randomness.id_words(self.ids)

  def ids_sha256(self) -> str:
    """Returns the digest of the ids, in their order."""
    return hashlib.sha256('\n'.join(map(str, self.ids)).encode()).hexdigest()


def spread(split: Split, num: int) -> Split:
  """Returns `num` clips evenly spread over a split; all if -1 or too many.

  Neighbours by id are much alike: of one emotion in RAVDESS, of one dialogue in
  IEMOCAP.

  Args:
    split: The clips.
    num: How many are wanted.
  """
  if not 0 <= num < len(split):
    return split
  return subset(split, spread_rows(len(split), num))


def spread_rows(num_clips: int, num: int) -> np.ndarray:
  """Returns rows of `num` of so many clips, ascending; all if -1."""
  num = num_clips if num < 0 else min(num, num_clips)
  return np.linspace(0, num_clips - 1, num).round().astype(int)


def subset(split: Split, rows: np.ndarray) -> Split:
  """Returns some clips of a split."""
  return Split(
    split.ids[rows],
    split.pcm[rows],
    split.num_samples[rows],
    split.labels[rows],
    split.starts[rows],
    split.speakers[rows],
  )


def make_splits(
  corpus: 'corpora.Corpus',
  task: tasks.Task,
  kind: str,
  seed: int,
  session: str = '',
  by: str = 'speaker',
) -> dict[str, Split]:
  """Returns the task's training, validation and test clips.

  Args:
    corpus: The clips.
    task: Which of them, and their labels.
    kind: One of `holdout.KINDS`.
    seed: Of the split.
    session: Held out, where the kind is 'leave_one_session_out'.
    by: What no test clip shares with others, where the kind is 'group': one of
      `tasks.GROUPS`.
  """
  rows, labels = task.rows, task.labels
  ids = corpus.ids[rows]
  names = np.array(task.classes)[labels]  # what is wrong is told by name
  if kind == 'speaker_disjoint':
    parts = holdout.speaker_disjoint(ids, names, corpus.speaker[rows], seed)
  elif kind == 'leave_one_session_out':
    parts = holdout.leave_one_session_out(
      ids, names, corpus.session[rows], session, seed
    )
  elif kind == 'group':
    group = getattr(corpus, by)[rows]
    parts = holdout.by_group(ids, names, group, by, seed)
  elif kind == 'manifest':
    parts = holdout.given(ids, names, corpus.split[rows])
  else:
    parts = holdout.stratified(ids, names, seed)
  return {
    name: Split(
      ids=ids[part],
      pcm=corpus.pcm_of(rows[part]),
      num_samples=corpus.num_samples[rows[part]],
      labels=labels[part],
      starts=corpus.starts[rows[part]],
      speakers=corpus.speaker[rows[part]],
    )
    for name, part in parts.items()
  }


def place(
  splits: Mapping[str, Split], mesh: sharding.Mesh, budget_bytes: float
) -> dict[str, Split]:
  """Returns the splits with their clips on every device, those that fit there.

  Batches are then gathered where they are needed; no clip crosses from the host
  again. Where the devices are the host's own processors nothing would be
  gained, and the splits come back as they are.

  Args:
    splits: The clips, those that are to be placed before others first.
    mesh: Devices that get a copy each.
    budget_bytes: What all clips together may take on one of them.
  """
  placed = dict(splits)
  if parallel.is_host(mesh):
    return placed
  for name, split in splits.items():
    if split.pcm.nbytes <= budget_bytes:
      budget_bytes -= split.pcm.nbytes
      placed[name] = put_on_devices(split, mesh)
  return placed


def put_on_devices(split: Split, mesh: sharding.Mesh) -> Split:
  """Returns the split with a copy of its clips on every device."""
  pcm = parallel.replicate(np.asarray(split.pcm[:]), mesh)
  return dataclasses.replace(split, pcm=pcm)


def num_batches(split: Split, batch_size: int) -> int:
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
  split: Split,
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
  split: Split,
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
  gather = _gather_step(mesh)
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
def _gather_step(mesh):
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
