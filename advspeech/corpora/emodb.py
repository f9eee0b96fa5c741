"""EmoDB: ten German actors, seven emotions, ten sentences, from a folder.

Burkhardt et al. 2005, "A Database of German Emotional Speech" (Interspeech);
535 clips at 16 kHz, http://emodb.bilderbar.info. A name such as `03a01Fa.wav`
is speaker (03), sentence (a01), emotion by the first letter of its German name
(F for Freude) and version (a). The sex of each speaker is in the published
description alone.
"""

import re
from collections.abc import Iterator

from advspeech.corpora import builder, folder_builder, records

EMOTIONS = {
  'W': 'angry',  # Wut, Ärger
  'L': 'bored',  # Langeweile
  'E': 'disgust',  # Ekel
  'A': 'fearful',  # Angst
  'F': 'happy',  # Freude
  'T': 'sad',  # Trauer
  'N': 'neutral',
}
SEXES = {
  '03': 'male',
  '08': 'female',
  '09': 'female',
  '10': 'male',
  '11': 'male',
  '12': 'male',
  '13': 'female',
  '14': 'female',
  '15': 'male',
  '16': 'female',
}
_NAME = re.compile(
  r'(?P<take>(?P<speaker>\d\d)(?P<statement>[ab]\d\d)(?P<emotion>[A-Z]))[a-z]?',
  re.ASCII,
)


class Emodb(folder_builder.FolderBuilder):
  """TFDS builder of EmoDB."""

  VERSION = builder.version('1.2.0')
  DESCRIPTION = __doc__
  LAYOUT = 'wav/03a01Fa.wav and so on'

  def recordings(self) -> Iterator[records.Recording | records.Skipped]:
    """Yields the recordings in the order of their names."""
    for path in self.files():
      match = _NAME.fullmatch(path.stem)
      if match and match['speaker'] in SEXES and match['emotion'] in EMOTIONS:
        yield records.Recording(
          path,
          id=path.stem,
          speaker=match['speaker'],
          sex=SEXES[match['speaker']],
          emotion=EMOTIONS[match['emotion']],
          statement=match['statement'],
          take=match['take'],
        )
      else:
        yield records.Skipped(
          str(path),
          f'{path} is not named as EmoDB names its recordings (speaker 03 or '
          '08 to 16, sentence, emotion, version: 03a01Fa.wav); rename it or '
          'move it out',
        )
