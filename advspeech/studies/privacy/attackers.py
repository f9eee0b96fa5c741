"""Those who want to know who speaks, by what they know of the protection."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from advspeech.statistics import trials as by_speaker
from advspeech.statistics import verification
from advspeech.studies.privacy import backend
from advspeech.studies.privacy import design as design_lib
from advspeech.studies.privacy.parts import Results
from advspeech.studies.verification import scoring

IGNORANT, LAZY, SEMI = 'ignorant', 'lazy_informed', 'semi_informed'
ATTACKERS = (IGNORANT, LAZY, SEMI)


class Trials(NamedTuple):
  """Every tested clip against every speaker judged.

  Attributes:
    scores: [num_clips, num_speakers].
    own: [num_clips] which speaker it is.
    threshold: Fixed on clean clips of other speakers; NaN where it is not known
      for these scores.
    shrinkage: Of the back-end that was refitted; None without one.
    enrols: `backend.CLEAN` or `backend.PROTECTED` clips.
  """

  scores: np.ndarray
  own: np.ndarray
  threshold: float
  shrinkage: float | None
  enrols: str


class Listener:
  """An embedder, with what it says of clean clips."""

  def __init__(self, results: Results, number: int):
    design, embedded = results.design, results.embedded[number]
    self._design, self._embedded = design, embedded
    self._number = str(number)
    self._tested = results.of(design_lib.TESTED)
    self._enrolled = results.of(design_lib.ENROLLED)
    self._fitted = results.of(design_lib.FITTED)
    # Clips enrolled lie side by side, as they were chosen.
    place = {c.row: i for i, c in enumerate(design.enrolled())}
    self._place = place
    self.own = np.array([design.judged.index(c.speaker) for c in design.tested])
    self.threshold = self._clean_threshold()

  def trials(
    self, heard: Mapping[str, np.ndarray], point: tuple[int, int], who: str
  ) -> Trials:
    """Returns the trials of one attacker.

    Args:
      heard: Of a protection; see `parts.Results`.
      point: Numbers of the epsilon and the weight.
      who: One of `ATTACKERS`.
    """
    vectors = scoring.unit(
      np.asarray(heard['embeddings'][self._number], float)[:, *point]
    )
    tested, fitted = vectors[self._tested], vectors[self._fitted]
    protected = vectors[self._enrolled]

    def enrolled_of(rows):
      return protected[[self._place[row] for row in rows]]

    clean_of = self._embedded.of
    if who == IGNORANT:
      return self._against(tested, clean_of, backend.CLEAN)
    if who == LAZY:
      return self._against(tested, enrolled_of, backend.PROTECTED)
    clips = self._design.fitted
    fit, enrols = backend.refit(
      fitted, clean_of([c.row for c in clips]), [c.speaker for c in clips]
    )
    chosen_of = clean_of if enrols == backend.CLEAN else enrolled_of
    found = self._against(
      fit(tested), lambda rows: fit(chosen_of(rows)), enrols
    )
    return found._replace(threshold=np.nan, shrinkage=fit.shrinkage)

  def _against(
    self,
    tested: np.ndarray,
    enrolled_of: Callable[[tuple[int, ...]], np.ndarray],
    enrols: str,
  ) -> Trials:
    scores = _scores(
      self._design,
      self._design.tested,
      self._design.judged,
      tested,
      enrolled_of,
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
