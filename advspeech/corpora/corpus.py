"""A prepared corpus as arrays: every clip of one length."""

import dataclasses
import os
from typing import Any

import numpy as np

from advspeech import audio, errors, storage
from advspeech.corpora import builder, copies, preparation, stored
from advspeech.corpora.source import Source


@dataclasses.dataclass(frozen=True)
class Corpus:
  """All clips of a corpus, sorted by id, cut or padded to one length.

  Attributes:
    name: Which corpus.
    ids: [num_clips] stable utterance ids.
    pcm: [num_clips, time] int16 at 16 kHz, zeros where there is no recording,
      read from disk when they are needed.
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
  pcm: stored.StoredClips
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


def read(
  name: str,
  *,
  num_samples: int,
  pad: str = 'end',
  cut: str = 'start',
  normalize: str = 'none',
  **where: str,
) -> Corpus:
  """Returns a prepared corpus, every clip of one length.

  The index is read, and no clip: which of them a task needs is known later.

  Args:
    name: A key of `BUILDERS`.
    num_samples: Clip length.
    pad: Where silence goes on a clip that is short, one of `audio.PADS`.
    cut: What is kept of one that is long, one of `audio.CUTS`.
    normalize: One of `audio.NORMALIZATIONS`.
    **where: `folder` and so on; see `Source`. Without a folder the data set
      may have been made from any.

  Raises:
    errors.InputError: If it was not prepared, or from other recordings, or is
      damaged.
  """
  source = Source(name, **where)
  shape = audio.ClipShape(num_samples, pad, cut, normalize)
  dataset = source.builder()
  if not preparation.is_there(dataset, source):
    raise errors.InputError(
      f'{source.place(dataset)} holds no prepared {source.name} corpus; '
      'run python -m launch.prepare first, with the same --config'
    )
  if not copies.is_here(dataset, source):
    with copies.alone(dataset):
      copies.fetch(dataset, source)
    dataset = source.builder()
  record = preparation.checked_record(dataset, source)
  if preparation.is_outdated(record, dataset, source):
    raise errors.InputError(
      f'recordings in {source.folder} were replaced or copied since '
      f'{source.place(dataset)} was prepared; run python -m launch.prepare '
      'again, with the same --config'
    )
  index = _index(dataset)
  ids = index.pop('id')
  order = np.argsort(ids)
  examples = dataset.as_data_source(builder.SPLIT)
  spans = [shape.span(length) for length in index.pop('num_samples')[order]]
  starts, num_samples = np.array(spans, np.int32).T
  return Corpus(
    name=source.name,
    ids=ids[order],
    pcm=stored.StoredClips(examples, shape, order, str(dataset.data_path)),
    starts=starts,
    num_samples=num_samples,
    metadata=record,
    **{key: column[order] for key, column in index.items()},
  )


def _index(dataset):
  """Returns what is known of each clip, in the order of the data set."""
  path = os.path.join(dataset.data_path, builder.INDEX)
  try:
    return storage.read_arrays(path)
  except errors.InputError as e:
    why = f'{builder.INDEX}: {e.__cause__}'
    raise stored.damaged(dataset.data_path, why) from e
