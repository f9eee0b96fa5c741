"""RAVDESS: 24 actors, eight emotions, two statements, from a local folder.

Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391, CC BY-NC-SA 4.0.
The file names are the metadata, `MM-CC-EE-II-SS-RR-AA`: modality, vocal
channel, emotion, intensity, statement, repetition, actor. Audio-only speech
(`03-01-...`) is read, `.wav` at 48 kHz as published or any other rate and
format of libsndfile; songs and video sound tracks in the folder are passed
over.
"""

import re
from collections.abc import Iterator

from advspeech.corpora import builder, folder_builder, records

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
_NAME = re.compile(
  r'(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])'
  r'-0[12]-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>\d\d)'
)
_AUDIO_ONLY, _SPEECH = '03', '01'


class Ravdess(folder_builder.FolderBuilder):
  """TFDS builder of the speech part of RAVDESS."""

  VERSION = builder.version('2.2.0')
  DESCRIPTION = __doc__
  LAYOUT = 'Actor_01 ... Actor_24, such as Actor_01/03-01-01-01-01-01-01.wav'

  def recordings(
    self,
  ) -> Iterator[records.Recording | records.Skipped | None]:
    """Yields the recordings in the order of their names."""
    for path in self.files():
      match = _NAME.fullmatch(path.stem)
      if not match:
        yield records.Skipped(
          str(path),
          f'{path} is not named as RAVDESS names its recordings '
          '(MM-CC-EE-II-SS-RR-AA, for example 03-01-05-01-02-01-12.wav); '
          'rename it or move it out',
        )
      elif (match['modality'], match['channel']) != (_AUDIO_ONLY, _SPEECH):
        yield None
      else:
        yield records.Recording(
          path,
          id=path.stem,
          speaker=f'actor_{match["actor"]}',
          sex='male' if int(match['actor']) % 2 else 'female',
          emotion=EMOTIONS[match['emotion']],
          statement=match['statement'],
          take=f'{path.stem[: match.start("repetition")]}{match["actor"]}',
        )
