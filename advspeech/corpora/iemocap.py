"""IEMOCAP: ten actors in five sessions, the corpus of the paper, from a folder.

Busso et al. 2008, doi 10.1007/s10579-008-9076-6. Read as it is shipped: every
summary line of `Session*/dialog/EmoEvaluation/*.txt` is an utterance,

  [6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>neu<tab>[2.5000, 2.5000, 2.5000]

with the label that most evaluators gave (`xxx`: there is none), and its sound
is `Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`. The letter
of the last group is the sex of who speaks; a session has one speaker of each.
The lines below (one an evaluator) and the stereo sound of whole dialogues are
not read.
"""

import collections
import re
from collections.abc import Iterator

from advspeech import errors
from advspeech.corpora import (
  builder,
  clip_warnings,
  folder_builder,
  folder_files,
  records,
)

EMOTIONS = {
  'ang': 'angry',
  'dis': 'disgust',
  'exc': 'excited',
  'fea': 'fearful',
  'fru': 'frustrated',
  'hap': 'happy',
  'neu': 'neutral',
  'oth': 'other',
  'sad': 'sad',
  'sur': 'surprised',
  'xxx': 'undecided',
}
SESSIONS = (1, 2, 3, 4, 5)
SEXES = {'F': 'female', 'M': 'male'}
# What the paper counts ("Dataset and Test Strategy"); it does not say which
# speaker of a session has which of the two numbers.
PAPER = {
  'utterances': 10_039,
  'female': 4_800,
  'male': 5_239,
  'angry': 1_103,
  'sad': 1_084,
  'speakers of session 1': (873, 946),
  'speakers of session 2': (859, 952),
}
_LINE = re.compile(
  r'\[\d+\.\d+ - \d+\.\d+\]\t(?P<id>\S+)\t(?P<label>\w+)\t\[.*\]\s*'
)
_ID = re.compile(r'(?P<dialog>Ses0(?P<session>\d)[FM]_\w+)_(?P<sex>[FM])\w+')


class Iemocap(folder_builder.FolderBuilder):
  """TFDS builder of IEMOCAP."""

  VERSION = builder.version('1.2.0')
  DESCRIPTION = __doc__
  LAYOUT = 'Session1 ... Session5 of the IEMOCAP release'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'IEMOCAP needs a licence: ask for it at https://sail.usc.edu/iemocap, '
    'unpack the archive, and name the folder that holds Session1 ... Session5 '
    'with --config.corpus.folder'
  )

  def recordings(self) -> Iterator[records.Recording | records.Skipped]:
    """Yields the utterances, session by session, in the order of their ids."""
    for table in self._tables():
      yield from _utterances(table)

  def check_folder(self) -> None:
    """Raises errors.InputError if there is no release in the folder."""
    super().check_folder()
    if not any(self._tables()):
      raise errors.InputError(
        f'{self.folder} holds no Session1/dialog/EmoEvaluation/*.txt; '
        f'{self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
      )

  def _tables(self):
    """Yields the tables of evaluations, which Mac OS may have doubled."""
    for number in SESSIONS:
      folder = self.folder / f'Session{number}' / 'dialog' / 'EmoEvaluation'
      if folder.is_dir():
        for path in sorted(folder.iterdir()):
          if path.suffix == '.txt' and not path.name.startswith('.'):
            yield path

  def summary(self, clips: list[clip_warnings.Clip]) -> list[str]:
    """Returns what there is, and each count of the paper's beside it."""
    lines = super().summary(clips)
    ours = _counts(clips)
    for what, expected in PAPER.items():
      same = '' if ours[what] == expected else ': differs'
      lines.append(
        f'{what}: {_text(ours[what])}, in the paper {_text(expected)}{same}'
      )
    return lines


def _utterances(table):
  """Yields what the summary lines of one dialogue's table name."""
  session = table.parent.parent.parent
  lines = folder_files.read_table(table).decode('latin-1').splitlines()
  for number, line in enumerate(lines, 1):
    match = _LINE.fullmatch(line)
    if not match:
      if line.startswith('['):
        yield records.Skipped(
          f'{table} line {number}',
          f'{table} line {number} begins as a summary line and is none: '
          f'{line!r}; put the table back',
        )
      continue
    id_, label = match['id'], match['label']
    named = _ID.fullmatch(id_)
    if not named or session.name != f'Session{named["session"]}':
      reason = f'{id_} is not the id of an utterance of {session.name}'
    elif label not in EMOTIONS:
      reason = f'{id_} has the unknown label {label!r}'
    else:
      yield records.Recording(
        session / 'sentences' / 'wav' / named['dialog'] / f'{id_}.wav',
        id=id_,
        speaker=f'Ses0{named["session"]}{named["sex"]}',
        sex=SEXES[named['sex']],
        emotion=EMOTIONS[label],
        session=named['session'],
      )
      continue
    yield records.Skipped(
      f'{table}: {id_}', f'{reason} ({table}); put the table back'
    )


def _counts(clips):
  """Returns the numbers of `PAPER`, counted."""
  counts = collections.Counter()
  for clip in clips:
    counts.update(['utterances', clip.columns['sex'], clip.columns['emotion']])
    counts[clip.speaker] += 1
  for session in '12':
    speakers = [counts[f'Ses0{session}{sex}'] for sex in SEXES]
    counts[f'speakers of session {session}'] = tuple(sorted(speakers))
  return counts


def _text(count):
  numbers = count if isinstance(count, tuple) else (count,)
  return ' and '.join(f'{number:,}' for number in numbers)
