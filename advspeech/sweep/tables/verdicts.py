"""Which clips each attack breaks, in a line: to pair runs on the same clips."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns, points

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  'norm': str,
  'epsilon_given': str,
  'epsilon': float,
  'mean_snr_db': float,
  'wrong': str,
}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (planned attack, target of its seed, epsilon), by COLUMNS.

  `wrong` has a sign a clip, in the order of `clips.csv`: 1 where it is judged
  wrong, else 0. Of attacks on the waveform that are not targeted, and targets
  that have a label for every clip.
  """
  sweep = results.sweep
  for planned, judged in results.judged.items():
    source, attack = (
      sweep.members[planned.source],
      sweep.attacks[planned.attack],
    )
    if planned.on_features or attack.targeted:
      continue
    for t, target in enumerate(sweep.members):
      if target.seed != source.seed or (target.labels < 0).any():
        continue
      for e, epsilon in enumerate(planned.epsilons):
        wrong = judged.predictions[e, 0, t] != target.labels
        yield {
          **columns.of_attack(results, planned, target),
          'norm': attack.norm,
          'epsilon_given': epsilon.text,
          'epsilon': columns.of_epsilon(epsilon, *results.levels)['epsilon'],
          'mean_snr_db': points.mean_snr(judged.snr_db[e, 0])['mean_snr_db'],
          'wrong': as_text(wrong),
        }


def as_text(wrong: np.ndarray) -> str:
  """Returns verdicts on clips as a sign each."""
  return ''.join('01'[int(x)] for x in wrong)


def from_text(text: str) -> np.ndarray:
  """Returns what `as_text` was given, [num_clips] bool."""
  return np.array([sign == '1' for sign in text])
