"""Data sets in buckets, of which this machine has copies.

ArrayRecord is written to and read from file systems alone: a data set in a
bucket is prepared here and sent there, its record last, and whoever reads it
fetches it first, into a folder that later programs find it in.
"""

import contextlib
import fcntl
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator

from advspeech import buckets, errors, storage
from advspeech.corpora import builder
from advspeech.corpora.source import Source

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(dataset: builder.SpeechBuilder) -> Iterator[None]:
  """Holds the data set for this process; removes what a killed one left."""
  parent = os.path.dirname(str(dataset.data_path))
  lock_path = os.path.join(parent, '.lock')
  try:
    os.makedirs(parent, exist_ok=True)
    pathlib.Path(lock_path).touch()
  except OSError as e:
    raise errors.InputError(
      f'{parent} cannot be written to ({e.strerror}); point --config.data_dir '
      'at a folder that can'
    ) from e
  with open(lock_path, 'w') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX)  # let go with the process, at the latest
    except OSError as e:
      logger.warning(
        '%s is on a file system without locks (%s): prepare with one process '
        'at a time; what a killed one leaves, incomplete.*, is yours to remove',
        parent,
        e.strerror,
      )
    else:
      for name in os.listdir(parent):
        left = os.path.join(parent, name)
        if name.startswith('incomplete.') and os.path.isdir(left):
          shutil.rmtree(left)
    yield


def is_here(dataset: builder.SpeechBuilder, source: Source) -> bool:
  """Returns whether what is here of a data set is the one in its bucket."""
  path, place = str(dataset.data_path), source.place(dataset)
  return path == place or _record_bytes(path) == _record_bytes(place)


def fetch(dataset: builder.SpeechBuilder, source: Source) -> None:
  """Makes what is here of a data set what its bucket holds, if it holds any.

  Raises:
    errors.InputError: If it is replaced meanwhile.
  """
  path, place = str(dataset.data_path), source.place(dataset)
  record = _record_bytes(place)
  if record is None or is_here(dataset, source):
    return
  logger.info('%s is copied to %s', place, path)
  aside = f'{os.path.dirname(path)}/incomplete.{os.getpid()}'
  try:
    buckets.fetch(place, aside)
    found = {_record_bytes(aside), _record_bytes(place)}
  except FileNotFoundError:
    found = set()
  if found != {record}:
    raise errors.InputError(
      f'{place} was replaced while it was read; start the same command again'
    )
  if os.path.exists(path):
    # Under its name it is never half there.
    shutil.rmtree(dataset.data_path.rename(f'{aside}.old'))
  os.replace(aside, path)


def send(dataset: builder.SpeechBuilder, source: Source) -> None:
  """Makes the data set in a bucket what is here."""
  path, place = str(dataset.data_path), source.place(dataset)
  logger.info('%s is copied to %s', path, place)
  buckets.send(path, place, builder.RECORD)


def _record_bytes(folder):
  """Returns the record of a data set; None if that is not there."""
  try:
    path = os.path.join(folder, builder.RECORD)
    with storage.opened(path, 'rb') as file:
      return file.read()
  except FileNotFoundError:
    return None
