"""Speech corpora: prepared once as TFDS data sets, read as arrays."""

import contextlib
import dataclasses
import io
import os

import numpy as np

from advspeech import audio, errors
from advspeech.corpora import builder, espeak, ravdess

BUILDERS = {'espeak': espeak.Espeak, 'ravdess': ravdess.Ravdess}


@dataclasses.dataclass(frozen=True)
class Corpus:
  """All clips of a corpus, sorted by id, cut or padded to one length.

  Attributes:
    name: Which corpus.
    ids: [num_clips] stable utterance ids.
    pcm: [num_clips, time] int16 at 16 kHz, zeros after the recording's end.
    num_samples: [num_clips] recorded samples of each clip, at most `time`.
    speaker: [num_clips] speaker names.
    sex: [num_clips] 'female' or 'male'.
    emotion: [num_clips] emotion names.
    metadata: How it was prepared: counts, skipped recordings, versions.
  """

  name: str
  ids: np.ndarray
  pcm: np.ndarray
  num_samples: np.ndarray
  speaker: np.ndarray
  sex: np.ndarray
  emotion: np.ndarray
  metadata: dict


def _builder(name, folder, data_dir, skip_bad=False):
  if name not in BUILDERS:
    raise errors.InputError(
      f'config.corpus.name must be one of {", ".join(BUILDERS)}, got {name!r}'
    )
  source = {} if name == 'espeak' else {'folder': folder, 'skip_bad': skip_bad}
  return BUILDERS[name](
    data_dir=os.path.expanduser(data_dir) or None,
    file_format='array_record',
    **source,
  )


def prepare(
  name: str, *, folder: str = '', data_dir: str = '', skip_bad: bool = False
) -> str:
  """Writes a corpus as a TFDS data set unless it is there; returns its path.

  Args:
    name: A key of `BUILDERS`.
    folder: The recordings, for a corpus that is read from some.
    data_dir: Where data sets live; '' is TFDS's own default
      (`~/tensorflow_datasets`, or the environment variable TFDS_DATA_DIR).
    skip_bad: Leave out (and count) recordings that cannot be read or are not
      named as the corpus names them, instead of stopping at the first.

  Raises:
    errors.InputError: If the name is unknown, the recordings are missing or
      bad, or the data set there was made from other recordings.
  """
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  dataset = _builder(name, folder, data_dir, skip_bad)
  # TFDS announces a download on stdout; nothing is downloaded.
  with contextlib.redirect_stdout(io.StringIO()):
    dataset.download_and_prepare()
  _check_source(dataset, folder)
  return str(dataset.data_path)


def _check_source(dataset: builder.SpeechBuilder, folder: str) -> None:
  """Refuses a prepared data set when `folder` holds other recordings."""
  if not folder:
    return
  if dataset.info.metadata['source_digest'] != dataset.source_digest():
    raise errors.InputError(
      f'{dataset.data_path} was prepared from other recordings than '
      f'{folder} holds now; remove it to prepare again, or keep both by '
      'passing another --config.data_dir'
    )


def read(
  name: str, *, num_samples: int, folder: str = '', data_dir: str = ''
) -> Corpus:
  """Returns a prepared corpus, every clip cut or padded to `num_samples`.

  Args:
    name: A key of `BUILDERS`.
    num_samples: Clip length.
    folder: The recordings it must have been prepared from; '' for any.
    data_dir: As for `prepare`.

  Raises:
    errors.InputError: If it was not prepared, or from other recordings.
  """
  dataset = _builder(name, folder, data_dir)
  if not dataset.is_prepared():
    raise errors.InputError(
      f'{dataset.data_path} holds no prepared {name} corpus; '
      'run python -m launch.prepare first, with the same --config'
    )
  _check_source(dataset, folder)
  source = dataset.as_data_source(builder.SPLIT)
  ids = [''] * len(source)
  pcm = np.zeros((len(source), num_samples), np.int16)
  lengths = np.zeros(len(source), np.int32)
  texts = {key: [''] * len(source) for key in ('speaker', 'sex', 'emotion')}
  for i, example in enumerate(source):
    ids[i] = example['id'].decode()
    pcm[i] = audio.pad_or_trim(example['pcm'], num_samples)
    lengths[i] = min(len(example['pcm']), num_samples)
    for key, column in texts.items():
      column[i] = example[key].decode()
  order = np.argsort(ids)
  return Corpus(
    name=name,
    ids=np.array(ids)[order],
    pcm=pcm[order],
    num_samples=lengths[order],
    metadata=dict(dataset.info.metadata),
    **{key: np.array(column)[order] for key, column in texts.items()},
  )
