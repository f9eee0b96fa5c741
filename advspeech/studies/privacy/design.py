"""Who is enrolled with what and tested with what else: a crossed design."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import errors, input_pipeline
from advspeech.holdout import dealing
from advspeech.studies.verification import trials

# What a clip is protected for.
TESTED, ENROLLED, FITTED = 'tested', 'enrolled', 'fitted'
# Of the speakers who are not judged: a speaker model is refitted to them, and
# chosen by one half of them when it is fitted to the other.
_FEWEST_JUDGED, _FEWEST_OTHERS = 2, 4


class Clip(NamedTuple):
  """A clip that is tested, or that a speaker model is fitted to.

  Attributes:
    row: Of the corpus.
    speaker: Who speaks.
    against: The statement that it is tested against, not its own.
  """

  row: int
  speaker: str
  against: str


class Side(NamedTuple):
  """What is enrolled of a speaker and a statement.

  Attributes:
    enrolled: Rows of the corpus.
    known: As many others, which protections see.
  """

  enrolled: tuple[int, ...]
  known: tuple[int, ...]


class Design(NamedTuple):
  """All of it.

  Attributes:
    judged: Speakers who are tested, in their order.
    others: Those who set thresholds and whom speaker models are refitted to.
    sides: Of everybody, by (speaker, statement).
    next_of: Of a speaker's statements, the one that follows.
    tested: Clips of the judged, of the run's test split.
    fitted: Clips of the others.
    short: Speakers with too few statements or clips, who are left out.
  """

  judged: tuple[str, ...]
  others: tuple[str, ...]
  sides: Mapping[tuple[str, str], Side]
  next_of: Mapping[tuple[str, str], str]
  tested: tuple[Clip, ...]
  fitted: tuple[Clip, ...]
  short: tuple[str, ...]

  def enrolled(self) -> list[Clip]:
    """Returns the enrolled clips of the judged, as clips to be protected."""
    return [
      Clip(row, speaker, self.next_of[speaker, statement])
      for (speaker, statement), side in self.sides.items()
      if speaker in self.judged
      for row in side.enrolled
    ]

  def rows(self) -> np.ndarray:
    """Returns the rows of all clips, ascending."""
    used = {clip.row for clip in (*self.tested, *self.fitted)}
    for side in self.sides.values():
      used |= {*side.enrolled, *side.known}
    return np.array(sorted(used), int)


def choose(
  corpus: Any, tested_ids: Sequence[str], settings: Any, seed: int
) -> Design:
  """Returns the design.

  Args:
    corpus: A `corpora.Corpus`.
    tested_ids: Of the clips that may be tested, which have an emotion.
    settings: `config.privacy`.
    seed: Of who and what is drawn.

  Raises:
    errors.InputError: If too few speakers have two statements with clips
      enough, or clips that may be tested.
  """
  may_be_tested = set(np.flatnonzero(np.isin(corpus.ids, tested_ids)).tolist())
  said = {s: _statements(corpus, s, seed) for s in _all(corpus)}
  sides = {
    s: _sides(said[s], may_be_tested, settings.num_enrolled) for s in said
  }
  left = {s: _left(s, said[s], sides[s]) for s in said}
  may = {s: sorted(c for c in left[s] if c.row in may_be_tested) for s in said}
  others, judged = trials.halves(corpus, seed)
  judged_able = tuple(s for s in judged if may[s])
  others_able = tuple(s for s in others if left[s])
  _check(judged_able, others_able, sides, settings)
  tested = [c for s in judged_able for c in may[s]]
  chosen = input_pipeline.spread_rows(len(tested), settings.num_clips)
  able = sorted({*judged_able, *others_able})
  return Design(
    judged_able,
    others_able,
    {(s, x): side for s in able for x, side in sides[s].items()},
    {(s, x): _next(list(sides[s]), x) for s in able for x in sides[s]},
    tuple(tested[i] for i in chosen),
    tuple(
      c for s in others_able for c in _in_turn(left[s])[: settings.num_fitted]
    ),
    tuple(s for s in (*judged, *others) if s not in able),
  )


def _all(corpus):
  return sorted({str(s) for s in corpus.speaker} - {''})


def _check(judged, others, found, settings):
  if len(judged) >= _FEWEST_JUDGED and len(others) >= _FEWEST_OTHERS:
    return
  crossed = sum(bool(sides) for sides in found.values())
  raise errors.InputError(
    f'privacy needs {_FEWEST_JUDGED} speakers to be judged, of whom clips are '
    f'in the test split, and {_FEWEST_OTHERS} others, each with two statements '
    f'(or recordings) of {2 * settings.num_enrolled} clips besides; got '
    f'{len(judged)} and {len(others)}, {crossed} of {len(found)} speakers have '
    'them; lower config.privacy.num_enrolled or use another corpus'
  )


def _statements(corpus, speaker, seed):
  """Returns a speaker's rows by what they say, each in an order of chance.

  Where that is not known, recordings are dealt to two sides.
  """
  rows = sorted(
    map(int, np.flatnonzero(corpus.speaker == speaker)),
    key=lambda i: dealing.hash_of(seed, str(corpus.ids[i])),
  )
  said = corpus.statement[rows]
  if (said == '').any():
    return {'0': rows[::2], '1': rows[1::2]}
  return {
    str(x): [i for i in rows if corpus.statement[i] == x]
    for x in np.unique(said)
  }


def _sides(said, may_be_tested, num):
  """Returns a speaker's sides by statement, none if there are no two."""
  sides = {}
  for statement, rows in said.items():
    pool = [i for i in rows if i not in may_be_tested][: 2 * num]
    if len(pool) == 2 * num:
      sides[statement] = Side(tuple(pool[:num]), tuple(pool[num:]))
  return sides if len(sides) > 1 else {}


def _next(statements, statement):
  """Returns the statement after one, of those in a circle."""
  return statements[(statements.index(statement) + 1) % len(statements)]


def _left(speaker, said, sides):
  """Returns a speaker's clips that are neither enrolled nor known."""
  used = {i for side in sides.values() for i in (*side.enrolled, *side.known)}
  return [
    Clip(row, speaker, _next(list(sides), statement))
    for statement in sides
    for row in said[statement]
    if row not in used
  ]


def _in_turn(clips):
  """Returns clips, of each statement in turn."""
  queues: dict[str, list[Clip]] = {}
  for clip in clips:
    queues.setdefault(clip.against, []).append(clip)
  return [
    clip
    for turn in itertools.zip_longest(*queues.values())
    for clip in turn
    if clip
  ]
