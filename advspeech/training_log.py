"""What training tells: `metrics.jsonl`, TensorBoard events."""

import json
import math
import os
from collections.abc import Mapping

from advspeech import storage


class TrainingLog:
  """`metrics.jsonl` and TensorBoard events of a run; a context manager.

  On resuming, what was recorded after the checkpoint is dropped: those epochs
  are run again.
  """

  def __init__(self, workdir: str, first_epoch: int):
    """Opens the log of a run that goes on after `first_epoch` epochs."""
    import tensorboardX

    self._path = os.path.join(workdir, 'metrics.jsonl')
    kept = []
    if os.path.exists(self._path):
      with open(self._path, encoding='utf-8', errors='replace') as file:
        kept = [line for line in file if _epoch_of(line) <= first_epoch]
    with storage.replacing(self._path) as file:
      file.writelines(kept)
    self._file = open(self._path, 'a', encoding='utf-8')  # noqa: SIM115
    self._events = tensorboardX.SummaryWriter(
      os.path.join(workdir, 'tensorboard'), purge_step=first_epoch + 1
    )

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *exc_info):
    """Closes the files."""
    self._file.close()
    self._events.close()

  def write(self, metrics: Mapping[str, float]) -> None:
    """Appends an epoch's metrics, which tell their `epoch`."""
    with storage.naming(self._path):
      self._file.write(json.dumps(metrics) + '\n')
      self._file.flush()
    for key, value in metrics.items():
      self._events.add_scalar(key, value, metrics['epoch'])


def _epoch_of(line: str) -> float:
  """Returns a record's epoch; inf for a line cut short, or of anything else."""
  try:
    return float(json.loads(line)['epoch'])
  except (ValueError, TypeError, KeyError):
    return math.inf
