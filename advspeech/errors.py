"""The exceptions whose message is written for the user."""

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

# What a disk or a path raises that no change to the program would repair, and
# what is to be done.
_ADVICE = {
  'let programs open more files at a time (ulimit -n); the same command then '
  'goes on from here': (errno.EMFILE, errno.ENFILE),
  'make room there; the same command then goes on from here': (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
  ),
  'see to that disk; the same command then goes on from here': (
    errno.EIO,
    errno.ESTALE,
    errno.ENODEV,
  ),
  'name a place that can be written to and read': (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
  ),
}
_ADVICE_OF = {
  number: advice for advice, numbers in _ADVICE.items() for number in numbers
}
# Of a file that is there and whole, as far as is known: it cannot be read now.
_AROUND_A_FILE = (
  *(errno.EIO, errno.ESTALE, errno.ENODEV, errno.EACCES, errno.EPERM),
  *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
# What is removed, or written, while this program works with it.
_OF_OTHERS = (errno.ENOENT, errno.ENOTEMPTY)
# Libraries in C++ report a full disk in words; TensorStore adds the number.
_IN_WORDS = (
  *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
  *(errno.EMFILE, errno.ENFILE),
)
# How those report too little memory, on a device or for another thread, that
# do not raise MemoryError.
_OF_MEMORY = (
  'RESOURCE_EXHAUSTED',
  "can't start new thread",
  os.strerror(errno.ENOMEM),
)
_TENSORSTORE = re.compile(
  r'local file "(.*?)".*os_error_code=\'(\d+)\'', re.DOTALL
)


class InputError(ValueError):
  """Input that the user can correct: says what was expected, came, and to do.

  Launchers print it as one sentence; every other exception is a defect and
  keeps its traceback.
  """


class BucketError(OSError):
  """A bucket could not be reached, or not be used: says so in one sentence."""


class NonFiniteLossError(InputError):
  """The loss of a training became infinite or not a number."""


def check_some(key: str, values: Collection[Any]) -> None:
  """Refuses a list that names nothing.

  Args:
    key: What the user calls the list.
    values: What it names.

  Raises:
    InputError: If it is empty.
  """
  if not values:
    raise InputError(f'{key} must name at least one, got {values!r}')


def check_distinct(
  key: str,
  values: Iterable[Any],
  meaning: Callable[[Any], Any] = lambda value: value,
) -> None:
  """Refuses a list that names something twice.

  Args:
    key: What the user calls the list.
    values: What it names.
    meaning: Maps a value to what is the same for all ways to write it.

  Raises:
    InputError: If two values mean the same.
  """
  seen = {}
  for value in values:
    same = meaning(value)
    if same in seen:
      raise InputError(
        f'{key} must name everything once, got {seen[same]!r} and {value!r}, '
        'which are the same; leave one of them out'
      )
    seen[same] = value


def is_of_file(error: OSError) -> bool:
  """Returns whether a file itself is at fault, which could not be read.

  It is missing or no file, rather than not to be read by this user, on this
  disk, or for want of memory; what is damaged may be set aside or made anew.

  Args:
    error: What opening or reading raised.
  """
  return error.errno not in _AROUND_A_FILE


def of_machine(error: BaseException, folder: str) -> str:
  """Returns the sentence on what the machine lacks, '' if it is not that.

  A disk or a path that failed, too little memory, too few open files.

  Args:
    error: What was raised; its causes are looked at too.
    folder: The one that is named if the error names no file, and that
      nobody else is to remove files from.
  """
  seen = set()
  while error is not None and id(error) not in seen:
    seen.add(id(error))
    if isinstance(error, BucketError):
      return str(error)
    if sentence := _of_file(error, folder) or _of_memory(error):
      return sentence
    error = error.__cause__ or error.__context__
  return ''


def _of_file(error, folder):
  number, path = None, folder
  if isinstance(error, OSError):
    number = error.errno
    if isinstance(error.filename, str | bytes | os.PathLike):
      path = os.fsdecode(error.filename)
  elif found := _TENSORSTORE.search(str(error)):
    number, path = int(found[2]), found[1]
  else:
    words = str(error)
    number = next((n for n in _IN_WORDS if os.strerror(n) in words), None)
  if number in _ADVICE_OF:
    return (
      f'{path} cannot be written or read ({os.strerror(number)}); '
      f'{_ADVICE_OF[number]}'
    )
  inside = os.path.join(os.path.abspath(folder), '')
  if number in _OF_OTHERS and os.path.abspath(path).startswith(inside):
    return (
      f'{path} was not left alone ({os.strerror(number)}), perhaps by '
      f'another program that works in {folder}; end that one, and start the '
      'same command again'
    )
  return ''


def _of_memory(error):
  said = str(error).strip() or 'no more was said'
  if not isinstance(error, MemoryError) and not any(
    words in said for words in _OF_MEMORY
  ):
    return ''
  return (
    f'there is too little memory ({said.splitlines()[0]}); take smaller '
    'batches (config.training.batch_size, config.sweep.batch_size), let the '
    'program have more (ulimit -v, ulimit -u, the container), or end others; '
    'the same command then goes on from here'
  )
