"""The log of a training: `metrics.jsonl`, TensorBoard events."""

import json
import math
import os
import tempfile
from collections.abc import Mapping

from advspeech import buckets, storage


class TrainingLog:
  """`metrics.jsonl` and TensorBoard events of a run; a context manager.

  On resuming, what was recorded after the checkpoint is dropped: those epochs
  are run again.

  Nothing can be added to an object in a bucket: there both are written anew
  after each epoch, the events, which TensorBoard's writer puts on disk alone,
  as a copy.
  """

  def __init__(self, workdir: str, first_epoch: int):
    """Opens the log of a run that goes on after `first_epoch` epochs."""
    import tensorboardX

    self._path = os.path.join(workdir, 'metrics.jsonl')
    self._lines = []
    if storage.exists(self._path):
      with storage.opened(self._path, errors='replace') as file:
        self._lines = [line for line in file if _epoch_of(line) <= first_epoch]
    self._write_again()
    self._file = self._copied = None
    events = self._events_at = os.path.join(workdir, 'tensorboard')
    if buckets.is_bucket(workdir):
      self._copied = tempfile.TemporaryDirectory(prefix='advspeech-')
      events = self._copied.name
    else:
      self._file = open(self._path, 'a', encoding='utf-8')  # noqa: SIM115
    self._events = tensorboardX.SummaryWriter(
      events, purge_step=first_epoch + 1
    )

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *exc_info):
    """Closes the files."""
    self._events.close()
    if self._file:
      self._file.close()
    else:
      self._copy_events()
      self._copied.cleanup()

  def write(self, metrics: Mapping[str, float]) -> None:
    """Appends an epoch's metrics, which have their `epoch`."""
    line = json.dumps(metrics) + '\n'
    if self._file:
      with storage.naming(self._path):
        self._file.write(line)
        self._file.flush()
    else:
      self._lines.append(line)
      self._write_again()
    for key, value in metrics.items():
      self._events.add_scalar(key, value, metrics['epoch'])
    if self._copied:
      self._events.flush()
      self._copy_events()

  def _write_again(self):
    with storage.replacing(self._path) as file:
      file.writelines(self._lines)

  def _copy_events(self):
    buckets.add(self._copied.name, self._events_at)


def _epoch_of(line: str) -> float:
  """Returns a record's epoch; inf for a line cut short, or of anything else."""
  try:
    return float(json.loads(line)['epoch'])
  except (ValueError, TypeError, KeyError):
    return math.inf
