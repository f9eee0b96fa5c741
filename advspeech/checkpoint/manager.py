"""The checkpoints of a training run, as they are written."""

import concurrent.futures
import contextlib
import os
import re
import shutil
import threading
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from advspeech import buckets, errors, parallel, storage
from advspeech.checkpoint import damage, reading

# Latest two, so that a damaged one leaves one to go back to.
_NUM_LATEST = 2
RANKING = ('validation_accuracy', 'validation_loss')
# Of a defended training, by which it is ranked first.
ATTACKED_ACCURACY = 'validation_attacked_accuracy'
# Of a state that was not validated; Orbax complains at each without metrics.
UNRANKED = {'validation_accuracy': -1.0, 'validation_loss': 0.0}
# In a path Orbax reads the first four as a pattern, for which it finds nothing
# or a neighbour's files, a backslash as a slash, and gs:/ as a bucket.
_MISREAD = re.compile(r'[*?\[\]\\]|gs:/|://')


def check_path(workdir: str) -> None:
  """Raises errors.InputError at a folder that Orbax could not read back."""
  if buckets.is_bucket(workdir):
    return  # Orbax works on a copy here
  path = os.path.join(os.getcwd(), workdir)
  found = ' '.join(sorted(set(_MISREAD.findall(path))))
  if found:
    raise errors.InputError(
      f'{path} cannot hold checkpoints, because of {found} in it; use a '
      r'--workdir on a local path without * ? [ ] \ and gs:/'
    )


def rank(metrics: Mapping[str, float]) -> tuple[float, float, float]:
  """Returns the order of checkpoints: by accuracy, at a tie by lower loss.

  Those of a defended training by accuracy under attack before.
  """
  accuracy, minus_loss = metrics[RANKING[0]], -metrics[RANKING[1]]
  return metrics.get(ATTACKED_ACCURACY, accuracy), accuracy, minus_loss


# Saves of one process tell each other of their folders through numbers that
# Orbax counts for the whole process: two at a time take each other's.
_one_save_at_a_time = threading.Semaphore()


class Checkpoints:
  """The checkpoints of one training run, for writing; a context manager.

  Opening sets damaged checkpoints aside, in `<workdir>/damaged`, and says so.
  Leaving the context waits for saves in flight: Orbax loses the last one
  otherwise.
  """

  def __init__(self, workdir: str):
    """Opens (and creates) `<workdir>/checkpoints`.

    Raises:
      errors.InputError: If there are checkpoints and all are damaged, or the
        path is one that Orbax misreads.
    """
    check_path(workdir)
    self._folder = damage.folder_of(workdir)
    parallel.on_lead(
      lambda: damage.set_damaged_aside(workdir),
      f'damaged checkpoints of {workdir} are set aside',
    )
    self._opened = contextlib.ExitStack()
    self._path = self._opened.enter_context(storage.local_copy(self._folder))
    self._is_copy = self._path != self._folder
    if self._is_copy:  # before the lead sends any more
      parallel.on_lead(lambda: None, f'all have what is in {self._folder}')
    self._manager = ocp.CheckpointManager(
      self._path,
      options=ocp.CheckpointManagerOptions(
        best_fn=rank,
        best_mode='max',
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
          [
            checkpoint_managers.LatestN(_NUM_LATEST),
            checkpoint_managers.BestN(get_metric_fn=rank, n=1),
          ]
        ),
        cleanup_tmp_directories=True,
        create=not self._is_copy,
        multiprocessing_options=reading.by_this()
        if self._is_copy
        else reading.by_all(),
      ),
    )
    self._thread = concurrent.futures.ThreadPoolExecutor(1)
    self._sealing = None

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, kind, *exc_info):
    """Waits for saves in flight and closes."""
    try:
      self.wait()
    finally:
      self._thread.shutdown()
      self._manager.close()
      self._opened.close()
    if kind is None:
      # Process 0 writes the digests, without which the others read nothing.
      parallel.on_lead(lambda: None, f'{self._folder} is whole')

  def save(
    self,
    step: int,
    metadata: dict[str, Any],
    progress: dict[str, Any],
    metrics: Mapping[str, float] | None,
    **trees: Any,
  ) -> None:
    """Starts saving what training has reached after `step` steps.

    Args:
      step: Checkpoints are numbered by it; one of that number is replaced, and
        kept until the new one is whole.
      metadata: JSON-like description; `model` says what the arrays belong to.
      progress: JSON-like state of training that is in no array.
      metrics: What `rank` takes; None if this state was not validated.
      **trees: Named trees of arrays.
    """
    self.wait()
    path = damage.step_folder(self._path, step)
    if not self._is_copy:
      parallel.on_lead(lambda: damage.begin(path), f'step {step} can be saved')
    elif not parallel.is_lead():
      return  # all have the same arrays, and the lead sends them
    if step in self._manager.all_steps():
      self._manager.delete(step)
    if self._is_copy:
      trees = jax.tree.map(_on_host, trees)
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    items['metadata'] = ocp.args.JsonSave(metadata)
    items['progress'] = ocp.args.JsonSave(progress)
    _one_save_at_a_time.acquire()
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(**items),
        metrics=dict(metrics or UNRANKED),
      )
    except BaseException:
      _one_save_at_a_time.release()
      raise
    self._sealing = self._thread.submit(self._seal, step)

  def _seal(self, step):
    try:
      self._manager.wait_until_finished()
    finally:
      _one_save_at_a_time.release()
    if parallel.is_lead():
      path = damage.step_folder(self._path, step)
      damage.write_digests(path)
      shutil.rmtree(path + damage.SAVING, ignore_errors=True)
    if self._is_copy:
      self._send(step)

  def _send(self, step):
    """Makes the bucket hold what is here, of which one step is new."""
    here, there = (
      damage.step_folder(x, step) for x in (self._path, self._folder)
    )
    buckets.send(here, there, damage.DIGESTS)
    left = {str(step) for step in self._manager.all_steps()}
    for old in {*damage.numbered(self._folder)} - left:
      buckets.remove_tree(damage.step_folder(self._folder, old), damage.DIGESTS)

  def wait(self) -> None:
    """Waits for the save in flight; raises what went wrong in it."""
    sealing, self._sealing = self._sealing, None
    if sealing:
      sealing.result()

  @property
  def latest_step(self) -> int | None:
    """The last step saved, None if there is none."""
    return self._manager.latest_step()

  @property
  def best_step(self) -> int | None:
    """The best step by validation, None if there is none."""
    self.wait()
    best = self._manager.best_step()
    if best is None or self._manager.metrics(best) == UNRANKED:
      return None
    return best

  @property
  def best_metrics(self) -> dict[str, float] | None:
    """What the best step was saved with, None if there is none."""
    best = self.best_step
    return None if best is None else dict(self._manager.metrics(best))

  def progress(self, step: int) -> dict[str, Any]:
    """Returns the `progress` saved with `step`."""
    return reading.read_item(
      damage.step_folder(self._path, step), 'progress', 'metadata'
    )

  def restore(
    self, step: int, metadata: Mapping[str, Any], **like: Any
  ) -> dict[str, Any]:
    """Returns saved trees by name, placed as their templates say.

    Args:
      step: Which checkpoint.
      metadata: What it must have been saved with.
      **like: For each tree wanted, a tree of arrays or
        jax.ShapeDtypeStruct with shardings.

    Raises:
      errors.InputError: If the checkpoint is another model's.
    """
    here, there = (
      damage.step_folder(x, step) for x in (self._path, self._folder)
    )
    return reading.restore_trees(here, there, metadata, like)


def _on_host(array):
  """Returns an array that every device has a copy of, from one of them."""
  return np.asarray(array.addressable_data(0))
