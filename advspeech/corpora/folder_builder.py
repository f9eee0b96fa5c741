"""A corpus that is read from a folder of the user's.

A corpus says by `recordings` which file is which clip; the rest is here: what
is passed over, copies, digests of what is read, and decoding in threads.
"""

import abc
import collections
import concurrent.futures
import functools
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from advspeech import audio, errors
from advspeech.corpora import builder, clip_warnings, folder_files, records

logger = logging.getLogger(__name__)

# Decoded clips that may wait for the writer, by worker.
_AHEAD = 8


class FolderBuilder(builder.SpeechBuilder, skip_registration=True):
  """A corpus that is read from a folder of the user's.

  Links in it are followed, also out of it: the user has placed them.
  """

  # What the folder holds, for who points at another.
  LAYOUT = ''
  # Of files that may be recordings.
  SUFFIXES = ('.wav', '.flac')

  def __init__(
    self,
    *,
    folder: str = '',
    skip_bad: bool = False,
    channels: str = 'mean',
    **kwargs: Any,
  ):
    """Sets where the recordings are and how they are read.

    Args:
      folder: The recordings, here or in the cloud (gs://, s3://).
      skip_bad: Leave bad recordings out instead of stopping at the first.
      channels: As in `audio.load`.
      **kwargs: For TFDS.
    """
    self.folder = epath.Path(folder).expanduser() if folder else None
    self._skip_bad = skip_bad
    self._channels = channels
    self._passed_over = []
    self._copies = []
    super().__init__(**kwargs)

  @abc.abstractmethod
  def recordings(self) -> Iterator[records.Recording | records.Skipped | None]:
    """Yields every recording once, in a fixed order.

    `Skipped` stands for one that is bad, None for one that is passed over.
    """

  def summary(self, clips: list[clip_warnings.Clip]) -> list[str]:
    """Returns a summary of the corpus, and of what else is in the folder."""
    lines = super().summary(clips)
    if self._copies:
      first, second = self._copies[0]
      lines.append(
        f'passed over {len(self._copies)} copies, byte for byte, of recordings '
        f'that are read, such as {second.path} of {first.path}'
      )
    if self._passed_over:
      names = ', '.join(map(repr, self._passed_over[: clip_warnings.NAMED]))
      lines.append(
        f'passed over {len(self._passed_over)} files that are not named as '
        f'recordings ({", ".join(self.SUFFIXES)}), the first: {names}'
      )
    return lines

  def check_folder(self) -> None:
    """Raises errors.InputError if there is no folder."""
    if self.folder is None:
      raise errors.InputError(
        f'{self.name} is read from a folder of yours that holds {self.LAYOUT}; '
        f'say where it is with --config.corpus.folder=/path/to/{self.name}'
      )
    try:
      is_there = self.folder.is_dir()
    except ImportError as e:  # of fsspec, which names the package
      raise errors.InputError(
        f'{self.folder} cannot be read without another package: {e} '
        '(python -m pip install gcsfs for gs://, s3fs for s3://)'
      ) from e
    if not is_there:
      raise errors.InputError(
        f'{self.folder} is not a folder; point --config.corpus.folder at the '
        f'one that holds {self.LAYOUT}'
      )

  def files(self, below: str = '') -> list[epath.Path]:
    """Returns the files that may be recordings, sorted; no hidden ones.

    Args:
      below: A folder in the corpus' own; '' for all of it.

    Raises:
      errors.InputError: If there are none.
    """
    self.check_folder()
    top = self.folder / below if below else self.folder
    found = []
    for path in sorted(folder_files.walk(top)) if top.is_dir() else ():
      name = path.relative_to(top)
      if any(part.startswith('.') for part in name.parts):
        continue
      if path.suffix.lower() in self.SUFFIXES:
        found.append(path)
      else:
        self._passed_over.append(name.as_posix())
    if not found:
      raise errors.InputError(
        f'{top} holds no recordings; expected {self.LAYOUT} '
        f'({", ".join(self.SUFFIXES)})'
      )
    return found

  @functools.cached_property
  def _recordings(self):
    self.check_folder()
    return self.without_copies(list(self.recordings()))

  def without_copies(
    self, items: list[records.Recording | records.Skipped | None]
  ) -> list[records.Recording | records.Skipped | None]:
    """Returns a release's recordings without those that are there again.

    Archives are unpacked twice, or hold their tree twice. What lies deepest is
    passed over, if it is the same file (`utterances`).

    Args:
      items: As `recordings` yields.
    """
    of_ids = {}
    for item in items:
      if isinstance(item, records.Recording):
        of_ids.setdefault(item.id, []).append(item)
    for same in of_ids.values():
      same.sort(key=lambda item: os.fspath(item.path).count('/'))
      self._copies += [(same[0], copy) for copy in same[1:]]
    copies = {id(copy) for _, copy in self._copies}
    return [item for item in items if id(item) not in copies]

  def _check_copies(self):
    different = [
      (first, second)
      for first, second in self._copies
      if folder_files.contents(first.path) != folder_files.contents(second.path)
    ]
    if different:
      first, second = different[0]
      raise errors.InputError(
        f'{len(self._copies)} recordings of {self.folder} are there twice by '
        f'name and {len(different)} of them differ, such as {first.path} and '
        f'{second.path}; remove one of the two, or the folder of one'
      )

  def num_utterances(self) -> int:
    """Returns the number of recordings in the folder."""
    return len(self._recordings)

  def source(self) -> dict[str, str]:
    """Returns the folder, the channels, and digests of what is read.

    `source_digest` is of names, sizes and columns, `written_digest` of when the
    files were written: another one says that they were replaced, or copied.
    """
    source, written = hashlib.sha256(), hashlib.sha256()
    items = self._recordings  # there are none without a folder
    folder = os.fspath(self.folder)
    for item in items:
      if isinstance(item, records.Recording):
        name = folder_files.below(folder, os.fspath(item.path))
        size, time_ns = folder_files.size_and_time(item.path)
        entry = [name, size, *item[1:]]
        written.update(json.dumps([name, time_ns]).encode())
      else:  # the folder may be moved
        entry = item and [text.replace(folder, '') for text in item]
      source.update(json.dumps(entry).encode())
    return {
      'folder': folder if '://' in folder else os.path.abspath(folder),
      'channels': self._channels,
      'source_digest': source.hexdigest(),
      'written_digest': written.hexdigest(),
    }

  def utterances(self) -> Iterator[records.Utterance | records.Skipped]:
    """Yields the recordings in order, decoded in threads.

    Threads, not processes: libsndfile and soxr let go of Python's lock, and
    what is left of a clip's decoding is a small part of its writing.
    """
    items, seen, num_others = self._recordings, {}, 0
    self._check_copies()
    read = functools.partial(_read, channels=self._channels)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      for item, result in _map_ahead(pool, read, items):
        if isinstance(result, records.Utterance):  # of a recording
          first = seen.setdefault(item.id, item)
          if first is not item:
            result = records.Skipped(
              str(item.path),
              f'{item.path} has the id {item.id} of {first.path}, which is '
              'kept',
            )
        elif isinstance(result, records.Skipped) and not self._skip_bad:
          raise errors.InputError(f'{result.reason}, or pass --skip_bad')
        if result is None:
          num_others += 1
        else:
          yield result
    if num_others:
      logger.info('%s: passed over %d other files', self.name, num_others)


def _read(item, channels):
  """Returns the clip of a recording, or why there is none."""
  if not isinstance(item, records.Recording):
    return item
  try:
    pcm = audio.load(item.path, channels)
  except errors.InputError as e:
    return records.Skipped(str(item.path), str(e))
  return records.Utterance(item.id, pcm, *item[2:])


def _map_ahead(
  pool: concurrent.futures.Executor, fn: Callable[[Any], Any], items: list[Any]
) -> Iterator[tuple[Any, Any]]:
  """Yields (item, fn(item)) in order, computed a bounded number ahead."""
  waiting = collections.deque()
  rest = iter(items)
  num_ahead = _AHEAD * (os.cpu_count() or 1)
  for item in itertools.islice(rest, num_ahead):
    waiting.append((item, pool.submit(fn, item)))
  while waiting:
    item, future = waiting.popleft()
    result = future.result()
    for following in itertools.islice(rest, 1):
      waiting.append((following, pool.submit(fn, following)))
    yield item, result
