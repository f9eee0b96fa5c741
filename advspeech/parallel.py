"""The mesh: the only module that knows devices.

Parameters are replicated, batches are sharded on 'data'. Everything else is
written for one device and compiled by `jax.jit` for all of them.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import sharding

from advspeech import errors


def make_mesh() -> sharding.Mesh:
  """Returns a mesh of all devices along 'data'.

  Auto axes: Flax linen does not run under Explicit ones, which are
  `jax.make_mesh`'s default.
  """
  return jax.make_mesh(
    (len(jax.devices()),),
    ('data',),
    axis_types=(sharding.AxisType.Auto,),
  )


def replicated(mesh: sharding.Mesh) -> sharding.NamedSharding:
  """Returns the placement of parameters: a copy on every device."""
  return sharding.NamedSharding(mesh, sharding.PartitionSpec())


def sharded(mesh: sharding.Mesh, axis: int = 0) -> sharding.NamedSharding:
  """Returns the placement of batches: array axis `axis` over 'data'."""
  spec = (*[None] * axis, 'data')
  return sharding.NamedSharding(mesh, sharding.PartitionSpec(*spec))


def shard_batch(batch: Any, mesh: sharding.Mesh) -> Any:
  """Returns a tree of [batch, ...] arrays, placed with rows over 'data'."""
  return jax.device_put(batch, sharded(mesh))


def abstract_replicated(make: Callable[[], Any], mesh: sharding.Mesh) -> Any:
  """Returns shapes, types and placement of `make()`, replicated, unmade."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)),
    jax.eval_shape(make),
  )


def check_batch_size(name: str, batch_size: int, mesh: sharding.Mesh) -> None:
  """Raises errors.InputError unless every device gets the same rows."""
  num_devices = mesh.size
  if batch_size < 1 or batch_size % num_devices:
    lower = batch_size // num_devices * num_devices
    choices = [n for n in (lower, lower + num_devices) if n > 0]
    raise errors.InputError(
      f'{name} must be a multiple of the device count, got '
      f'{batch_size} and {num_devices}; use {" or ".join(map(str, choices))}'
    )


def device_summary() -> dict[str, Any]:
  """Returns what the program runs on, for records."""
  devices = jax.devices()
  return {
    'platform': devices[0].platform,
    'device_kind': devices[0].device_kind,
    'num_devices': len(devices),
    'num_processes': jax.process_count(),
  }
