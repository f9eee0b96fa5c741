"""Names of files and folders, on this machine and in buckets."""

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from advspeech import buckets, errors


def cache_folder(url: str) -> str:
  """Returns where this machine keeps copies of what lies in a bucket's folder.

  Below XDG_CACHE_HOME, `~/.cache` if that is not set.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return os.path.join(caches, 'advspeech', *url.replace(':', '', 1).split('/'))


def absolute(path: str) -> str:
  """Returns a path that means the same in any working directory."""
  return by_place(path, os.path.abspath, str)


def canonical(path: str) -> str:
  """Returns the one name of a file that may have several."""
  return by_place(path, os.path.realpath, str)


def relative(path: str, folder: str) -> str:
  """Returns how a page in a folder links to a file.

  By its whole name if one of them is in a bucket and the other is not there.
  """
  one, other = (x.split('/')[:3] for x in (path, folder))
  if one != other and (buckets.is_bucket(path) or buckets.is_bucket(folder)):
    return absolute(path)
  return by_place(path, os.path.relpath, posixpath.relpath, folder)


def by_place(
  path: str, here: Callable, there: Callable, *arguments: Any
) -> Any:
  """Returns what one of two functions does, for paths here and in buckets."""
  function = there if buckets.is_bucket(path) else here
  return function(path, *arguments)


def given_path(what: str, path: str, *, in_bucket: bool = True) -> str:
  """Returns a path with the home folder in place of `~`, or a bucket's URL.

  Args:
    what: What names it, such as '--workdir'.
    path: As the user wrote it.
    in_bucket: Whether it may be the URL of a bucket.

  Raises:
    errors.InputError: If it is another URL or almost one, a flag or nothing at
      all, there is no such home, or no client for the bucket.
  """
  if '://' in path:
    if in_bucket:
      return buckets.normalized(what, path)
    raise errors.InputError(
      f'{what} must be a path of a mounted file system, got {path}; write it '
      'here, and copy it there'
    )
  if in_bucket and (found := re.match(r'(gs|s3):/*', path)):
    raise errors.InputError(
      f'{what} must be a path, or of a bucket, got {path}; write '
      f'{found[1]}://{path.removeprefix(found[0])} for a bucket, or ./{path} '
      'for a folder of that name'
    )
  if not path or path.startswith('-'):
    raise errors.InputError(
      f'{what} must be a path, got {path!r}; write {what}=PATH'
    )
  expanded = os.path.expanduser(path)
  if expanded.startswith('~'):
    raise errors.InputError(
      f'{what} must be a path, got {path!r}, and that home folder is not '
      f'known here; write it in full, or as ./{path} if it is called that'
    )
  return expanded


def distinct_ends(paths: Iterable[str]) -> dict[str, str]:
  """Returns for each path its shortest end that no other has.

  `{'x/run/m': 'x/run/m', 'y/run/m': 'y/run/m', 'z/n': 'n'}`, for titles and for
  the rows of tables.

  Args:
    paths: Different ones.
  """
  parts = {
    path: by_place(path, os.path.normpath, str).split(os.sep) for path in paths
  }

  def end(path, num):
    return os.sep.join(parts[path][-num:])

  ends = {}
  for path in parts:
    num = 1
    while num < len(parts[path]) and any(
      end(other, num) == end(path, num) for other in parts if other != path
    ):
      num += 1
    ends[path] = end(path, num)
  return ends
