"""Rates of a sweep's verdicts and their differences, by speaker.

Test clips are a few voices, which err together: an interval that takes clips
for independent is of these voices. Beside it stands one by speaker, of voices
to come, where there are enough of them to tell how much they differ.
"""

from typing import Any

import numpy as np

from advspeech import statistics

# Behind the name of a rate: its intervals by clip and by speaker.
ENDS = ('low', 'high', 'speaker_low', 'speaker_high')


def num_speakers(speakers: np.ndarray) -> int | str:
  """Returns how many speak, '' if that is not known of every clip."""
  names = np.unique(speakers)
  return '' if '' in names else len(names)


def are_enough(speakers: np.ndarray) -> bool:
  """Returns whether speakers are known, and enough for an interval by speaker.

  Args:
    speakers: [num_clips] who speaks, '' where unknown.
  """
  number = num_speakers(speakers)
  return number != '' and number >= statistics.FEWEST_CLUSTERS


def by_speaker(
  name: str, wrong: np.ndarray, speakers: np.ndarray, confidence: float
) -> dict[str, Any]:
  """Returns a rate's interval by speaker, `<name>_low` and `<name>_high`.

  Both '' where not every clip's speaker is known, or there are fewer than
  `statistics.FEWEST_CLUSTERS` of them.

  Args:
    name: Of the columns.
    wrong: [num_clips] whether each clip is judged wrong.
    speakers: [num_clips] who speaks, '' where unknown.
    confidence: Of the interval.
  """
  ends = ('', '')
  if are_enough(speakers):
    ends = statistics.clustered_wilson_interval(wrong, speakers, confidence)
  return {f'{name}_low': ends[0], f'{name}_high': ends[1]}


def of_clips(
  name: str, wrong: np.ndarray, speakers: np.ndarray, confidence: float
) -> dict[str, Any]:
  """Returns a rate's intervals, Wilson's by clip and that by speaker.

  Args:
    name: Of the columns, behind it `_low`, `_high`, `_speaker_low` and
      `_speaker_high`.
    wrong: [num_clips] whether each clip is judged wrong.
    speakers: As in `by_speaker`.
    confidence: Of the intervals.
  """
  low, high = statistics.wilson_interval(
    int(wrong.sum()), len(wrong), confidence
  )
  return {
    f'{name}_low': low,
    f'{name}_high': high,
    **by_speaker(f'{name}_speaker', wrong, speakers, confidence),
  }


def difference(
  name: str,
  wrong_a: np.ndarray,
  wrong_b: np.ndarray,
  speakers: np.ndarray,
  confidence: float,
) -> dict[str, Any]:
  """Returns A's error rate less B's on the same clips, with its intervals.

  Args:
    name: Of the columns: the difference, and behind it `_low` and `_high`,
      `_speaker_low`, `_speaker_high` and `_speaker_p`, that it is none.
    wrong_a: [num_clips] whether each clip is judged wrong under A.
    wrong_b: [num_clips] the same clips under B.
    speakers: As in `by_speaker`.
    confidence: Of the intervals.
  """
  known = _difference(wrong_a, wrong_b, confidence)
  values = wrong_a.astype(float) - wrong_b
  return _columns(name, known, values, speakers, confidence)


def taken(
  without: tuple[np.ndarray, np.ndarray],
  behind: tuple[np.ndarray, np.ndarray],
  speakers: np.ndarray,
  confidence: float,
) -> dict[str, Any]:
  """Returns the columns `taken` and `over_half` of a transform.

  How much less the error rises behind it, and how much more than half as far.

  Args:
    without: Whether each clip is judged wrong, [num_clips], attacked and clean,
      where there is no transform.
    behind: The same behind it.
    speakers: As in `by_speaker`.
    confidence: Of the intervals.
  """
  # Attacked beside attacked, clean beside clean: few clips change sides there.
  attacked, clean = zip(without, behind, strict=True)
  return {
    **_less('taken', attacked, clean, 1.0, speakers, confidence),
    **_less('over_half', behind, without, 0.5, speakers, confidence),
  }


def _less(name, a, b, scale, speakers, confidence):
  """Returns a paired difference less another, scaled, with its intervals.

  Args:
    name: Of the columns.
    a: Two sets of verdicts, the second taken off the first.
    b: The same of what is taken off.
    scale: Of `b`.
    speakers: As in `by_speaker`.
    confidence: Of the intervals.
  """
  first = _difference(*a, confidence)
  second = tuple(scale * x for x in _difference(*b, confidence))
  known = (first[0] - second[0], *statistics.square_and_add(first, second))
  values, less = (x.astype(float) - y for x, y in (a, b))
  return _columns(name, known, values - scale * less, speakers, confidence)


def _difference(wrong_a, wrong_b, confidence):
  """Returns A's error rate less B's, and the ends of its interval."""
  ends = statistics.paired_difference_interval(wrong_a, wrong_b, confidence)
  return (float(wrong_a.mean() - wrong_b.mean()), *ends)


def _columns(name, known, values, speakers, confidence):
  """Returns the mean of values, one a clip, with both of its intervals.

  That by speaker holds the other: a bootstrap knows nothing of what no speaker
  showed.
  """
  outer, p = ('', ''), ''
  if are_enough(speakers):
    low, high = statistics.cluster_bootstrap_interval(
      values, speakers, confidence=confidence
    )
    outer = min(low, known[1]), max(high, known[2])
    p = statistics.cluster_bootstrap_p(values, speakers)
  return {
    name: known[0],
    f'{name}_low': known[1],
    f'{name}_high': known[2],
    f'{name}_speaker_low': outer[0],
    f'{name}_speaker_high': outer[1],
    f'{name}_speaker_p': p,
  }
