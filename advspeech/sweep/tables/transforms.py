"""What each transform takes off an attack."""

from collections.abc import Iterator
from typing import Any

from advspeech.sweep import rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  **columns.EPSILON,
  'num_clips': int,
  **columns.of_difference('rise_without'),
  **columns.of_difference('rise'),
  **columns.of_difference('taken'),
  **columns.of_difference('over_half'),
}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields what each transform takes off an attack, by COLUMNS.

  `rise` is how far the attack lifts the error rate behind the transform, over
  clean clips behind it, and `rise_without` the same where there is none;
  `taken` is the second less the first, and `over_half` the first less half of
  the second: below zero, the transform takes more than half of the attack. All
  on the same clips, with intervals: Newcombe's for the rises, and of two such
  differences squared and added for the others; and by speaker.
  """
  sweep, confidence = results.sweep, results.confidence
  for planned in (planned for planned in sweep.plan if not planned.is_plain):
    plainly = results.plain[planned.source, planned.attack, planned.mask]
    sizes = results.sizes(planned).max(-1).tolist()
    if 0 not in sizes:  # nothing to measure a rise from
      continue
    clean = sizes.index(0)
    judged, bare = results.judged[planned], results.judged[plainly]
    for t, target in enumerate(sweep.members):
      known = target.labels >= 0
      if not known.any():
        continue
      speakers = sweep.split.speakers[known]
      wrong, bare_wrong = (
        j.predictions[:, 0, t][:, known] != target.labels[known]
        for j in (judged, bare)
      )
      for e, epsilon in enumerate(planned.epsilons):
        if not sizes[e]:
          continue
        behind = wrong[e], wrong[clean]
        without = bare_wrong[e], bare_wrong[clean]
        yield {
          **columns.of_attack(results, planned, target),
          **columns.of_epsilon(epsilon, *results.levels),
          'num_clips': int(known.sum()),
          **rates.difference('rise_without', *without, speakers, confidence),
          **rates.difference('rise', *behind, speakers, confidence),
          **rates.taken(without, behind, speakers, confidence),
        }
