"""The shape of every curve of error against epsilon."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech import statistics
from advspeech.sweep import rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns

# Of a rise in error: where it begins and is done, and how near these lie to
# each other, as epsilons, where it is a jump.
BEGUN, DONE, JUMP = 0.1, 0.9, 0.5
_SHAPE: columns.Columns = {
  'num_clips': int,
  'num_speakers': int,
  'num_epsilons': int,
  'rise_p': float,
  'off_line_p': float,
  'off_line_epsilon': float,
  'sudden': float,
  'gradual': float,
}
COLUMNS: columns.Columns = {**columns.ATTACK, **_SHAPE}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (source, attack, mask, target), by COLUMNS; see `shape`.

  Without transforms, of what has a label, where epsilons are of samples and
  there are two or more.
  """
  sweep = results.sweep
  for planned in results.plain.values():
    epsilons = np.array(
      [
        columns.of_epsilon(e, results.levels)['epsilon']
        for e in planned.epsilons
      ]
    )
    for t, target in enumerate(sweep.members):
      known = target.labels >= 0
      if planned.on_features or len(epsilons) < 2 or not known.any():
        continue
      wrong = (
        results.judged[planned].predictions[:, 0, t][:, known]
        != target.labels[known]
      )
      order = np.argsort(epsilons)
      yield {
        **columns.of_attack(results, planned, target),
        **shape(wrong[order], epsilons[order], sweep.split.speakers[known]),
      }


def shape(
  wrong: np.ndarray, epsilons: np.ndarray, speakers: np.ndarray
) -> dict[str, Any]:
  """Returns what the points of a curve say together, by speaker if they can.

  `rise_p` is the smallest p at which the error is above that of the first
  epsilon anywhere (McNemar's test and, of enough speakers, their bootstrap: the
  larger of the two), `off_line_p` the smallest at which it is off a straight
  line, at `off_line_epsilon`: both corrected for all points (Bonferroni).
  `sudden` and `gradual` are the shares of resamples in which it rises in a jump
  or does not.

  Args:
    wrong: [num_epsilons, num_clips] whether each clip is judged wrong.
    epsilons: [num_epsilons] ascending.
    speakers: [num_clips] who speaks, '' where unknown.
  """
  num_epsilons, num_clips = wrong.shape
  enough = rates.are_enough(speakers)
  clusters = speakers if enough else np.arange(num_clips)
  rise_p = [1.0]
  for attacked in wrong[1:]:
    p = [statistics.mcnemar(attacked, wrong[0]).p_value]
    more = attacked.astype(float) - wrong[0]
    if enough:
      p.append(statistics.cluster_bootstrap_p(more, speakers))
    if more.mean() > 0:
      rise_p.append(max(p) * (num_epsilons - 1))
  off_line = statistics.off_line_p(wrong, epsilons, clusters) * num_epsilons
  turn = statistics.turn(
    wrong, epsilons, clusters, begun=BEGUN, done=DONE, ratio=JUMP
  )
  return {
    'num_clips': num_clips,
    'num_speakers': rates.num_speakers(speakers),
    'num_epsilons': num_epsilons,
    'rise_p': min(rise_p),
    'off_line_p': float(min(1.0, off_line.min())),
    'off_line_epsilon': float(epsilons[off_line.argmin()]),
    'sudden': turn.sudden,
    'gradual': turn.gradual,
  }
