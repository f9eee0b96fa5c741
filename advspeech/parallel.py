"""Devices and the mesh: the only module that knows them.

Parameters are replicated, batches are sharded on 'data'; a sweep may also be
spread over its epsilons, on 'epsilon'. Several processes run the same program;
each holds the same host arrays and places its own devices' share of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import sharding
from jax.experimental import multihost_utils

from advspeech import errors


def is_distributed() -> bool:
  """Returns whether JAX's multi-process runtime is started."""
  return jax.distributed.is_initialized()


def is_lead() -> bool:
  """Returns whether this process writes logs and tables."""
  return jax.process_index() == 0


def on_lead(action: Callable[[], Any], done: str) -> None:
  """Does something on process 0, while the others wait.

  Args:
    action: What to do.
    done: What is true then; all processes must mean the same.
  """
  if is_lead():
    action()
  multihost_utils.sync_global_devices(done)


def agree(make: Callable[[], int]) -> int:
  """Returns the integer `make()` of process 0, on all of them.

  What lies on disk is asked by one, lest others see it a moment later.
  """
  if jax.process_count() == 1:
    return make()
  value = np.int32(make() if is_lead() else 0)
  return int(multihost_utils.broadcast_one_to_all(value))


def gather(value: int) -> list[int]:
  """Returns each process's integer, in the order of the processes."""
  if jax.process_count() == 1:
    return [value]
  values = multihost_utils.process_allgather(np.int32(value))
  return values.ravel().tolist()


def share_out(
  make: Callable[[int], np.ndarray], num: int, shape: tuple[int, ...]
) -> np.ndarray:
  """Returns `make(i)` for i below `num`, [num, *shape] float64.

  Each is computed by one process, on its host, and returned by all.

  Args:
    make: Returns float64 of that shape.
    num: How many there are; the same on every process.
    shape: Of each.
  """
  values = np.zeros((num, *shape))
  for i in range(jax.process_index(), num, jax.process_count()):
    values[i] = make(i)
  if jax.process_count() == 1:
    return values
  # As integers: devices would make float32 of them, and the others are zeros.
  words = multihost_utils.process_allgather(values.view(np.uint32))
  return words.sum(0, dtype=np.uint32).view(np.float64)


def make_mesh(
  num_epsilon: int = 1, devices: Sequence[jax.Device] | None = None
) -> sharding.Mesh:
  """Returns the ('data', 'epsilon') mesh.

  Auto axes: Flax linen does not run under Explicit ones, which are
  `jax.make_mesh`'s default.

  Args:
    num_epsilon: Devices along 'epsilon'; the rest are along 'data'.
    devices: All there are if None.

  Raises:
    errors.InputError: If `num_epsilon` does not divide the device count.
  """
  num_devices = len(devices or jax.devices())
  if num_epsilon < 1 or num_devices % num_epsilon:
    raise errors.InputError(
      'config.sweep.epsilon_devices must divide the device count, got '
      f'{num_epsilon} and {num_devices}; use 1 or a divisor'
    )
  return jax.make_mesh(
    (num_devices // num_epsilon, num_epsilon),
    ('data', 'epsilon'),
    axis_types=(sharding.AxisType.Auto,) * 2,
    devices=devices,
  )


def submeshes(
  num_members: int, devices: Sequence[jax.Device] | None = None
) -> list[sharding.Mesh]:
  """Returns meshes that share out the devices among independent trainings.

  As many as there are members, or devices if those are fewer; one, of all
  devices, where several processes run: those take part in every training.

  Args:
    num_members: How many there are.
    devices: All there are if None.
  """
  devices = devices or jax.devices()
  if len({device.process_index for device in devices}) > 1:
    return [make_mesh(devices=devices)]
  num = min(num_members, len(devices))
  size = len(devices) // num
  return [
    make_mesh(devices=devices[i * size : (i + 1) * size]) for i in range(num)
  ]


def replicated(mesh: sharding.Mesh) -> sharding.NamedSharding:
  """Returns the placement of parameters: a copy on every device."""
  return sharding.NamedSharding(mesh, sharding.PartitionSpec())


def sharded(mesh: sharding.Mesh, axis: int = 0) -> sharding.NamedSharding:
  """Returns the placement of batches: array axis `axis` over 'data'."""
  spec = (*[None] * axis, 'data')
  return sharding.NamedSharding(mesh, sharding.PartitionSpec(*spec))


def shard_batch(batch: Any, mesh: sharding.Mesh) -> Any:
  """Returns a tree of [batch, ...] arrays, placed with rows over 'data'.

  Args:
    batch: Host arrays, the same on every process.
    mesh: Where they go.
  """
  return jax.tree.map(lambda x: place(x, mesh, sharded(mesh).spec), batch)


def place(
  x: np.ndarray, mesh: sharding.Mesh, spec: sharding.PartitionSpec
) -> jax.Array:
  """Returns a host array, the same on every process, where a spec says."""
  where = sharding.NamedSharding(mesh, spec)
  return jax.make_array_from_callback(x.shape, where, x.__getitem__)


def shard_rows(
  read: Callable[[slice], np.ndarray],
  shape: tuple[int, ...],
  mesh: sharding.Mesh,
) -> jax.Array:
  """Returns a [batch, ...] array with rows over 'data', read where they go.

  Args:
    read: Maps a slice of the rows to them; asked for this process's own alone,
      once for each.
    shape: Of the whole.
    mesh: Where it goes.
  """
  parts = {}

  def part(index):
    rows = index[0].indices(shape[0])[:2]
    if rows not in parts:  # devices along 'epsilon' have the same
      parts[rows] = read(slice(*rows))
    return parts[rows]

  return jax.make_array_from_callback(shape, sharded(mesh), part)


def replicate(tree: Any, mesh: sharding.Mesh) -> Any:
  """Returns a tree of host arrays with a copy on every device.

  Args:
    tree: The same on every process.
    mesh: Where copies go.
  """
  return jax.tree.map(lambda x: place(x, mesh, replicated(mesh).spec), tree)


def platform(mesh: sharding.Mesh | None = None) -> str:
  """Returns what kind of device runs a program: 'cpu', 'gpu' or 'tpu'.

  A program may be compiled for devices that this process does not have: only
  where no mesh is named or being traced for is it the default device's.

  Args:
    mesh: Where the program runs; None for that whose jax.shard_map is being
      traced, if any.
  """
  known = mesh.abstract_mesh if mesh else sharding.get_abstract_mesh()
  device = known.abstract_device
  return device.platform if device else jax.default_backend()


def is_host(mesh: sharding.Mesh | None = None) -> bool:
  """Returns whether devices are the host's processors, with its memory.

  Args:
    mesh: See `platform`.
  """
  return platform(mesh) == 'cpu'


def is_shared(mesh: sharding.Mesh) -> bool:
  """Returns whether devices are those of several processes."""
  return len({device.process_index for device in mesh.devices.flat}) > 1


def fetch(tree: Any, mesh: sharding.Mesh) -> Any:
  """Returns a tree of device arrays as whole host arrays.

  On every process that the mesh is of, all of which have to ask.
  """
  if not is_shared(mesh):
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


def own_mesh() -> sharding.Mesh:
  """Returns a mesh of this process's first device alone."""
  return make_mesh(devices=jax.local_devices()[:1])


def bring(tree: Any, mesh: sharding.Mesh) -> Any:
  """Returns copies of a tree, a copy on every device of another mesh.

  Args:
    tree: Host arrays, or arrays of which every process has a whole copy.
    mesh: Where copies go.
  """
  return replicate(jax.device_get(tree), mesh)


def abstract_replicated(
  make: Callable[..., Any], mesh: sharding.Mesh, *args: Any
) -> Any:
  """Returns shapes, types and placement of `make(*args)`, unmade.

  Args:
    make: Makes a tree of arrays.
    mesh: Where copies would be.
    *args: Trees of arrays, or of what describes them.
  """
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)),
    jax.eval_shape(make, *args),
  )


def abstract_sharded(
  arrays: Mapping[str, tuple[tuple[int, ...], Any]], mesh: sharding.Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns what describes arrays with rows over 'data', unmade.

  Args:
    arrays: Shape and type of each, by name.
    mesh: Where they would be.
  """
  return {
    name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharded(mesh))
    for name, (shape, dtype) in arrays.items()
  }


def check_batch_size(name: str, batch_size: int, mesh: sharding.Mesh) -> None:
  """Raises errors.InputError unless every device gets the same rows."""
  num_devices = mesh.shape['data']
  if batch_size < 1 or batch_size % num_devices:
    lower = batch_size // num_devices * num_devices
    choices = [n for n in (lower, lower + num_devices) if n > 0]
    raise errors.InputError(
      f'{name} must be a multiple of the device count, got '
      f'{batch_size} and {num_devices}; use {" or ".join(map(str, choices))}'
    )


def device_summary(mesh: sharding.Mesh) -> dict[str, Any]:
  """Returns what the program runs on, for records."""
  device = mesh.devices.flat[0]
  return {
    'platform': device.platform,
    'device_kind': device.device_kind,
    'num_devices': mesh.size,
    'num_processes': jax.process_count(),
  }


def map_rows(fn: Callable[..., Any], at_once: int, *rows: Any) -> Any:
  """Returns `fn(*rows)`, computed for a few rows at a time.

  Args:
    fn: Maps trees of [n, ...] to a tree of [n, ...], row by row, for any n.
    at_once: Rows at a time; as many as divide their number evenly and are not
      more than this.
    *rows: Trees of [batch, ...].
  """
  num_rows = jax.tree.leaves(rows)[0].shape[0]
  chunk = max(n for n in range(1, at_once + 1) if num_rows % n == 0)
  if chunk == num_rows:
    return fn(*rows)

  def split(x):
    return x.reshape(-1, chunk, *x.shape[1:])

  out = jax.lax.map(lambda rows: fn(*rows), jax.tree.map(split, rows))
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)
