"""What is in a checkpoint, and which processes Orbax takes to be there."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from advspeech import errors, parallel, storage


def by_all() -> ocp.options.MultiprocessingOptions:
  """Returns what makes Orbax save and restore by all processes together."""
  return ocp.options.MultiprocessingOptions()


def by_this() -> ocp.options.MultiprocessingOptions:
  """Returns what makes Orbax save and restore by this process alone."""
  if not parallel.is_distributed():
    return by_all()
  this = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=this,
    active_processes={this},
    barrier_sync_key_prefix=f'process-{this}',
  )


def restore_trees(
  folder: str,
  shown: str,
  metadata: Mapping[str, Any],
  like: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the trees of a checkpoint; see `manager.Checkpoints.restore`.

  Args:
    folder: Where it lies here.
    shown: Where it really lies.
    metadata: What it must have been saved with.
    like: A template for each tree.
  """
  _check(shown, read_item(folder, 'metadata', 'metadata'), metadata)
  with ocp.StandardCheckpointer(
    multiprocessing_options=by_all() if shown == folder else by_this()
  ) as checkpointer:
    return {
      name: checkpointer.restore(os.path.join(folder, name), tree)
      for name, tree in like.items()
    }


def read_item(folder: str, item: str, name: str) -> dict[str, Any]:
  """Returns one of the JSON files of a checkpoint."""
  return storage.read_json(os.path.join(folder, item, name))


def _check(path, found, expected):
  """Raises errors.InputError unless a checkpoint is the one expected."""
  found, expected = (
    {**x, **x['model'], **x.get('training', {})} for x in (found, expected)
  )
  different = ', '.join(
    f'{key}={found.get(key)!r} where {expected.get(key)!r} is expected'
    for key in sorted({*found, *expected} - {'model', 'training'})
    if found.get(key) != expected.get(key)
  )
  if different:
    raise errors.InputError(
      f'{path} holds a checkpoint of another model, {different}; use another '
      '--workdir or remove it'
    )
