"""What every corpus is on disk: a TFDS data set of int16 clips at 16 kHz.

A corpus is one TFDS split, `clips`, in ArrayRecord; who trains on what is for
`tasks` to say. Neither writing nor reading imports TensorFlow. TFDS writes
into a folder of another name and renames it at the end, so a data set that was
interrupted is never taken for a whole one. An index beside the clips says all
but their sound, so that who reads some of them need not read the others.
"""

import abc
import collections
import concurrent.futures
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2

from advspeech import audio, decoding, errors, preemption, progress

logger = logging.getLogger(__name__)

SPLIT = 'clips'
# How the data set was made, and what is in it clip by clip, beside its files.
RECORD = 'preparation.json'
INDEX = 'clips.npz'
version = tfds.core.Version
# What is said of a clip, '' where a corpus does not say it.
COLUMNS = ('speaker', 'sex', 'emotion', 'session', 'label', 'split')
COLUMNS += ('statement', 'take')
# Formats of libsndfile that name themselves; RAW does not.
SUFFIXES = ('.wav', '.flac', '.ogg', '.oga', '.opus', '.mp3', '.aiff', '.aif')
SUFFIXES += ('.au', '.caf', '.w64', '.rf64', '.sph')
# A stratified split gives validation none of a class with fewer.
_FEW_CLIPS = 11
# How many of what goes wrong in the same way are told by name.
_NAMED = 5
# Decoded clips that may wait for the writer, by worker.
_AHEAD = 8
# Bytes of a table that comes with recordings: ten million lines.
_LARGEST_TABLE = 10**9
# In which links may lead to a folder; in a chain of folders with two links each
# their number doubles from one to the next.
_MOST_WAYS = 64


class Utterance(NamedTuple):
  """One clip: a stable id, int16 PCM [time] at 16 kHz, who, what, and how.

  `statement` is what is said, and `take` names what was recorded several times:
  the same by the same speaker in the same manner.
  """

  id: str
  pcm: np.ndarray
  speaker: str = ''
  sex: str = ''
  emotion: str = ''
  session: str = ''
  label: str = ''
  split: str = ''
  statement: str = ''
  take: str = ''


class Recording(NamedTuple):
  """A file of a corpus and what is known of it; see `Utterance`."""

  path: str | os.PathLike
  id: str
  speaker: str = ''
  sex: str = ''
  emotion: str = ''
  session: str = ''
  label: str = ''
  split: str = ''
  statement: str = ''
  take: str = ''


class Skipped(NamedTuple):
  """A recording that was left out, and why."""

  name: str
  reason: str


class SpeechBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """Writes utterances; a corpus says only where they come from."""

  DESCRIPTION = ''

  @abc.abstractmethod
  def utterances(self) -> Iterator[Utterance | Skipped]:
    """Yields every clip of the corpus once, in a fixed order."""

  @abc.abstractmethod
  def num_utterances(self) -> int:
    """Returns how many items `utterances` yields."""

  def source(self) -> dict[str, str]:
    """Returns what the data set depends on besides the builder's version."""
    return {}

  def summary(self, clips: 'list[Clip]') -> list[str]:
    """Returns what to tell of the corpus, a line each."""
    seconds = [clip.seconds for clip in clips]
    lines = [
      f'{self.name}: {len(clips)} clips, {sum(seconds) / 60:.1f} minutes, '
      f'{min(seconds):.2f} to {max(seconds):.2f} s each, '
      f'{len({clip.speaker for clip in clips} - {""})} speakers'
    ]
    for column in ('label', 'emotion', 'sex', 'session', 'split'):
      totals = collections.defaultdict(list)
      for clip in clips:
        totals[clip.columns[column]].append(clip.seconds)
      if set(totals) != {''}:
        each = (
          f'{value or "(none)"} {len(times)} ({sum(times) / 60:.1f} min)'
          for value, times in sorted(totals.items())
        )
        lines.append(f'{column}: {", ".join(each)}')
    return lines

  def _info(self):
    return self.dataset_info_from_configs(
      description=self.DESCRIPTION,
      features=tfds.features.FeaturesDict(
        {
          # Plain bytes: TFDS's Audio feature needs TensorFlow.
          'pcm': tfds.features.Tensor(
            shape=(None,), dtype=np.int16, encoding='bytes'
          ),
          'id': tfds.features.Text(),
          **{column: tfds.features.Text() for column in COLUMNS},
        }
      ),
    )

  def _example_writer(self):
    self._writer = _SameBytes(self.info.file_format)
    return self._writer

  def _download_and_prepare(self, *args, **kwargs):
    super()._download_and_prepare(*args, **kwargs)
    # The folder has its other name yet: the index comes with the data.
    index = {
      name: np.array(values) for name, values in self._writer.index.items()
    }
    with (epath.Path(self.data_dir) / INDEX).open('wb') as file:
      np.savez_compressed(file, **index)

  def _split_generators(self, dl_manager):
    del dl_manager
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self):
    # Before the files are read: who is replaced meanwhile is read again.
    source = self.source()
    clips, skipped = [], []
    for item in progress.track(
      self.utterances(),
      f'preparing {self.name}',
      self.num_utterances(),
      'clip',
    ):
      preemption.check_alone()
      if isinstance(item, Skipped):
        if len(skipped) < _NAMED:
          logger.warning('skipped %s: %s', item.name, item.reason)
        skipped.append(item)
        continue
      clips.append(Clip.of(item))
      yield item.id, item._asdict()
    if not clips:
      raise errors.InputError(
        f'every recording of {self.name} was skipped; '
        'check that the folder holds the corpus'
      )
    # The folder has its other name yet: the record comes with the data.
    path = epath.Path(self.data_dir) / RECORD
    path.write_text(json.dumps(self._record(source, clips, skipped), indent=2))

  def _record(self, source, clips, skipped):
    import soundfile

    ids = sorted(clip.id for clip in clips)
    return {
      'corpus': self.name,
      'version': str(self.version),
      **source,
      'num_clips': len(clips),
      'seconds': sum(clip.seconds for clip in clips),
      'sample_rate_hz': audio.SAMPLE_RATE_HZ,
      'ids_sha256': hashlib.sha256('\n'.join(ids).encode()).hexdigest(),
      'skipped': [item._asdict() for item in skipped],
      'summary': self.summary(clips),
      'warnings': warnings(clips),
      'silent': [clip.id for clip in clips if clip.is_silent],
      'clipped': {
        clip.id: clip.share_at_full_scale for clip in clips if clip.is_clipped
      },
      'versions': {
        'libsndfile': soundfile.__libsndfile_version__,
        **{
          name: importlib.metadata.version(name)
          for name in ('soxr', 'soundfile', 'tensorflow-datasets')
        },
      },
    }


class _SameBytes(writer.ExampleWriter):
  """Writes an example as the same bytes in every process, and keeps an index.

  Protocol buffers put a map's entries in an order that differs from process to
  process unless they are told to sort them; TFDS does not tell them.

  Attributes:
    index: `id`, `num_samples` and each of `COLUMNS`, in the order written.
  """

  def __init__(self, file_format):
    super().__init__(file_format)
    self.index = {key: [] for key in ('id', 'num_samples', *COLUMNS)}

  def write(self, path, examples):
    """Writes (key, serialised example) pairs."""
    return super().write(path, ((key, self._noted(x)) for key, x in examples))

  def _noted(self, serialized):
    example = tf_example_pb2.Example.FromString(serialized)
    for key, feature in example.features.feature.items():
      (value,) = feature.bytes_list.value
      if key == 'pcm':
        samples = len(value) // np.dtype(np.int16).itemsize
        self.index['num_samples'].append(samples)
      else:
        self.index[key].append(value.decode())
    return example.SerializeToString(deterministic=True)


class Clip(NamedTuple):
  """What is remembered of a clip once it is written."""

  id: str
  columns: dict[str, str]
  seconds: float
  digest: str
  is_silent: bool
  share_at_full_scale: float

  @classmethod
  def of(cls, utterance: Utterance) -> 'Clip':
    """Returns what to remember of an utterance."""
    return cls(
      utterance.id,
      {column: getattr(utterance, column) for column in COLUMNS},
      len(utterance.pcm) / audio.SAMPLE_RATE_HZ,
      hashlib.sha256(utterance.pcm).hexdigest(),
      audio.is_silent(utterance.pcm),
      audio.share_at_full_scale(utterance.pcm),
    )

  @property
  def is_clipped(self) -> bool:
    """Whether too many of its samples are what saturation leaves."""
    return not self.is_silent and self.share_at_full_scale >= audio.CLIPPED

  @property
  def speaker(self) -> str:
    """Who speaks."""
    return self.columns['speaker']


def warnings(clips: Iterable[Clip]) -> list[str]:
  """Returns what may spoil an experiment on these clips, by name."""
  same, labels = collections.defaultdict(list), collections.Counter()
  splits = collections.defaultdict(set)
  silent, clipped = [], []
  for clip in clips:
    same[clip.digest].append(clip)
    labels[clip.columns['label']] += 1
    splits[clip.speaker].add(clip.columns['split'])
    if clip.is_silent:
      silent.append(clip.id)
    if clip.is_clipped:
      clipped.append(f'{clip.id} ({clip.share_at_full_scale:.1%})')
  found = []
  if silent:
    found.append(
      f'silent from end to end: {_named(silent)}; leave them out, or their '
      'class is learnt from nothing'
    )
  if clipped:
    found.append(
      f'clipped, with that share of their samples at full scale: '
      f'{_named(clipped)}; leave them out, or scale float files into [-1, 1]'
    )
  found += _copies([group for group in same.values() if len(group) > 1])
  found += _first(
    [
      f'class {label} has only {number} clips; a stratified split needs '
      f'{_FEW_CLIPS} or more to have some of it everywhere'
      for label, number in sorted(labels.items())
      if label and number < _FEW_CLIPS
    ],
    'classes have too few clips',
  )
  return found + _first(
    [
      f'speaker {speaker} is in several splits, {", ".join(sorted(names))}'
      for speaker, names in sorted(splits.items())
      if speaker and len(names) > 1
    ],
    'speakers are in several splits',
  )


def _copies(groups):
  """Returns what to say of clips with the same samples, by group.

  A folder that repeats what lies beside it is told once.
  """
  trees, others = collections.defaultdict(list), []
  for group in groups:
    first, second = sorted(group, key=lambda clip: (len(clip.id), clip.id))[:2]
    prefix = second.id.removesuffix(f'__{first.id}')
    if len(group) == 2 and prefix != second.id:
      trees[prefix].append((first, second))
    else:
      others.append(group)
  found = []
  for prefix, pairs in sorted(trees.items()):
    if len(pairs) == 1:
      others.append(pairs[0])
      continue
    own = {x.columns['label'] for _, x in pairs}
    own -= {x.columns['label'] for x, _ in pairs}
    first, second = (clip.id for clip in pairs[0])
    found.append(
      f'{len(pairs)} clips in {prefix.replace("__", "/")} are the same samples '
      f'as clips outside it, such as {second} and {first}; remove the copy, '
      + f'of which class {", ".join(sorted(own))} is made, ' * bool(own)
      + 'or a clip may be trained on and tested'
    )
  return found + _first(
    [
      f'{" and ".join(clip.id for clip in group)} are the same samples; remove '
      'all but one, or a clip may be trained on and tested'
      for group in others
    ],
    'groups of clips are the same samples',
  )


def _named(names):
  """Returns a list of names for a sentence, the first few of many."""
  rest = len(names) - _NAMED
  return ', '.join(names[:_NAMED]) + f' and {rest} others' * (rest > 0)


def _first(sentences, what):
  """Returns the first few of many sentences, and how many there are."""
  if len(sentences) <= _NAMED:
    return sentences
  return [
    *sentences[:_NAMED],
    f'{len(sentences)} {what}; the first are named above',
  ]


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


class FolderBuilder(SpeechBuilder, skip_registration=True):
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
  def recordings(self) -> Iterator[Recording | Skipped | None]:
    """Yields every recording once, in a fixed order.

    `Skipped` stands for one that is bad, None for one that is passed over.
    """

  def summary(self, clips: list[Clip]) -> list[str]:
    """Returns what to tell of the corpus, and of what else is in the folder."""
    lines = super().summary(clips)
    if self._copies:
      first, second = self._copies[0]
      lines.append(
        f'passed over {len(self._copies)} copies, byte for byte, of recordings '
        f'that are read, such as {second.path} of {first.path}'
      )
    if self._passed_over:
      names = ', '.join(map(repr, self._passed_over[:_NAMED]))
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
    except ImportError as e:  # of fsspec, which tells the package
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
    for path in sorted(_walk(top)) if top.is_dir() else ():
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
    self, items: list[Recording | Skipped | None]
  ) -> list[Recording | Skipped | None]:
    """Returns a release's recordings without those that are there again.

    Archives are unpacked twice, or hold their tree twice. What lies deepest is
    passed over, if it is the same file (`utterances`).

    Args:
      items: As `recordings` yields.
    """
    kept = {}
    for item in items:
      if isinstance(item, Recording):
        kept.setdefault(item.id, []).append(item)
    for same in kept.values():
      same.sort(key=lambda item: os.fspath(item.path).count('/'))
      self._copies += [(same[0], copy) for copy in same[1:]]
    copies = {id(copy) for _, copy in self._copies}
    return [item for item in items if id(item) not in copies]

  def _check_copies(self):
    different = [
      (first, second)
      for first, second in self._copies
      if _bytes(first.path) != _bytes(second.path)
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
      if isinstance(item, Recording):
        name = _below(folder, os.fspath(item.path))
        size, time_ns = _stat(item.path)
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

  def utterances(self) -> Iterator[Utterance | Skipped]:
    """Yields the recordings in order, decoded in threads.

    Threads, not processes: libsndfile and soxr let go of Python's lock, and
    what is left of a clip's decoding is a small part of its writing.
    """
    items, seen, num_others = self._recordings, {}, 0
    self._check_copies()
    read = functools.partial(_read, channels=self._channels)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      for item, result in _map_ahead(pool, read, items):
        if isinstance(item, Recording) and isinstance(result, Utterance):
          first = seen.setdefault(item.id, item)
          if first is not item:
            result = Skipped(
              str(item.path),
              f'{item.path} has the id {item.id} of {first.path}, which is '
              'kept',
            )
        elif isinstance(result, Skipped) and not self._skip_bad:
          raise errors.InputError(f'{result.reason}, or pass --skip_bad')
        if result is None:
          num_others += 1
        else:
          yield result
    if num_others:
      logger.info('%s: passed over %d other files', self.name, num_others)


def _walk(top):
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


def _below(folder, path):
  """Returns the path in a folder of a file that lies below it.

  Text alone: a manifest may have a million lines.
  """
  return path.removeprefix(os.path.join(folder, ''))


def _bytes(path):
  """Returns what a file holds, None where reading it will tell why not."""
  try:
    return epath.Path(path).read_bytes()
  except OSError:
    return None


def _stat(path):
  """Returns a file's size and when it was written, in ns, None if unknown."""
  try:
    name = os.fspath(path)
    if '://' in name:
      return epath.Path(name).stat().length, None
    status = os.stat(name)
  except (OSError, ValueError):  # it will be told when it is read
    return None, None
  return status.st_size, status.st_mtime_ns


def _read(item, channels):
  """Returns the clip of a recording, or why there is none."""
  if not isinstance(item, Recording):
    return item
  try:
    pcm = audio.load(item.path, channels)
  except errors.InputError as e:
    return Skipped(str(item.path), str(e))
  return Utterance(item.id, pcm, *item[2:])


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
