"""Files of a folder of the user's, here or in the cloud."""

import collections
import os
import stat

from etils import epath

from advspeech import decoding, errors

# Bytes of a table that comes with recordings: ten million lines.
_LARGEST_TABLE = 10**9
# In which links may lead to a folder; in a chain of folders with two links each
# their number doubles from one to the next.
_MOST_WAYS = 64


def read_table(path: epath.Path) -> bytes:
  """Returns a table that comes with recordings.

  Raises:
    errors.InputError: If it is missing, not to be read, or a pointer to it.
  """
  try:
    if '://' not in os.fspath(path):
      _check_regular(os.fspath(path))
    data = path.read_bytes()
  except OSError as e:
    is_missing = isinstance(e, FileNotFoundError)
    raise errors.InputError(
      f'{path} {"is missing" if is_missing else f"cannot be read ({e})"}; put '
      'it back'
    ) from e
  decoding.refuse_pointer(path, data)
  return data


def _check_regular(path):
  """Raises errors.InputError at what reading may never end."""
  status = os.stat(path)
  if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_TABLE:
    raise errors.InputError(
      f'{path} must be a file of at most {_LARGEST_TABLE / 1e9:g} GB, and is '
      'none; put a table there'
    )


def walk(top):
  """Yields every file below a folder, here or in the cloud.

  Links are followed, but for those to a folder that they lie in.
  """

  def refuse(error):
    raise errors.InputError(
      f'{error.filename or top} cannot be listed ({error.strerror or error}); '
      'see that it exists and that you may read it'
    )

  scheme, mark, _ = os.fspath(top).rpartition('://')
  if mark:
    for root, _, names in top.walk(on_error=refuse):
      # fsspec names what it finds without its scheme.
      if mark not in os.fspath(root):
        root = epath.Path(f'{scheme}{mark}{os.fspath(root).lstrip("/")}')
      yield from (root / name for name in names)
    return
  above = {}  # of each folder, where it and those that it lies in really are
  ways = collections.Counter()  # to each folder, where it really is
  for root, folders, names in os.walk(top, onerror=refuse, followlinks=True):
    real = os.path.realpath(root)
    around = above.get(os.path.dirname(root), ())
    if real in around:
      folders.clear()
      continue
    above[root] = (*around, real)
    ways[real] += 1
    if ways[real] > _MOST_WAYS:
      raise errors.InputError(
        f'{root} is reached in more than {_MOST_WAYS} ways, through links; '
        'remove those that lead to what is there already'
      )
    yield from (epath.Path(root) / name for name in names)


def below(folder: str, path: str) -> str:
  """Returns the path in a folder of a file that lies below it.

  Text alone: a manifest may have a million lines.
  """
  return path.removeprefix(os.path.join(folder, ''))


def contents(path: str | os.PathLike) -> bytes | None:
  """Returns what a file holds, None where reading it will report why not."""
  try:
    return epath.Path(path).read_bytes()
  except OSError:
    return None


def size_and_time(
  path: str | os.PathLike,
) -> tuple[int | None, int | None]:
  """Returns a file's size and when it was written, in ns, None if unknown."""
  try:
    name = os.fspath(path)
    if '://' in name:
      return epath.Path(name).stat().length, None
    status = os.stat(name)
  except (OSError, ValueError):  # reported when it is read
    return None, None
  return status.st_size, status.st_mtime_ns
