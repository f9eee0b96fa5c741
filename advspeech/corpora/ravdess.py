"""RAVDESS: 24 actors, eight emotions, two statements, from a local folder.

Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391, CC BY-NC-SA 4.0.
The file names are the metadata, `MM-CC-EE-II-SS-RR-AA`: modality, vocal
channel, emotion, intensity, statement, repetition, actor. Audio-only speech
(`03-01-...`) is read, `.wav` at 48 kHz as published or any other rate and
format of libsndfile; songs and video sound tracks in the folder are passed
over.
"""

import concurrent.futures
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Iterator

from advspeech import audio, errors
from advspeech.corpora import builder

logger = logging.getLogger(__name__)

EMOTIONS = {
  '01': 'neutral',
  '02': 'calm',
  '03': 'happy',
  '04': 'sad',
  '05': 'angry',
  '06': 'fearful',
  '07': 'disgust',
  '08': 'surprised',
}
SUFFIXES = ('.wav', '.flac')
_NAME = re.compile(
  r'(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])'
  r'-0[12]-0[12]-0[12]-(?P<actor>\d\d)'
)
_AUDIO_ONLY, _SPEECH = '03', '01'


class Ravdess(builder.SpeechBuilder):
  """TFDS builder of the speech part of RAVDESS."""

  VERSION = builder.version('1.0.0')
  DESCRIPTION = __doc__

  def __init__(self, *, folder: str = '', skip_bad: bool = False, **kwargs):
    """Sets where the recordings are and whether bad ones are left out."""
    self._folder = pathlib.Path(folder) if folder else None
    self._skip_bad = skip_bad
    super().__init__(**kwargs)

  def _recordings(self) -> list[pathlib.Path]:
    if self._folder is None:
      raise errors.InputError(
        'RAVDESS is read from a folder of yours; say where it is with '
        '--config.corpus.folder=/path/to/ravdess'
      )
    if not self._folder.is_dir():
      raise errors.InputError(
        f'{self._folder} is not a folder; point --config.corpus.folder at the '
        'folder that holds Actor_01 ... Actor_24'
      )
    paths = sorted(
      path
      for path in self._folder.rglob('*')
      if path.suffix.lower() in SUFFIXES and not path.name.startswith('.')
    )
    if not paths:
      raise errors.InputError(
        f'{self._folder} holds no recordings; expected RAVDESS files such as '
        'Actor_01/03-01-01-01-01-01-01.wav (.wav or .flac)'
      )
    return paths

  def source_digest(self) -> str:
    """Returns a hash over the names and sizes of the recordings."""
    digest = hashlib.sha256()
    for path in self._recordings():
      digest.update(f'{path.name} {path.stat().st_size}\n'.encode())
    return digest.hexdigest()

  def num_utterances(self) -> int:
    """Returns the number of recordings in the folder."""
    return len(self._recordings())

  def utterances(self) -> Iterator[builder.Utterance | builder.Skipped]:
    """Yields the recordings in the order of their names, read in threads."""
    seen, num_other = {}, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      paths = self._recordings()
      for path, result in zip(paths, pool.map(_read, paths), strict=True):
        if isinstance(result, errors.InputError):
          if not self._skip_bad:
            raise errors.InputError(f'{result}, or pass --skip_bad') from result
          yield builder.Skipped(str(path), str(result))
        elif result is None:
          num_other += 1
        elif result.id in seen:
          raise errors.InputError(
            f'{seen[result.id]} and {path} are the same recording by name; '
            'remove one of them'
          )
        else:
          seen[result.id] = path
          yield result
    if num_other:
      logger.info('passed over %d songs and video sound tracks', num_other)


def _read(path: pathlib.Path) -> builder.Utterance | errors.InputError | None:
  """Returns the clip, None for a song, or what is wrong with the file."""
  match = _NAME.fullmatch(path.stem)
  if not match:
    return errors.InputError(
      f'{path} is not named as RAVDESS names its recordings '
      '(MM-CC-EE-II-SS-RR-AA, for example 03-01-05-01-02-01-12.wav); '
      'rename it or move it out'
    )
  if (match['modality'], match['channel']) != (_AUDIO_ONLY, _SPEECH):
    return None
  try:
    pcm = audio.load(path)
  except errors.InputError as e:
    return e
  return builder.Utterance(
    id=path.stem,
    pcm=pcm,
    speaker=f'actor_{match["actor"]}',
    sex='male' if int(match['actor']) % 2 else 'female',
    emotion=EMOTIONS[match['emotion']],
  )
