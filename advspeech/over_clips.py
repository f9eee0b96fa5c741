"""The one way to run a function over clips.

A step takes one chunk of clips a device. How many clips a chunk has depends on
the kind of device alone, and whatever is random on a clip's id (`randomness`):
a clip is computed in the same company, to the same bits, whatever the batch
size and the number of devices and processes.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import sharding
from jax.sharding import PartitionSpec

from advspeech import (
  input_pipeline,
  parallel,
  preemption,
  progress,
  randomness,
)

Tree = Any
Function = Callable[[Tree, dict[str, jax.Array]], Tree]
# Clips of a study computed together on an accelerator; a CPU takes one.
_STUDIED = 8


class Specs(NamedTuple):
  """How a function's arguments and results lie on the mesh.

  Attributes:
    shared: Of what all clips need, or of its parts; a copy everywhere.
    columns: (name, where it lies) of columns that are not split over 'data'
      alone.
    results: Of the results, or of their parts.
  """

  shared: Any = PartitionSpec()
  columns: tuple[tuple[str, PartitionSpec], ...] = ()
  results: Any = PartitionSpec('data')

  def of_column(self, name: str) -> PartitionSpec:
    """Returns where a column lies."""
    return dict(self.columns).get(name, PartitionSpec('data'))


# Clips over 'data', and the same of what is found for them.
SPREAD = Specs()


def map_clips(
  fn: Function,
  split: input_pipeline.Split,
  mesh: sharding.Mesh,
  chunk: int,
  *,
  shared: Tree = (),
  columns: Mapping[str, np.ndarray] | None = None,
  seed: int = 0,
  rows: slice = slice(None),
  specs: Specs = SPREAD,
  name: str = '',
) -> Tree:
  """Returns a function of every clip, [num_clips, ...], on every process.

  Args:
    fn: Maps (shared, rows) to a tree of [chunk, ...], row by row; compiled once
      for all that are equal. Rows are `audio` and `mask` [chunk, time] (1 on
      recorded samples), `label` and `valid` [chunk] (1 on real clips), `key`
      [chunk] typed, each clip's own (see `randomness`), and the columns.
    split: The clips.
    mesh: The devices: all processes', or some of this one's alone.
    chunk: Clips that a device computes together; see `chunk_size`.
    shared: What all clips need, such as parameters.
    columns: [num_clips, ...] of the split, by name.
    seed: Of everything random.
    rows: Which clips; where they begin must be a whole chunk of the split for
      results that do not depend on it.
    specs: Where arguments and results lie.
    name: Of the progress shown; '' shows none.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  parts = [
    part
    for _, part in iterate_clips(
      fn,
      split,
      mesh,
      chunk,
      shared=shared,
      columns=columns,
      seed=seed,
      rows=rows,
      specs=specs,
      name=name,
    )
  ]
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def iterate_clips(
  fn: Function,
  split: input_pipeline.Split,
  mesh: sharding.Mesh,
  chunk: int,
  *,
  shared: Tree = (),
  columns: Mapping[str, np.ndarray] | None = None,
  seed: int = 0,
  rows: slice = slice(None),
  specs: Specs = SPREAD,
  name: str = '',
) -> Iterator[tuple[np.ndarray, Tree]]:
  """Yields numbers of clips and a function of them, step by step.

  Arguments as `map_clips`'s, for results that are too large to hold together.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  step = compiled(fn, mesh, tuple(columns or ()), specs)
  order = np.arange(len(split))[rows]
  size = chunk * mesh.shape['data']
  is_shared = parallel.is_shared(mesh)
  for numbers, batch in progress.track(
    batches(split, size, mesh, columns, order=order, specs=specs),
    name,
    -(-len(order) // size),
    'step',
    shown=bool(name) and parallel.is_lead(),
  ):
    # On devices of its own a process is alone, and others ask elsewhere.
    preemption.check() if is_shared else preemption.check_alone()
    found = parallel.fetch(step(shared, np.uint32(seed), *batch), mesh)
    num = len(numbers)
    yield numbers, jax.tree.map(lambda x, num=num: x[:num], found)


def batches(
  split: input_pipeline.Split,
  size: int,
  mesh: sharding.Mesh,
  columns: Mapping[str, np.ndarray] | None = None,
  *,
  order: np.ndarray | None = None,
  specs: Specs = SPREAD,
) -> Iterator[tuple[np.ndarray, tuple[Tree, Tree]]]:
  """Yields numbers of clips and what a compiled step takes of them.

  The last batch is filled up with silence, valid 0, and with repetitions of
  the columns' last row.

  Args:
    split: The clips.
    size: Rows a batch, a multiple of the device count.
    mesh: Where batches go.
    columns: [num_clips, ...] of the split, by name.
    order: [num_clips] of the clips wanted; None for all.
    specs: Where the columns lie.
  """
  for numbers, encoded in input_pipeline.encoded_batches(
    split, size, mesh, order
  ):
    fill = size - len(numbers)
    own = {
      name: parallel.place(
        _filled(x[numbers], fill), mesh, specs.of_column(name)
      )
      for name, x in (columns or {}).items()
    }
    yield numbers, (encoded, own)


def _filled(x, num):
  return np.pad(x, [(0, num)] + [(0, 0)] * (x.ndim - 1), mode='edge')


def compiled(
  fn: Function,
  mesh: sharding.Mesh,
  columns: tuple[str, ...] = (),
  specs: Specs = SPREAD,
) -> Callable[..., Tree]:
  """Returns the compiled step behind `map_clips`; the same one again.

  Of (shared, seed, encoded clips, columns), as `batches` yields the last two.
  Clips are sent as int16 and decoded where they are computed.

  Args:
    fn: See `map_clips`.
    mesh: The devices.
    columns: Their names.
    specs: Where arguments and results lie.
  """
  return steps(_types(fn), fn, mesh, columns, specs)


def _types(x):
  """Returns the type of x and of all that it is a tuple of.

  Named tuples of one content are equal, whatever their class and what it does.
  """
  return (type(x), *map(_types, x)) if isinstance(x, tuple) else type(x)


@functools.lru_cache
def steps(types, fn, mesh, columns, specs):
  """Returns what `compiled` does, for the cache by types of functions too."""
  del types

  def step(shared, seed, encoded, own):
    clips, recorded = input_pipeline.decode(encoded['pcm'], encoded['span'])
    rows = {
      'audio': clips,
      'mask': recorded,
      'label': encoded['label'],
      'valid': encoded['valid'],
      'key': randomness.clip_keys(jax.random.key(seed), encoded['id_words']),
      **own,
    }
    return fn(shared, rows)

  return jax.jit(
    jax.shard_map(
      step,
      mesh=mesh,
      in_specs=(
        specs.shared,
        PartitionSpec(),
        PartitionSpec('data'),
        {name: specs.of_column(name) for name in columns},
      ),
      out_specs=specs.results,
      check_vma=False,
    )
  )


def abstract_batch(
  size: int, num_samples: int, mesh: sharding.Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shapes, types and placement of a batch's encoded clips, unmade.

  To compile without clips, for devices that this process need not have.
  """
  return input_pipeline.abstract_encoded(size, num_samples, mesh)


def chunk_size(
  mesh: sharding.Mesh,
  *,
  on_host: int = 1,
  on_accelerator: int = _STUDIED,
  clip_bytes: float = 0,
  memory_bytes: float = 0,
) -> int:
  """Returns how many clips a device computes together, at least one.

  The number of devices does not count, nor what else is computed, for the last
  bit of a clip depends on its company.

  Args:
    mesh: The devices.
    on_host: At most, where they are the host's processors.
    on_accelerator: At most, elsewhere.
    clip_bytes: What one clip takes while it is computed; 0 if not known.
    memory_bytes: What all of them may.
  """
  at_most = on_host if parallel.is_host(mesh) else on_accelerator
  if not clip_bytes:
    return at_most
  return min(at_most, max(1, int(memory_bytes // clip_bytes)))
