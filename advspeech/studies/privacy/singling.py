"""Singling out: a rule of the attacker's that is true of one clip in a crowd.

After Vauquier et al. 2025, "Legally validated evaluation framework for voice
anonymization", on predicate singling out (Cohen & Nissim 2020). The rule is
"its cosine to this speaker's enrolment is above a threshold". The threshold is
set so that the rule is true of 1 / N of other protected clips of the same
speakers. It isolates if it is true of exactly one of N protected clips, one a
speaker, whoever's that is.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Crowds drawn, and of each speaker the clips at most that set a threshold.
NUM_CROWDS = 200
_MOST_SETTING = 9
# What a rule that is true of 1 / N of all clips isolates by chance alone, many
# clips setting its threshold and N large.
LIMIT = math.exp(-1)


class Crowds(NamedTuple):
  """Which clips rules are tried on, and which set their thresholds.

  Attributes:
    speakers: [num_speakers] numbers of those with two tested clips or more,
      whose clips are in every crowd, and whose enrolments rules go by.
    tried: [num_crowds, num_speakers] clips, one a speaker.
    setting: [num_crowds, num_setting] other clips of theirs.
  """

  speakers: np.ndarray
  tried: np.ndarray
  setting: np.ndarray

  @property
  def num_true(self) -> int:
    """Of the clips that set a threshold, how many a rule is true of."""
    return max(1, round(self.setting.shape[1] / len(self.speakers)))


def draw(own: np.ndarray, num_crowds: int = NUM_CROWDS) -> Crowds | None:
  """Returns crowds, always the same ones; None with too few speakers.

  Args:
    own: [num_clips] which speaker it is.
    num_crowds: How many.
  """
  rng = np.random.default_rng(0)
  speakers, counts = np.unique(own, return_counts=True)
  speakers = speakers[counts > 1]
  if len(speakers) < 2:
    return None
  tried, setting = [], []
  for _ in range(num_crowds):
    orders = [rng.permutation(np.flatnonzero(own == s)) for s in speakers]
    tried.append([order[0] for order in orders])
    setting.append(np.concatenate([o[1 : 1 + _MOST_SETTING] for o in orders]))
  return Crowds(speakers, np.array(tried), np.array(setting))


def isolated(scores: np.ndarray, crowds: Crowds) -> np.ndarray:
  """Returns in what share of crowds each speaker's rule isolates a clip.

  Args:
    scores: [num_clips, num_speakers] cosines of clips and enrolments.
    crowds: As drawn.

  Returns:
    [num_speakers] of the crowds' speakers.
  """
  found = [
    (tried > _thresholds(setting, crowds.num_true)).sum(0) == 1
    for tried, setting in _scores(scores, crowds)
  ]
  return np.mean(found, axis=0)


def _scores(scores, crowds) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields the scores of clips tried, and of those that set thresholds."""
  of_rules = scores[:, crowds.speakers]
  for tried, setting in zip(crowds.tried, crowds.setting, strict=True):
    yield of_rules[tried], of_rules[setting]


def _thresholds(scores, num_true):
  """Returns the middle between the last score above and the next, a rule."""
  descending = -np.sort(-scores, axis=0)
  return (descending[num_true - 1] + descending[num_true]) / 2


def chance(crowds: Crowds) -> float:
  """Returns how often a rule isolates whose scores say nothing of a clip.

  Of all orders of the clips tried and of those that set the threshold. Few of
  these put it where the rule is true of more or fewer than 1 / N of all clips,
  so that it is below `LIMIT`, to which it rises with their number. Clips tried
  that come between the two scores that the threshold is the middle of are taken
  to be on either side of it as likely.
  """
  num_tried, num_setting = crowds.tried.shape[1], crowds.setting.shape[1]
  num_true = crowds.num_true

  orders = math.comb(num_tried + num_setting, num_tried)

  def share(above, between):
    below = num_tried - above - between
    found = math.comb(above + num_true - 1, above) * math.comb(
      below + num_setting - num_true - 1, below
    )
    return math.ldexp(found / orders, -between)

  # The one that is isolated is above both scores, or one of those between.
  first = sum(share(1, between) for between in range(num_tried))
  among = sum(b * share(0, b) for b in range(1, num_tried + 1))
  return first + among
