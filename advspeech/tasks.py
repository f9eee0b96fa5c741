"""Tasks on a corpus: which clips, which label."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from advspeech import errors

# What a corpus says of a clip that a task's classes are values of.
COLUMNS = {
  'gender': 'sex',
  'emotion': 'emotion',
  'speaker': 'speaker',
  'label': 'label',
  'session': 'session',
  'statement': 'statement',
  'take': 'take',
}
NAMES = tuple(COLUMNS)
# What a corpus says of a clip that may be kept on one side of a split.
GROUPS = ('speaker', 'statement', 'take', 'session', 'emotion', 'sex', 'label')
_SEXES = ('female', 'male')
_EMOTIONS = ('angry', 'sad')
_SPEAKERS_PER_SEX = 2
# How many values of a column a message names.
_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Task:
  """A classification task on part of a corpus.

  Attributes:
    name: One of `NAMES`.
    classes: Class names; a label is an index into them.
    rows: [num_clips] rows of the corpus that take part, ascending.
    labels: [num_clips] int32 class of each.
  """

  name: str
  classes: tuple[str, ...]
  rows: np.ndarray
  labels: np.ndarray


def select(
  name: str, classes: Sequence[str] = (), **columns: Sequence[str]
) -> Task:
  """Returns the clips and labels of a task (paper, "Dataset").

  Without classes, gender takes every clip whose speaker's sex is known; emotion
  the angry and the sad ones; speaker those of four speakers, the first two of
  each sex by name; any other task every value that its column has.

  Args:
    name: One of `NAMES`.
    classes: Values of the task's column that are told apart; () for the above.
    **columns: [num_clips] each, what a corpus says of its clips, by the values
      of `COLUMNS`; '' where it does not.

  Raises:
    errors.InputError: If the name is unknown or a class has no clips.
  """
  if name not in NAMES:
    raise errors.InputError(
      f'config.task must be one of {", ".join(NAMES)}, got {name!r}'
    )
  column = np.asarray(columns[COLUMNS[name]])
  if not column.any():
    others = [
      n for n in NAMES if len({*columns.get(COLUMNS[n], ())} - {''}) > 1
    ]
    raise errors.InputError(
      f'the {name} task needs the {COLUMNS[name]} of clips, and this corpus '
      f'tells it of none; choose --config.task of {_listed(others) or "none"}'
    )
  classes, num_classes = tuple(classes), len(classes)
  if not classes:
    classes = _default_classes(name, columns)
    num_classes = 2 * _SPEAKERS_PER_SEX if name == 'speaker' else len(classes)
  num_classes = max(2, num_classes)
  missing = [c for c in classes if not (column == c).any()]
  if missing or len(classes) < num_classes:
    there = sorted({*column.tolist()} - {''})
    raise errors.InputError(
      f'the {name} task needs {num_classes} classes with clips in each, the '
      f'corpus has only {sorted(set(classes) - set(missing))}; name others in '
      f'--config.classes, of its {COLUMNS[name]}s {_listed(there) or "none"}'
    )
  rows = np.flatnonzero(np.isin(column, classes))
  return Task(name, classes, rows, labels_in(classes, column[rows]))


def _default_classes(name, columns):
  """Returns what a task tells apart unless it is told."""
  if name == 'gender':
    return _SEXES
  if name == 'emotion':
    return _EMOTIONS
  column = np.asarray(columns[COLUMNS[name]])
  if name == 'speaker':
    sex = np.asarray(columns['sex'])
    return tuple(
      str(s)
      for one_sex in _SEXES
      for s in np.unique(column[sex == one_sex])[:_SPEAKERS_PER_SEX]
    )
  return tuple(str(c) for c in np.unique(column) if c)


def _listed(names):
  """Returns the first few names, and how many more there are."""
  more = len(names) - _NAMED
  return ', '.join(names[:_NAMED]) + (f' and {more} more' if more > 0 else '')


def labels_in(classes: Sequence[str], column: Sequence[str]) -> np.ndarray:
  """Returns the classes of clips, [num_clips] int32; -1 for none of them.

  Args:
    classes: Names, as a model was trained with them.
    column: [num_clips] what the corpus says of each clip; see `COLUMNS`.
  """
  index = {name: i for i, name in enumerate(classes)}
  return np.array([index.get(str(value), -1) for value in column], np.int32)
