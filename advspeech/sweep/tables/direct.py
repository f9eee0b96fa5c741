"""Attacks on a model itself beside those that come from another."""

from collections.abc import Iterator
from typing import Any

from advspeech import statistics
from advspeech.sweep import rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  **columns.EPSILON,
  'num_clips': int,
  'num_speakers': int,
  'direct_error_rate': float,
  'error_rate': float,
  **columns.of_difference('more'),
  'mcnemar_p': float,
}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields attacks on a model itself beside those that come from another.

  A row a (source, another model of its seed that was attacked too, epsilon), by
  COLUMNS: `error_rate` of the target under the source's examples,
  `direct_error_rate` under its own, at the same epsilon and on the same clips,
  and `more`, the second less the first, with intervals and McNemar's p.
  """
  sweep, confidence = results.sweep, results.confidence
  plain = results.plain
  for (source, attack, mask), planned in plain.items():
    for t, target in enumerate(sweep.members):
      own = plain.get((t, attack, mask))
      known = target.labels >= 0
      is_pair = t != source and target.seed == sweep.members[source].seed
      if not (own and is_pair and known.any()):
        continue
      speakers = sweep.split.speakers[known]
      direct, transferred = (
        results.judged[c].predictions[:, 0, t][:, known] != target.labels[known]
        for c in (own, planned)
      )
      for e, epsilon in enumerate(planned.epsilons):
        if epsilon not in own.epsilons:
          continue
        pair = direct[own.epsilons.index(epsilon)], transferred[e]
        yield {
          **columns.of_attack(results, planned, target),
          **columns.of_epsilon(epsilon, *results.levels),
          'num_clips': int(known.sum()),
          'num_speakers': rates.num_speakers(speakers),
          'direct_error_rate': float(pair[0].mean()),
          'error_rate': float(pair[1].mean()),
          **rates.difference('more', *pair, speakers, confidence),
          'mcnemar_p': statistics.mcnemar(*pair).p_value,
        }
