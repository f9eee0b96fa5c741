"""Speech corpora: prepared once as TFDS data sets, read as arrays.

ArrayRecord is written to and read from file systems alone: a data set in a
bucket is prepared here and sent there, its record last, and whoever reads it
fetches it first, into a folder that later programs find it in.
"""

import contextlib
import dataclasses
import fcntl
import io
import json
import logging
import os
import pathlib
import shutil
import zipfile
import zlib
from typing import Any

import numpy as np

from advspeech import audio, buckets, errors, storage
from advspeech.corpora import (
  builder,
  crema_d,
  emodb,
  espeak,
  folder,
  iemocap,
  ravdess,
  savee,
  stored,
)

logger = logging.getLogger(__name__)

BUILDERS = {
  'espeak': espeak.Espeak,
  'ravdess': ravdess.Ravdess,
  'iemocap': iemocap.Iemocap,
  'crema_d': crema_d.CremaD,
  'emodb': emodb.Emodb,
  'savee': savee.Savee,
  'folder': folder.Folder,
}
# Corpora that are made, not read from a folder.
_MADE = ('espeak',)
# What a damaged index makes NumPy raise, besides.
_NOT_NPZ = (zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Source:
  """Which recordings, and how they are read; see configs/paper.py.

  Attributes:
    name: A key of `BUILDERS`.
    folder: The recordings, for a corpus that is read from some.
    manifest: The list of them, for the corpus `folder`.
    channels: 'mean' of a recording's channels, or the number of one.
    data_dir: Where data sets live; '' is TFDS's own default
      (`~/tensorflow_datasets`, or the environment variable TFDS_DATA_DIR).
  """

  name: str
  folder: str = ''
  manifest: str = ''
  channels: str = 'mean'
  data_dir: str = ''

  @property
  def bucket(self) -> str:
    """The URL of where data sets live, '' if that is on this machine.

    Raises:
      errors.InputError: If it is another URL than a bucket's.
    """
    given = self.data_dir or os.environ.get('TFDS_DATA_DIR', '')
    if '://' not in given:
      return ''
    return storage.given_path('config.data_dir', given)

  def place(self, dataset: builder.SpeechBuilder) -> str:
    """Returns where the data set of a `builder` lives, here or in a bucket."""
    path = str(dataset.data_path)
    if not self.bucket:
      return path
    below = os.path.relpath(path, storage.cache_folder(self.bucket))
    return f'{self.bucket}/{below}'

  def builder(self, skip_bad: bool = False) -> builder.SpeechBuilder:
    """Returns the TFDS builder; of a data set in a bucket that of its copy.

    Raises:
      errors.InputError: If the name is unknown, or `data_dir` another URL than
        a bucket's.
    """
    if self.name not in BUILDERS:
      raise errors.InputError(
        f'config.corpus.name must be one of {", ".join(BUILDERS)}, got '
        f'{self.name!r}'
      )
    data_dir = os.path.expanduser(self.data_dir)
    if self.bucket:
      data_dir = storage.cache_folder(self.bucket)
    options = {}
    if self.name not in _MADE:
      options = {
        'folder': self.folder,
        'channels': self.channels,
        'skip_bad': skip_bad,
      }
    if self.name == 'folder':
      options['manifest'] = self.manifest
    return BUILDERS[self.name](
      data_dir=data_dir or None,
      file_format='array_record',
      **options,
    )


@dataclasses.dataclass(frozen=True)
class Corpus:
  """All clips of a corpus, sorted by id, cut or padded to one length.

  Attributes:
    name: Which corpus.
    ids: [num_clips] stable utterance ids.
    pcm: [num_clips, time] int16 at 16 kHz, zeros where there is no recording;
      a `stored.StoredClips` where they are read when they are needed.
    starts: [num_clips] first recorded sample of each clip.
    num_samples: [num_clips] recorded samples of each clip, at most `time`.
    speaker: [num_clips] speaker names, '' where unknown, as all that follow.
    sex: [num_clips] 'female' or 'male'.
    emotion: [num_clips] emotion names.
    session: [num_clips] sessions of the recordings.
    label: [num_clips] classes, of a corpus of the user's own.
    split: [num_clips] splits, of the same.
    statement: [num_clips] what is said.
    take: [num_clips] what was recorded several times: who said what, and how.
    metadata: How it was prepared: counts, skipped recordings, versions.
  """

  name: str
  ids: np.ndarray
  pcm: 'np.ndarray | stored.StoredClips'
  starts: np.ndarray
  num_samples: np.ndarray
  speaker: np.ndarray
  sex: np.ndarray
  emotion: np.ndarray
  session: np.ndarray
  label: np.ndarray
  split: np.ndarray
  statement: np.ndarray
  take: np.ndarray
  metadata: dict[str, Any]

  def pcm_of(self, rows: np.ndarray) -> 'np.ndarray | stored.StoredClips':
    """Returns some of the clips; those on disk stay there."""
    if isinstance(self.pcm, stored.StoredClips):
      return self.pcm.subset(rows)
    return self.pcm[rows]


def prepare(name: str, *, skip_bad: bool = False, **where: str) -> str:
  """Writes a corpus as a TFDS data set unless it is there; returns its path.

  It is written again where the same recordings were replaced, or copied, since.
  Beside the data lies `preparation.json`: what it was made from and with. What
  that says of the clips is logged each time.

  Args:
    name: A key of `BUILDERS`.
    skip_bad: Leave out (and count) recordings that cannot be read or are not
      named as the corpus names them, instead of stopping at the first.
    **where: See `Source`.

  Raises:
    errors.InputError: If the name is unknown, the recordings are missing or
      bad, the data set there is damaged or was made from other recordings, or
      there is no place for one.
  """
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  source = Source(name, **where)
  dataset = source.builder(skip_bad)
  if not _is_current(dataset, source):
    # TFDS announces a download on stdout; nothing is downloaded.
    with _alone(dataset), contextlib.redirect_stdout(io.StringIO()):
      if source.bucket:
        _fetch(dataset, source)
        dataset = source.builder(skip_bad)
      if not _is_current(dataset, source):  # nobody else has done it meanwhile
        if dataset.data_path.exists():
          _discard(dataset, source)
          dataset = source.builder(skip_bad)
        dataset.download_and_prepare()
        if source.bucket:
          _send(dataset, source)
  record = _checked_record(dataset, source)
  for line in record['summary']:
    logger.info('%s', line)
  for line in record['warnings']:
    logger.warning('%s', line)
  if record['skipped']:
    logger.warning(
      '%d recordings were skipped; %s names each',
      len(record['skipped']),
      os.path.join(source.place(dataset), builder.RECORD),
    )
  return source.place(dataset)


def path(name: str, **where: str) -> str:
  """Returns where a corpus' data set is, or will be once it is prepared.

  Args:
    name: A key of `BUILDERS`.
    **where: `folder` and so on; see `Source`.
  """
  source = Source(name, **where)
  return source.place(source.builder())


def is_prepared(name: str, **where: str) -> bool:
  """Returns whether a corpus lies where `path` says.

  Args:
    name: A key of `BUILDERS`.
    **where: `folder` and so on; see `Source`.
  """
  source = Source(name, **where)
  return _is_prepared(source.builder(), source)


@contextlib.contextmanager
def _alone(dataset):
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


def _is_here(dataset, source):
  """Returns whether what is here of a data set is the one in its bucket."""
  path, place = str(dataset.data_path), source.place(dataset)
  return path == place or _record_bytes(path) == _record_bytes(place)


def _fetch(dataset, source):
  """Makes what is here of a data set what its bucket holds, if it holds any.

  Raises:
    errors.InputError: If it is replaced meanwhile.
  """
  path, place = str(dataset.data_path), source.place(dataset)
  record = _record_bytes(place)
  if record is None or _is_here(dataset, source):
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


def _send(dataset, source):
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


def _discard(dataset, source):
  """Removes a data set, which is never half there under its name."""
  path = dataset.data_path
  logger.info(
    '%s is prepared again: recordings were replaced or copied since, or it has '
    'no %s',
    source.place(dataset),
    builder.RECORD,
  )
  aside = path.parent / f'incomplete.{path.name}.{os.getpid()}'
  shutil.rmtree(path.rename(aside))


def _is_prepared(dataset, source):
  # TFDS's own answer comes with a warning when it is no.
  return storage.exists(os.path.join(source.place(dataset), builder.RECORD))


def _is_current(dataset, source):
  """Returns whether the data set is there, of the files that are there now."""
  return (
    _is_prepared(dataset, source)
    and _is_here(dataset, source)
    and not _is_outdated(_checked_record(dataset, source), dataset, source)
  )


def _is_outdated(record, dataset, source):
  """Returns whether the recordings were written anew since."""
  return bool(source.folder) and (
    record.get('written_digest') != dataset.source().get('written_digest')
  )


def _checked_record(dataset, source):
  """Returns the data set's record, if it was made of this source."""
  try:
    record = json.loads((dataset.data_path / builder.RECORD).read_text())
  except ValueError as e:
    raise stored.damaged(dataset.data_path, f'{builder.RECORD}: {e}') from e
  if source.name in _MADE:
    return record
  if record['channels'] != source.channels:
    raise errors.InputError(
      f'{source.place(dataset)} was prepared with config.corpus.channels='
      f'{record["channels"]}, not {source.channels}; remove it to prepare '
      'again, or keep both by passing another --config.data_dir'
    )
  if source.folder and (
    record['source_digest'] != dataset.source()['source_digest']
  ):
    raise errors.InputError(
      f'{source.place(dataset)} was prepared from other recordings than '
      f'{source.folder} holds now; remove it to prepare again, or keep both by '
      'passing another --config.data_dir'
    )
  return record


def read(
  name: str,
  *,
  num_samples: int,
  pad: str = 'end',
  cut: str = 'start',
  normalize: str = 'none',
  memory_budget_bytes: float = float('inf'),
  **where: str,
) -> Corpus:
  """Returns a prepared corpus, every clip of one length.

  A process reads the index, and where the clips fit its memory all of them;
  where they do not, none: those that it needs are read when it needs them.

  Args:
    name: A key of `BUILDERS`.
    num_samples: Clip length.
    pad: Where silence goes on a clip that is short, one of `audio.PADS`.
    cut: What is kept of one that is long, one of `audio.CUTS`.
    normalize: One of `audio.NORMALIZATIONS`.
    memory_budget_bytes: Clips that take more are left on disk, to be read when
      they are needed.
    **where: `folder` and so on; see `Source`. Without a folder the data set
      may have been made from any.

  Raises:
    errors.InputError: If it was not prepared, or from other recordings, or is
      damaged.
  """
  source = Source(name, **where)
  shape = audio.ClipShape(num_samples, pad, cut, normalize)
  dataset = source.builder()
  if not _is_prepared(dataset, source):
    raise errors.InputError(
      f'{source.place(dataset)} holds no prepared {source.name} corpus; '
      'run python -m launch.prepare first, with the same --config'
    )
  if not _is_here(dataset, source):
    with _alone(dataset):
      _fetch(dataset, source)
    dataset = source.builder()
  record = _checked_record(dataset, source)
  if _is_outdated(record, dataset, source):
    raise errors.InputError(
      f'recordings in {source.folder} were replaced or copied since '
      f'{source.place(dataset)} was prepared; run python -m launch.prepare '
      'again, with the same --config'
    )
  index = _index(dataset)
  ids = index.pop('id')
  order = np.argsort(ids)
  examples = dataset.as_data_source(builder.SPLIT)
  clips = stored.StoredClips(examples, shape, order, str(dataset.data_path))
  spans = [shape.span(length) for length in index.pop('num_samples')[order]]
  starts, num_samples = np.array(spans, np.int32).T
  return Corpus(
    name=source.name,
    ids=ids[order],
    pcm=clips[:] if clips.nbytes <= memory_budget_bytes else clips,
    starts=starts,
    num_samples=num_samples,
    metadata=record,
    **{key: column[order] for key, column in index.items()},
  )


def _index(dataset):
  """Returns what is known of each clip, in the order of the data set."""
  path = dataset.data_path / builder.INDEX
  try:
    with np.load(path) as index:
      return dict(index)
  except (OSError, EOFError, ValueError, *_NOT_NPZ) as e:
    if isinstance(e, OSError) and not errors.is_of_file(e):
      raise
    raise stored.damaged(dataset.data_path, f'{builder.INDEX}: {e}') from e
