"""Objects in buckets, gs:// and s3://, each written as a whole.

Through fsspec and the client that it finds (gcsfs, s3fs), which is what
`etils.epath` stands on too: that can neither create an object that must not be
there nor be kept from remembering what it once listed. An object is there as a
whole or not at all, and there are no folders: what consists of several objects
is complete once its last one is there.
"""

import concurrent.futures
import contextlib
import functools
import importlib.util
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from advspeech import errors

_CLIENTS = {'gs': 'gcsfs', 's3': 's3fs'}
# Orbax and the clients take these for patterns in one place or another.
_PATTERN = re.compile(r'[*?\[\]\\]')
# Objects on their way at a time.
_AT_ONCE = 8
# How long one is waited for before that is said.
PATIENCE_S = 10.0
logger = logging.getLogger(__name__)


def is_bucket(path: str | os.PathLike) -> bool:
  """Returns whether a path is one in a bucket."""
  return os.fspath(path).startswith(tuple(f'{x}://' for x in _CLIENTS))


def normalized(what: str, url: str) -> str:
  """Returns a URL of a bucket without slashes that say nothing.

  Args:
    what: What names it, such as '--workdir'.
    url: As the user wrote it.

  Raises:
    errors.InputError: If it is of anything else than a bucket, or there is no
      client for it here.
  """
  scheme, _, place = url.partition('://')
  if scheme not in _CLIENTS:
    raise errors.InputError(
      f'{what} must be a path of a mounted file system, or of a bucket '
      f'({", ".join(f"{known}://" for known in _CLIENTS)}), got {url}; mount '
      'it, or copy it here'
    )
  parts = [part for part in place.split('/') if part]
  if not parts or {'.', '..'} & {*parts} or _PATTERN.search(place):
    raise errors.InputError(
      f'{what} must name a bucket and a place in it without . .. * ? [ ] \\, '
      f'got {url}; write {scheme}://BUCKET/PATH'
    )
  client = _CLIENTS[scheme]
  if not importlib.util.find_spec(client):
    raise errors.InputError(
      f'{what}={url} needs the package {client}, which is not here; python -m '
      f'pip install {client}'
    )
  return f'{scheme}://{"/".join(parts)}'


@functools.cache
def _client(scheme: str) -> Any:
  import fsspec

  # What fails is raised as well.
  logging.getLogger(_CLIENTS[scheme]).setLevel(logging.CRITICAL)
  # s3fs compares what arrived by itself.
  checked = {'consistency': 'size'} if scheme == 'gs' else {}
  # Others write there too: nothing that was listed is remembered.
  return fsspec.filesystem(scheme, use_listings_cache=False, **checked)


@contextlib.contextmanager
def _reached(url: str) -> Iterator[Any]:
  """Yields the client of a bucket, and names the URL in what it raises.

  Clients try again for a minute and more, and say nothing of it.
  """
  waiting = threading.Timer(
    PATIENCE_S,
    logger.info,
    ('waiting for %s for more than %g s', url, PATIENCE_S),
  )
  waiting.daemon = True
  waiting.start()
  try:
    yield _client(url.partition('://')[0])
  except (FileNotFoundError, FileExistsError):
    raise
  except Exception as e:  # each client, and what it stands on, has its own
    why = ' '.join(str(e).split()) or type(e).__name__
    raise errors.BucketError(
      f'{url} cannot be written or read ({why}); see that the bucket is there, '
      'that it can be reached, and that this account may use it; the same '
      'command then goes on from here'
    ) from e
  finally:
    waiting.cancel()


@contextlib.contextmanager
def _written(url: str) -> Iterator[Any]:
  """Yields the client of a bucket that is there."""
  try:
    with _reached(url) as client:
      yield client
  except FileNotFoundError as e:
    bucket = '/'.join(url.split('/')[:3])
    raise errors.BucketError(
      f'{url} cannot be written, because {bucket} is not there or may not be '
      'seen by this account; make that bucket, or name another'
    ) from e


def read(url: str) -> bytes:
  """Returns an object's bytes.

  Raises:
    FileNotFoundError: If it is not there.
  """
  try:
    with _reached(url) as client:
      return client.cat_file(url)
  except FileNotFoundError as e:
    raise FileNotFoundError(e.errno, 'No such object', url) from e


def write(url: str, data: bytes) -> None:
  """Puts an object in the place of what is there, once it is whole."""
  with _written(url) as client:
    client.pipe_file(url, data)


def create(url: str, data: bytes) -> bool:
  """Writes an object that is not there yet; returns whether it is this one.

  Args:
    url: Of the object.
    data: What nobody else writes.
  """
  if exists(url):
    return False
  with _written(url) as client, contextlib.suppress(FileExistsError):
    client.pipe_file(url, data, mode='create')
  # It may be there by an attempt of ours whose answer was lost; and a server
  # that knows no such condition keeps the last one written.
  try:
    return read(url) == data
  except FileNotFoundError:
    return False


def exists(url: str) -> bool:
  """Returns whether there is an object, or some below."""
  with _reached(url) as client:
    return client.exists(url)


def is_folder(url: str) -> bool:
  """Returns whether there are objects below."""
  with _reached(url) as client:
    return client.isdir(url)


def names(url: str) -> list[str]:
  """Returns what is directly below, objects and folders; [] if nothing is."""
  with _reached(url) as client:
    try:
      found = client.ls(url, detail=False)
    except FileNotFoundError:
      return []
    place = client._strip_protocol(url)
  return [
    os.path.basename(path.rstrip('/'))
    for path in found
    if path.rstrip('/') != place
  ]


def files(url: str) -> list[str]:
  """Returns every object below, by its name from there on, sorted."""
  with _reached(url) as client:
    try:
      found = client.find(url)
    except FileNotFoundError:
      return []
    place = client._strip_protocol(url) + '/'
  return sorted(
    path.removeprefix(place) for path in found if path.startswith(place)
  )


def remove(url: str) -> None:
  """Removes an object, if it is there."""
  with _reached(url) as client, contextlib.suppress(FileNotFoundError):
    client.rm_file(url)


def remove_tree(url: str, first: str | None = None) -> None:
  """Removes every object below.

  Args:
    url: Of the folder.
    first: Name of the one without which the others count for nothing.
  """
  found = files(url)
  if first in found:
    remove(f'{url}/{first}')
    found.remove(first)
  _each(lambda name: remove(f'{url}/{name}'), found)


def fetch(url: str, folder: str) -> None:
  """Copies every object below to a folder here, which is made.

  Raises:
    FileNotFoundError: If one was removed meanwhile.
  """
  os.makedirs(folder, exist_ok=True)

  def get(name):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _reached(f'{url}/{name}') as client:
      client.get_file(f'{url}/{name}', path)

  _each(get, files(url))


def send(folder: str, url: str, last: str) -> None:
  """Puts a folder's files in the place of what is below a URL.

  Args:
    folder: Here.
    url: Where they go.
    last: Name of the file that makes them complete. It is removed first and
      written when all others are there, so that a mixture is never taken for
      a whole.
  """
  before = files(url)
  remove(f'{url}/{last}')
  sent = add(folder, url, last)
  _each(lambda name: remove(f'{url}/{name}'), {*before} - {*sent, last})
  _put(folder, url, last)


def add(folder: str, url: str, without: str | None = None) -> list[str]:
  """Copies a folder's files below a URL; returns their names from there on.

  Args:
    folder: Here.
    url: Where they go.
    without: Name of one that is left out.
  """
  names = [
    os.path.relpath(os.path.join(where, name), folder)
    for where, _, found in os.walk(folder)
    for name in found
  ]
  names = [name for name in names if name != without]
  _each(lambda name: _put(folder, url, name), names)
  return names


def _put(folder, url, name):
  with _written(f'{url}/{name}') as client:
    client.put_file(os.path.join(folder, name), f'{url}/{name}')


def _each(do: Callable[[str], None], names: Iterable[str]) -> None:
  """Does something for all names, several at a time; raises what went wrong."""
  with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
    list(pool.map(do, names))
