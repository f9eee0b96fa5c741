"""Those who want to know who speaks, by what they know of the protection."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from advspeech.statistics import trials as by_speaker
from advspeech.statistics import verification
from advspeech.studies.privacy import backend, parts
from advspeech.studies.privacy import design as design_lib
from advspeech.studies.verification import scoring

IGNORANT, LAZY, SEMI = 'ignorant', 'lazy_informed', 'semi_informed'
# Those who answer a protection: by a transform, or by training the network.
FILTERING, RETRAINED = 'filtering', 'retrained'
ANSWERING = (FILTERING, RETRAINED)
ATTACKERS = (IGNORANT, LAZY, SEMI, *ANSWERING)
# In the place of a transform, where the one who filters takes none.
NOTHING = 'nothing'


class Trials(NamedTuple):
  """Every tested clip against every speaker judged.

  Attributes:
    scores: [num_clips, num_speakers].
    own: [num_clips] which speaker it is.
    threshold: Fixed on clean clips of other speakers; NaN where it is not known
      for these scores.
    shrinkage: Of the back-end that was refitted; None without one.
    enrols: `backend.CLEAN` or `backend.PROTECTED` clips.
    answer: Of the one who filters: the transform, or `NOTHING` where more of
      the speakers held out are found without any; '' of the others.
  """

  scores: np.ndarray
  own: np.ndarray
  threshold: float
  shrinkage: float | None
  enrols: str
  answer: str = ''


class Listener:
  """An embedder, with what it says of clean clips."""

  def __init__(self, results: parts.Results, number: int):
    design, embedded = results.design, results.embedded[number]
    self._results, self._number = results, number
    self._design, self._embedded = design, embedded
    self._tested = results.of(design_lib.TESTED)
    self._enrolled = results.of(design_lib.ENROLLED)
    self._fitted = results.of(design_lib.FITTED)
    # Clips enrolled lie side by side, as they were chosen.
    place = {c.row: i for i, c in enumerate(design.enrolled())}
    self._place = place
    self.own = np.array([design.judged.index(c.speaker) for c in design.tested])
    self.threshold = self._clean_threshold()

  def attackers(self, epsilon: int) -> tuple[str, ...]:
    """Returns those of `ATTACKERS` that were run at an epsilon, by number."""
    heard = self._results.informed
    answered = {FILTERING: heard.filtered, RETRAINED: heard.retrained}
    answering = [
      who
      for who, part in answered.items()
      if epsilon == self._results.largest
      and any(number == self._number for number, _, _ in part)
    ]
    return (*(x for x in ATTACKERS if x not in ANSWERING), *answering)

  def trials(self, part: str, place: tuple[int, int], who: str) -> Trials:
    """Returns the trials of one attacker.

    Args:
      part: Of a protection; see `parts.Results.heard`.
      place: Numbers of the epsilon and the weight there.
      who: One of `attackers`.
    """
    heard = [self._as_it_was(part, place)]
    if who == IGNORANT:
      return self._against(heard[0], backend.CLEAN)
    if who == LAZY:
      return self._against(heard[0], backend.PROTECTED)
    answers = [NOTHING]
    if who == FILTERING:
      heard += self._filtered(part, place[1])
      answers += self._results.filters
    by_halves = [(self._fitted_of(one),) * 2 for one in heard]
    if who == RETRAINED:
      found = self._results.informed.retrained[self._number, part, place[1]]
      heard = [_heard(found['all'])]
      by_halves = [(_heard(found['first']), _heard(found['second']))]
    networks = [
      backend.Network(self._fitted_of(one), halves)
      for one, halves in zip(heard, by_halves, strict=True)
    ]
    number, fit, enrols = backend.refit(
      networks, [c.speaker for c in self._design.fitted]
    )
    return self._against(heard[number], enrols, fit)._replace(
      threshold=np.nan,
      shrinkage=fit.shrinkage,
      answer=answers[number] if who == FILTERING else '',
    )

  def _filtered(self, part, weight):
    """Returns what the network says of all clips behind each transform."""
    filtered = self._results.informed.filtered
    protected = filtered[self._number, part, weight]
    clean = filtered[self._number, parts.CLEAN, 0]
    return [
      backend.Heard(protected[str(i)], clean[str(i)])
      for i in range(len(self._results.filters))
    ]

  def _as_it_was(self, part, place):
    """Returns what the network that was attacked says of all clips."""
    found = self._results.heard[part]['embeddings'][str(self._number)]
    return backend.Heard(
      scoring.unit(np.asarray(found, float)[:, *place]),
      self._embedded.of([clip.row for _, clip in self._results.clips]),
    )

  def _fitted_of(self, heard):
    return backend.Heard(*(x[self._fitted] for x in heard))

  def _against(
    self,
    heard: backend.Heard,
    enrols: str,
    fit: Callable[[np.ndarray], np.ndarray] = lambda x: x,
  ) -> Trials:
    """Returns the trials of what a network says of all clips.

    Args:
      heard: [num_clips, dimension] each.
      enrols: Which of them.
      fit: What embeddings go through first.
    """
    chosen = heard.clean if enrols == backend.CLEAN else heard.protected
    enrolled = chosen[self._enrolled]
    scores = _scores(
      self._design,
      self._design.tested,
      self._design.judged,
      fit(heard.protected[self._tested]),
      lambda rows: fit(enrolled[[self._place[row] for row in rows]]),
    )
    return Trials(scores, self.own, self.threshold, None, enrols)

  def _clean_threshold(self):
    """Returns the threshold of equal errors on clean clips of the others."""
    design = self._design
    scores = _scores(
      design,
      design.fitted,
      design.others,
      self._embedded.of([c.row for c in design.fitted]),
      self._embedded.of,
    )
    speakers = np.array([c.speaker for c in design.fitted])
    is_target = speakers[:, None] == np.array(design.others)[None]
    points = verification.points(scores.ravel(), is_target.ravel())
    return verification.equal_error_rate(points)[1]


def _heard(part):
  """Returns embeddings of a part on disk."""
  return backend.Heard(part['protected'], part['clean'])


def _scores(design, clips, speakers, vectors, enrolled_of):
  """Returns cosines of clips and enrolments, [num_clips, num_speakers].

  Each clip is held against what a speaker says in the other statement, or in
  the first of theirs if they do not have that one.
  """
  means: dict[tuple[str, str], np.ndarray] = {}

  def mean_of(speaker, statement):
    if (speaker, statement) not in design.sides:
      statement = min(x for s, x in design.sides if s == speaker)
    key = speaker, statement
    if key not in means:
      side = design.sides[key]
      means[key] = scoring.unit(enrolled_of(side.enrolled).mean(0))
    return means[key]

  return np.array(
    [
      [vector @ mean_of(speaker, clip.against) for speaker in speakers]
      for clip, vector in zip(clips, vectors, strict=True)
    ]
  )


def equal_errors(trials: Trials, weights: np.ndarray) -> np.ndarray:
  """Returns the EER of every resample, [num_resamples].

  Args:
    trials: Of an attacker.
    weights: [num_resamples, num_clips, num_speakers] how often each counts.
  """
  is_target = trials.own[:, None] == np.arange(trials.scores.shape[1])[None]
  return verification.equal_error_rates(
    trials.scores.ravel(),
    is_target.ravel(),
    weights.reshape(len(weights), -1),
  )


def drawn(
  trials: Trials, names: tuple[str, ...], num_resamples: int
) -> np.ndarray:
  """Returns how often resamples of speakers have trials, [resamples, ...].

  Args:
    trials: Of an attacker.
    names: [num_speakers] of the speakers.
    num_resamples: How many.
  """
  speakers = np.array(names)
  claimed = np.broadcast_to(speakers[None], trials.scores.shape)
  speaking = np.broadcast_to(speakers[trials.own][:, None], claimed.shape)
  found = by_speaker.weights(
    claimed.ravel(), speaking.ravel(), num_resamples=num_resamples
  )
  return found.reshape(-1, *trials.scores.shape)


def linked(trials: Trials) -> np.ndarray:
  """Returns whether clips are most like their own speaker, [num_clips]."""
  return trials.scores.argmax(1) == trials.own


def rejected(trials: Trials) -> np.ndarray:
  """Returns whether clips are rejected as their own speaker's, [num_clips]."""
  own = trials.scores[np.arange(len(trials.own)), trials.own]
  return ~verification.accepted(own, trials.threshold)
