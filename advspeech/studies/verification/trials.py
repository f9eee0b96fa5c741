"""Trials: who claims to be whom, with which clips, drawn or from a list."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import errors, storage
from advspeech.holdout import dealing

TARGET, SAME_SEX, CROSS_SEX, UNKNOWN = (
  *('target', 'same_sex', 'cross_sex', 'impostor'),
)
KINDS = (TARGET, SAME_SEX, CROSS_SEX, UNKNOWN)
_LABELS = {'1': True, '0': False, 'target': True, 'nontarget': False}


class Enrolment(NamedTuple):
  """A claimed speaker.

  Attributes:
    speaker: Who it is.
    enrolled: Rows of the corpus that are enrolled; trials are judged by them.
    known: Rows of the same speaker's that an attack sees, none of these.
  """

  speaker: str
  enrolled: tuple[int, ...]
  known: tuple[int, ...]


class Trial(NamedTuple):
  """A clip that claims to be of a speaker.

  Attributes:
    kind: One of `KINDS`: 'target' if it is, else what the impostor's sex is
      beside the claimed speaker's, 'impostor' where one is not known.
    enrolment: Whom it claims to be.
    row: Of the clip, in the corpus.
    speaker: Of the clip.
  """

  kind: str
  enrolment: Enrolment
  row: int
  speaker: str


def trial_id(trial: Trial, corpus: Any) -> str:
  """Returns what tells a trial from others."""
  enrolled = '+'.join(str(corpus.ids[i]) for i in trial.enrolment.enrolled)
  return f'{enrolled}/{corpus.ids[trial.row]}'


def halves(
  corpus: Any, seed: int, without: Collection[str] = ()
) -> tuple[list[str], list[str]]:
  """Returns speakers whose trials set thresholds, and those who are judged.

  Each sex is dealt out in turn, so that both halves have both.

  Args:
    corpus: A `corpora.Corpus`.
    seed: Another seed deals others.
    without: Speakers who are in neither.
  """
  sex_of = dict(zip(corpus.speaker, corpus.sex, strict=True))
  for speaker in ('', *without):
    sex_of.pop(speaker, None)
  order = sorted(
    map(str, sex_of), key=lambda s: (sex_of[s], dealing.hash_of(seed, s))
  )
  return sorted(order[1::2]), sorted(order[::2])


def enrol(
  corpus: Any, speaker: str, num_enrolled: int, seed: int
) -> tuple[Enrolment, list[int]] | None:
  """Returns a speaker's enrolment and clips to test; None with too few clips.

  Where it is known what is said, no test clip says what an enrolled or known
  one does.

  Args:
    corpus: A `corpora.Corpus`.
    speaker: One of its own.
    num_enrolled: Clips enrolled, and as many known to attacks.
    seed: Another seed chooses other clips.
  """
  rows = _rows_of(corpus, speaker, seed)
  said = corpus.statement[rows]
  pool: list[int] = []
  if (said == '').any():
    pool, tested = rows[: 2 * num_enrolled], rows[2 * num_enrolled :]
  else:
    chosen = set()
    for statement in np.unique(said):
      if len(pool) >= 2 * num_enrolled:
        break
      chosen.add(statement)
      pool = [i for i in rows if corpus.statement[i] in chosen]
    tested = [i for i in rows if corpus.statement[i] not in chosen]
  if len(pool) < 2 * num_enrolled or not tested:
    return None
  enrolment = Enrolment(
    speaker,
    tuple(pool[:num_enrolled]),
    tuple(pool[num_enrolled : 2 * num_enrolled]),
  )
  return enrolment, tested


def _rows_of(corpus, speaker, seed):
  """Returns a speaker's rows, in an order of chance."""
  rows = np.flatnonzero(corpus.speaker == speaker)
  return sorted(
    map(int, rows), key=lambda i: dealing.hash_of(seed, str(corpus.ids[i]))
  )


def draw(
  corpus: Any,
  speakers: Sequence[str],
  *,
  num_trials: int,
  num_enrolled: int,
  seed: int,
) -> tuple[list[Trial], list[str]]:
  """Returns trials of each kind, and the speakers who have too few clips.

  Args:
    corpus: A `corpora.Corpus`.
    speakers: Who claims, and who is claimed to be.
    num_trials: Of each kind, at most; fewer where there are fewer.
    num_enrolled: See `enrol`.
    seed: Another seed draws others.

  Raises:
    errors.InputError: If fewer than two speakers have clips enough.
  """
  found = {s: enrol(corpus, s, num_enrolled, seed) for s in speakers}
  able = {s: x for s, x in found.items() if x}
  short = [s for s in speakers if s not in able]
  if len(able) < 2:
    raise errors.InputError(
      'verification needs two speakers or more on each side, those whose '
      'trials set thresholds and those who are judged, each with '
      f'{2 * num_enrolled} clips to enrol and one to test that says something '
      f'else; got {len(able)} of {len(speakers)} ({", ".join(short[:5])} have '
      'fewer); lower config.verification.num_enrolled or use another corpus'
    )
  drawn = []
  for number, kind in enumerate(KINDS):
    candidates = [
      Trial(kind, enrolment, row, speaker)
      for enrolment, _ in able.values()
      for speaker, (_, tested) in able.items()
      if _kind(corpus, enrolment, speaker, tested[0]) == kind
      for row in tested
    ]
    order = np.random.default_rng([seed, number]).permutation(len(candidates))
    drawn += [candidates[i] for i in sorted(order[:num_trials])]
  return drawn, short


def _kind(corpus, enrolment, speaker, row):
  """Returns the kind of a trial; see `Trial`."""
  if speaker == enrolment.speaker:
    return TARGET
  claimed, own = corpus.sex[enrolment.enrolled[0]], corpus.sex[row]
  if not (claimed and own):
    return UNKNOWN
  return SAME_SEX if claimed == own else CROSS_SEX


def read(path: str, corpus: Any, *, num_known: int, seed: int) -> list[Trial]:
  """Returns the trials of a list, one enrolled clip each.

  Args:
    path: Of lines `label enrol test`: 1 or target, 0 or nontarget, and two ids
      of clips.
    corpus: A `corpora.Corpus` that has them.
    num_known: Other clips of the claimed speaker that an attack sees, at most.
    seed: Another seed chooses others of them.

  Raises:
    errors.InputError: If the list is not there, a line is none, names unknown
      clips, one clip on both sides or a speaker without another one, says other
      than the corpus does, or comes twice.
  """
  try:
    with storage.opened(path) as file:
      lines = [line.split() for line in file]
  except (OSError, UnicodeDecodeError) as e:
    raise errors.InputError(
      f'config.verification.trials cannot be read: {path} ({e})'
    ) from e
  row_of = {str(name): i for i, name in enumerate(corpus.ids)}
  found: dict[tuple[int, int], Trial] = {}
  for number, line in enumerate(lines, 1):
    if line:
      trial = _listed(
        f'{path} line {number}', line, corpus, row_of, num_known, seed
      )
      key = trial.enrolment.enrolled[0], trial.row
      if key in found:
        raise errors.InputError(
          f'{path} line {number} is a trial that was there before '
          f'({" ".join(line)}); leave one of them'
        )
      found[key] = trial
  if not found:
    raise errors.InputError(
      f'{path} must have trials, lines such as "1 {corpus.ids[0]} '
      f'{corpus.ids[-1]}", got none'
    )
  return list(found.values())


def _listed(where, line, corpus, row_of, num_known, seed):
  """Returns the trial of a line."""
  if len(line) != 3 or line[0] not in _LABELS:
    raise errors.InputError(
      f'{where} must be "label enrol test" with the label 1 or 0, got '
      f'{" ".join(line)!r}'
    )
  label, *ids = line
  for name in ids:
    if name not in row_of:
      raise errors.InputError(
        f'{where} names the clip {name}, which the corpus {corpus.name} has '
        f'not; its ids look like {corpus.ids[0]}'
      )
  enrolled, row = (row_of[name] for name in ids)
  if enrolled == row:
    raise errors.InputError(
      f'{where} has the recording {ids[0]} on both sides; test with another'
    )
  claimed, speaker = (str(corpus.speaker[i]) for i in (enrolled, row))
  if not claimed or not speaker or (claimed == speaker) != _LABELS[label]:
    raise errors.InputError(
      f'{where} says {label} of {ids[0]} and {ids[1]}, whose speakers are '
      f'{claimed or "unknown"} and {speaker or "unknown"} in the corpus; '
      'correct the one or the other'
    )
  known = [
    i for i in _rows_of(corpus, claimed, seed) if i not in (enrolled, row)
  ]
  if not known:
    raise errors.InputError(
      f'{where} claims to be {claimed}, who has no clip beside those of the '
      'trial; an attack must not see the one that it is judged by, so name a '
      'speaker with more'
    )
  enrolment = Enrolment(claimed, (enrolled,), tuple(known[:num_known]))
  kind = _kind(corpus, enrolment, speaker, row)
  return Trial(kind, enrolment, row, speaker)


def rows_used(trials: Iterable[Trial]) -> np.ndarray:
  """Returns the rows of all clips of some trials, ascending."""
  used = set()
  for trial in trials:
    used |= {trial.row, *trial.enrolment.enrolled, *trial.enrolment.known}
  return np.array(sorted(used), int)


def columns(
  trials: Sequence[Trial],
  mean_of: Callable[[tuple[int, ...]], np.ndarray],
  which: str,
) -> np.ndarray:
  """Returns the embedding of each trial's enrolment, [num_trials, dimension].

  Args:
    trials: The trials.
    mean_of: Maps rows to their embedding.
    which: 'enrolled' or 'known'.
  """
  rows = [getattr(trial.enrolment, which) for trial in trials]
  mean = {each: mean_of(each) for each in dict.fromkeys(rows)}
  return np.stack([mean[each] for each in rows])
