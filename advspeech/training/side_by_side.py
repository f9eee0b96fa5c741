"""Independent trainings at the same time, each on its share of the devices."""

import concurrent.futures
import logging
import queue
from collections.abc import Callable, Sequence
from typing import Any

from jax import sharding

from advspeech import errors, preemption

logger = logging.getLogger(__name__)


def run(
  train: Callable[[Any, sharding.Mesh], Any],
  members: Sequence[Any],
  meshes: Sequence[sharding.Mesh],
) -> list[Any]:
  """Returns `train(member, mesh)` for every member, in their order.

  As many run at a time as there are meshes. A member that fails does not end
  the others; what went wrong first is raised when they are done.

  Args:
    train: Called in a thread of its own where there are several meshes.
    members: What is to be trained.
    meshes: Disjoint groups of devices.

  Raises:
    preemption.Stopped: If a signal asked for it; every member was saved.
  """
  if len(meshes) == 1:
    return [train(member, meshes[0]) for member in members]
  free = queue.SimpleQueue()
  for mesh in meshes:
    free.put(mesh)

  def train_on_a_free_mesh(member):
    mesh = free.get()
    try:
      return train(member, mesh)
    except errors.InputError as e:
      logger.warning('%s', e)
      raise
    finally:
      free.put(mesh)

  with concurrent.futures.ThreadPoolExecutor(len(meshes)) as executor:
    futures = [executor.submit(train_on_a_free_mesh, m) for m in members]
    concurrent.futures.wait(futures)
  failed = [e for future in futures if (e := future.exception())]
  stopped = [e for e in failed if isinstance(e, preemption.Stopped)]
  for error in stopped + failed:
    raise error
  return [future.result() for future in futures]
