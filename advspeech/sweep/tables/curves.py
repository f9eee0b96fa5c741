"""The shape of every curve of error against epsilon."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech import statistics
from advspeech.statistics import trainings as trained
from advspeech.sweep import rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns, trainings

# Of a rise in error: where it begins and is done, and how near these lie to
# each other, as epsilons, where it is a jump.
BEGUN, DONE, JUMP = 0.1, 0.9, 0.5
_SHAPE: columns.Columns = {
  'num_trainings': int,
  'num_clips': int,
  'num_speakers': int,
  'num_epsilons': int,
  'rise_p': float,
  'fall_p': float,
  'fall_from': float,
  'fall_to': float,
  'off_line_p': float,
  'off_line_epsilon': float,
  'sudden': float,
  'gradual': float,
}
COLUMNS: columns.Columns = {**columns.ATTACK, **_SHAPE}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (source, attack, mask, target), by COLUMNS; see `shape`.

  Without transforms, of what has a label, where epsilons are of samples and
  there are two or more. Of `trainings.FEWEST_TRAININGS` seeds or more there is
  a row on all of them too, whose `seed` and `target_seed` are ''.
  """
  members = results.sweep.members
  for planned in results.plain.values():
    for t, target in enumerate(members):
      if (target.labels >= 0).any():
        alone = trainings.Family([planned], [t])
        yield from _rows(results, alone, planned, target)
  for family in trainings.families(results):
    planned, target = family.attacks[0], members[family.targets[0]]
    if planned.transform or len(family.attacks) < trained.FEWEST_TRAININGS:
      continue
    for row in _rows(results, family, planned, target):
      yield {**row, 'seed': '', 'target_seed': ''}


def _rows(results, family, planned, target):
  """Yields the row of a curve, if it has one."""
  on_curve = planned.on_curve
  epsilons = np.array(
    [
      columns.of_epsilon(planned.epsilons[e], *results.levels)['epsilon']
      for e in on_curve
    ]
  )
  if planned.on_features or len(epsilons) < 2:
    return
  order = np.argsort(epsilons)
  wrong = np.stack(
    [trainings.wrong_in(results, family, on_curve[i]) for i in order], axis=1
  )
  speakers = results.sweep.split.speakers[target.labels >= 0]
  yield {
    **columns.of_attack(results, planned, target),
    **shape(wrong, epsilons[order], speakers),
  }


def shape(
  wrong: np.ndarray, epsilons: np.ndarray, speakers: np.ndarray
) -> dict[str, Any]:
  """Returns what the points of a curve say together, by speaker if they can.

  `rise_p` is the smallest p at which the error is above that of the first
  epsilon anywhere, `fall_p` that at which it is below that of a smaller
  epsilon, from `fall_from` to `fall_to`, and `off_line_p` that at which it is
  off a straight line, at `off_line_epsilon`: all corrected for what they are
  the smallest of (Bonferroni). Rise and fall of one training are tested by
  McNemar's test and, of enough speakers, their bootstrap: the larger p of the
  two; of several by `statistics.trainings.mean_p`. `sudden` and `gradual` are
  the shares of resamples in which the error rises in a jump or does not.

  Args:
    wrong: [num_trainings, num_epsilons, num_clips] whether each clip is judged
      wrong.
    epsilons: [num_epsilons] ascending.
    speakers: [num_clips] who speaks, '' where unknown.
  """
  num_trainings, num_epsilons, num_clips = wrong.shape
  enough = rates.are_enough(speakers)
  clusters = speakers if enough else np.arange(num_clips)

  def p_of_more(more, less):
    """Returns the p at which the first errs more often than the second."""
    difference = wrong[:, more].astype(float) - wrong[:, less]
    if num_trainings > 1:
      return trained.mean_p(difference, clusters)
    p = statistics.mcnemar(wrong[0, more], wrong[0, less]).p_value
    if enough:
      p = max(p, statistics.cluster_bootstrap_p(difference[0], speakers))
    return p

  rate = wrong.mean((0, 2))
  rises = [p_of_more(i, 0) for i in range(1, num_epsilons) if rate[i] > rate[0]]
  tops = [int(np.argmax(rate[:i])) for i in range(1, num_epsilons)]
  falls = [
    (p_of_more(top, i), top, i)
    for i, top in enumerate(tops, 1)
    if rate[i] < rate[top]
  ]
  fall_p, top, low = min(falls, default=(1.0, 0, 0))
  off_line = statistics.off_line_p(wrong, epsilons, clusters) * num_epsilons
  turn = statistics.turn(
    wrong, epsilons, clusters, begun=BEGUN, done=DONE, ratio=JUMP
  )
  num_pairs = num_epsilons * (num_epsilons - 1) // 2
  return {
    'num_trainings': num_trainings,
    'num_clips': num_clips,
    'num_speakers': rates.num_speakers(speakers),
    'num_epsilons': num_epsilons,
    'rise_p': min(1.0, min(rises, default=1.0) * (num_epsilons - 1)),
    'fall_p': min(1.0, fall_p * num_pairs),
    'fall_from': float(epsilons[top]) if falls else '',
    'fall_to': float(epsilons[low]) if falls else '',
    'off_line_p': float(min(1.0, off_line.min())),
    'off_line_epsilon': float(epsilons[off_line.argmin()]),
    'sudden': turn.sudden,
    'gradual': turn.gradual,
  }
