"""CREMA-D: 91 actors, six emotions, twelve sentences, from a folder.

Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244, Open Database License; 7,442
clips at 16 kHz, https://github.com/CheyneyComputerScience/CREMA-D (cloned with
Git LFS). `AudioWAV/1001_DFA_ANG_XX.wav` is actor, sentence, emotion asked for
and its level; the sex of each actor is in `VideoDemographics.csv`.
"""

import csv
import re
from collections.abc import Iterator

from advspeech import errors
from advspeech.corpora import builder, folder_builder, folder_files, records

EMOTIONS = {
  'ANG': 'angry',
  'DIS': 'disgust',
  'FEA': 'fearful',
  'HAP': 'happy',
  'NEU': 'neutral',
  'SAD': 'sad',
}
DEMOGRAPHICS = 'VideoDemographics.csv'
# One file of the release, 1040_ITH_SAD_X, has a single X.
_NAME = re.compile(
  rf'(?P<actor>\d{{4}})_(?P<statement>[A-Z]{{3}})_(?P<emotion>{"|".join(EMOTIONS)})'
  r'_(LO|MD|HI|XX|X)',
  re.ASCII,
)


class CremaD(folder_builder.FolderBuilder):
  """TFDS builder of CREMA-D."""

  VERSION = builder.version('1.2.0')
  DESCRIPTION = __doc__
  LAYOUT = f'AudioWAV/1001_DFA_ANG_XX.wav and so on, and {DEMOGRAPHICS}'

  def recordings(self) -> Iterator[records.Recording | records.Skipped]:
    """Yields the recordings in the order of their names."""
    paths, sexes = self.files('AudioWAV'), self._sexes()
    for path in paths:
      match = _NAME.fullmatch(path.stem)
      if not match:
        yield records.Skipped(
          str(path),
          f'{path} is not named as CREMA-D names its recordings '
          '(1001_DFA_ANG_XX.wav); rename it or move it out',
        )
      elif match['actor'] not in sexes:
        yield records.Skipped(
          str(path),
          f'{path} is of actor {match["actor"]}, who is not in '
          f'{DEMOGRAPHICS}; add a line or move it out',
        )
      else:
        yield records.Recording(
          path,
          id=path.stem,
          speaker=match['actor'],
          sex=sexes[match['actor']],
          emotion=EMOTIONS[match['emotion']],
          statement=match['statement'],
        )

  def _sexes(self):
    path = self.folder / DEMOGRAPHICS
    data = folder_files.read_table(path)
    try:
      rows = list(csv.DictReader(data.decode('utf-8-sig').splitlines()))
      return {
        row['ActorID'].strip(): {'Male': 'male', 'Female': 'female'}[
          row['Sex'].strip()
        ]
        for row in rows
      }
    except (ValueError, csv.Error, KeyError, AttributeError) as e:
      raise errors.InputError(
        f'{path} cannot be read as the table of actors that CREMA-D comes '
        f'with (ActorID, Age, Sex, Race, Ethnicity): {e!r}; put it back from '
        'the release'
      ) from e
