"""SAVEE: four men, seven emotions, 480 English sentences, from a folder.

Haq & Jackson, University of Surrey, http://kahlan.eps.surrey.ac.uk/savee
(registration needed); 44.1 kHz. `AudioData/DC/sa01.wav` is speaker DC, sadness,
sentence 1; collections that keep all files in one folder call it `DC_sa01.wav`.
There is no woman in it, hence no gender task.
"""

import re
from collections.abc import Iterator

from advspeech.corpora import builder, folder_builder, records

SPEAKERS = ('DC', 'JE', 'JK', 'KL')
EMOTIONS = {
  'a': 'angry',
  'd': 'disgust',
  'f': 'fearful',
  'h': 'happy',
  'n': 'neutral',
  'sa': 'sad',
  'su': 'surprised',
}
_NAME = re.compile(
  rf'(?P<speaker>{"|".join(SPEAKERS)})[/_]'
  rf'(?P<sentence>(?P<emotion>{"|".join(EMOTIONS)})\d\d)',
  re.ASCII,
)


class Savee(folder_builder.FolderBuilder):
  """TFDS builder of SAVEE."""

  VERSION = builder.version('1.2.0')
  DESCRIPTION = __doc__
  LAYOUT = 'AudioData/DC/a01.wav and so on'

  def recordings(self) -> Iterator[records.Recording | records.Skipped]:
    """Yields the recordings in the order of their names."""
    for path in self.files():
      match = _NAME.fullmatch(path.stem) or _NAME.fullmatch(
        f'{path.parent.name}/{path.stem}'
      )
      if match:
        yield records.Recording(
          path,
          id=f'{match["speaker"]}_{match["sentence"]}',
          speaker=match['speaker'],
          sex='male',
          emotion=EMOTIONS[match['emotion']],
        )
      else:
        yield records.Skipped(
          str(path),
          f'{path} is not named as SAVEE names its recordings (DC/a01.wav or '
          f'DC_a01.wav, speakers {", ".join(SPEAKERS)}); rename it or move it '
          'out',
        )
