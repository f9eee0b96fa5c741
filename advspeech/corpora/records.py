"""What a corpus says of a clip: who speaks, what, how, and from which file."""

import os
from typing import NamedTuple

import numpy as np

# What is known of a clip, '' where a corpus does not say it.
COLUMNS = ('speaker', 'sex', 'emotion', 'session', 'label', 'split')
COLUMNS += ('statement', 'take')


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
