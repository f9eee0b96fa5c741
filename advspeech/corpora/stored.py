"""Clips on disk, read by index in threads: for corpora larger than memory."""

import concurrent.futures
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from advspeech import audio, errors

# Reading waits for the disk more than it computes.
_THREADS_A_CORE = 4


class StoredClips:
  """Some of a data set's clips, indexed as [num_clips, time] int16 is.

  Attributes:
    shape: (num_clips, time).
    dtype: int16.
    nbytes: What they would take in memory.
  """

  def __init__(
    self,
    source: Sequence[Any],
    shape: audio.ClipShape,
    rows: np.ndarray,
    path: str = '',
  ):
    """Takes clips of a data source.

    Args:
      source: Examples with 'pcm', by index, from any thread.
      shape: How recordings become clips.
      rows: [num_clips] which of the examples.
      path: Where they lie, for a message that they are damaged.
    """
    self._source = source
    self._shape = shape
    self._rows = rows
    self._path = path

  @property
  def shape(self) -> tuple[int, int]:
    """(num_clips, time)."""
    return len(self._rows), self._shape.num_samples

  @property
  def dtype(self) -> np.dtype:
    """The type of a sample."""
    return np.dtype(np.int16)

  @property
  def nbytes(self) -> int:
    """What the clips would take in memory."""
    return self.shape[0] * self.shape[1] * self.dtype.itemsize

  def __len__(self) -> int:
    """Returns the number of clips."""
    return len(self._rows)

  def subset(self, rows: np.ndarray) -> 'StoredClips':
    """Returns some of the clips, unread."""
    return StoredClips(self._source, self._shape, self._rows[rows], self._path)

  def __getitem__(self, rows: Any) -> np.ndarray:
    """Returns the clips of a slice or of an array of rows, read now.

    Raises:
      errors.InputError: If the data set is damaged.
    """
    # What is asked for is read when it is asked for, and not remembered: the
    # system caches the files, as far as there is memory.
    wanted = self._rows[rows]
    clips = np.zeros((len(wanted), self._shape.num_samples), np.int16)

    # Each thread fills rows of its own, so that they need no lock.
    def read(i):
      try:
        example = self._source[int(wanted[i])]
      except (RuntimeError, ValueError) as e:
        if errors.of_machine(e, os.fspath(self._path)):
          raise
        raise damaged(self._path, str(e)) from e
      clips[i] = self._shape.clip(example['pcm'])

    # To the end, so that what went wrong in a thread is raised here.
    list(_pool().map(read, range(len(wanted))))
    return clips


def damaged(path: str | os.PathLike, why: str) -> errors.InputError:
  """Returns what to raise where a data set cannot be read."""
  return errors.InputError(
    f'the data set {path} is damaged ({why}); remove it and run '
    'python -m launch.prepare again, with the same --config'
  )


@functools.cache
def _pool():
  """Returns the threads that read; a process has one set of them."""
  return concurrent.futures.ThreadPoolExecutor(
    _THREADS_A_CORE * (os.cpu_count() or 1), 'read clips'
  )
