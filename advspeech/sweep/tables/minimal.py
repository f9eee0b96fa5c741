"""The smallest perturbation of each clip (paper, eq. 1), on the grid."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from advspeech import attacks
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  'success': str,
  'id': str,
  'epsilon': float,
  'epsilon_unit': str,
  'num_islands': int,
  'monotone': int,
  'bisected_epsilon': float,
}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (planned attack, target, clip, meaning), by COLUMNS.

  Success is that the answer is not the label ('label'), or not the model's own
  clean answer ('own', eq. 1 to the letter). Of an attack on features it is the
  smallest change of these, and 0 where rebuilding the clip is enough.
  """
  sweep = results.sweep
  for planned in results.plain.values():
    judged, radii = results.judged[planned], results.sizes(planned)
    order = np.argsort(radii.mean(-1), kind='stable')
    for t, target in enumerate(sweep.members):
      answers = judged.predictions[order, 0, t]
      known = target.labels >= 0
      for success, broken, rows in (
        ('label', answers != target.labels, np.flatnonzero(known)),
        ('own', answers != judged.clean[t], np.arange(len(known))),
      ):
        found = jax.device_get(
          attacks.minimal_perturbation(broken[:, rows], radii[order][:, rows])
        )
        for i, row in enumerate(rows):
          yield {
            **columns.of_attack(results, planned, target),
            'success': success,
            'id': str(sweep.split.ids[row]),
            'epsilon': float(found.epsilon[i]),
            'epsilon_unit': columns.unit(planned.epsilons[0]),
            'num_islands': int(found.num_islands[i]),
            'monotone': int(found.monotone[i]),
            'bisected_epsilon': float(found.bisected[i]),
          }
