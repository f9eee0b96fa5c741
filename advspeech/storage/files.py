"""Files and folders: written whole or not at all, here or in a bucket.

A new file takes the place of the old one, in a bucket as an object does. What
is here takes paths of both; see `buckets`.
"""

import contextlib
import io
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

from advspeech import buckets, errors
from advspeech.storage.locations import by_place

PUT_BACK = 'put it back from a copy, or remove it and run what wrote it again'


def opened(path: str, mode: str = 'r', **options: Any) -> IO[Any]:
  """Returns a file open for reading, to be closed by its user.

  Args:
    path: Of the file.
    mode: 'r' for text, in UTF-8, or 'rb'.
    **options: As of `open`.

  Raises:
    FileNotFoundError: If it is not there.
  """
  if 'b' not in mode:
    options.setdefault('encoding', 'utf-8')
  if not buckets.is_bucket(path):
    return open(path, mode, **options)
  data = io.BytesIO(buckets.read(path))
  return data if 'b' in mode else io.TextIOWrapper(data, **options)


def exists(path: str) -> bool:
  """Returns whether there is a file or a folder.

  Raises:
    PermissionError: If that may not be known.
  """
  return by_place(path, lambda path: _status(path) is not None, buckets.exists)


def is_folder(path: str) -> bool:
  """Returns whether there is a folder; in a bucket, one with anything in it.

  Raises:
    PermissionError: If that may not be known.
  """
  return by_place(path, _is_folder_here, buckets.is_folder)


def _is_folder_here(path):
  status = _status(path)
  return status is not None and stat.S_ISDIR(status.st_mode)


def _status(path):
  """Returns what the system knows of a path, None if there is nothing.

  What may not be looked at is not called missing, as `os.path.exists` does.
  """
  try:
    return os.stat(path)
  except PermissionError:
    raise
  except (OSError, ValueError):
    return None


def names(folder: str) -> list[str]:
  """Returns the names in a folder, [] where there is none."""
  if buckets.is_bucket(folder):
    return buckets.names(folder)
  return os.listdir(folder) if is_folder(folder) else []


def create(path: str, text: str) -> bool:
  """Writes a file that is not there yet; returns whether it is this one.

  Args:
    path: Of the file.
    text: What nobody else writes.
  """
  if buckets.is_bucket(path):
    return buckets.create(path, text.encode())
  try:
    with open(path, 'x', encoding='utf-8') as file:
      file.write(text)
  except FileExistsError:
    return False
  return True


def remove(path: str) -> None:
  """Removes a file, if it is there."""
  with contextlib.suppress(FileNotFoundError):
    by_place(path, os.remove, buckets.remove)


def move_folder(path: str, target: str) -> None:
  """Puts a folder in the place of another, which need not be there."""
  if buckets.is_bucket(path):
    with local_copy(path) as here:
      for name in buckets.files(path):
        with open(os.path.join(here, name), 'rb') as file:
          buckets.write(f'{target}/{name}', file.read())
    buckets.remove_tree(path)
    return
  shutil.rmtree(target, ignore_errors=True)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  os.replace(path, target)


@contextlib.contextmanager
def local_copy(folder: str) -> Iterator[str]:
  """Yields a folder of this machine with what is in a folder.

  That itself, if it is here; a copy for as long as the context lasts, if it is
  in a bucket.
  """
  if not buckets.is_bucket(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory(prefix='advspeech-') as copy:
    buckets.fetch(folder, copy)
    yield copy


@contextlib.contextmanager
def naming(path: str, *others: str | None) -> Iterator[None]:
  """Names `path` in an OSError that names nothing, as that of a full disk.

  Args:
    path: What is written.
    *others: Names that it takes the place of.
  """
  try:
    yield
  except OSError as e:
    if e.filename is None or e.filename in others:
      raise OSError(e.errno, e.strerror or str(e), path) from e
    raise


@contextlib.contextmanager
def replacing(path: str, mode: str = 'w', **options: Any) -> Iterator[IO[Any]]:
  """Yields a new file that takes the place of `path` once it is whole.

  Until then it lies beside it under a name of its own, so that several may
  write the same path at a time, and is removed if anything goes wrong. For a
  bucket it is held in memory until then.

  Args:
    path: Of the file; its folder is there.
    mode: 'w' for text, in UTF-8, or 'wb'.
    **options: As of `open`.

  Raises:
    OSError: If it cannot be written; names `path`.
  """
  if 'b' not in mode:
    options.setdefault('encoding', 'utf-8')
  if buckets.is_bucket(path):
    data = io.BytesIO()
    file = data if 'b' in mode else io.TextIOWrapper(data, **options)
    yield file
    file.flush()
    buckets.write(path, data.getvalue())
    return
  temporary = os.path.join(os.path.dirname(path), f'.{uuid.uuid4().hex}.tmp')
  with naming(path, temporary):
    try:
      with open(temporary, mode.replace('w', 'x'), **options) as file:
        yield file
      os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.remove(temporary)
      raise


def make_folder(path: str) -> None:
  """Makes a folder and those above it, unless it is there.

  In a bucket there is nothing to be made.

  Raises:
    errors.InputError: If it cannot be made, or is a file.
  """
  if buckets.is_bucket(path):
    return
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as e:
    raise errors.InputError(
      f'{path} cannot be made as a folder ({e.strerror}); name one that can be '
      'written to'
    ) from e


def check_writable(folder: str) -> None:
  """Writes and removes a file in a folder, before there is work to lose.

  A folder that is not there is made for that, and removed again.

  Raises:
    errors.InputError: If it cannot be made or written to.
  """
  if buckets.is_bucket(folder):
    trial = f'{folder}/.{uuid.uuid4().hex}.tmp'
    buckets.write(trial, bytes(4096))
    buckets.remove(trial)
    return
  created, parent = [], os.path.abspath(folder)
  while not os.path.lexists(parent):
    created.append(parent)
    parent = os.path.dirname(parent)
  try:
    make_folder(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(4096))
  except OSError as e:
    raise errors.InputError(
      f'{folder} cannot be written to ({e.strerror}); name a folder that can'
    ) from e
  finally:
    for path in created:
      with contextlib.suppress(OSError):
        os.rmdir(path)


def check_output_file(path: str) -> None:
  """Makes the folder of a file that `--output` names, before there is work.

  Raises:
    errors.InputError: If it is a folder, or cannot be written.
  """
  if os.path.isdir(path):
    raise errors.InputError(
      f'--output must be a file, got the folder {path}; name one in it'
    )
  folder = os.path.dirname(path) or '.'
  check_writable(folder)
  make_folder(folder)
