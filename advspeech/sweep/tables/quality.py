"""How attacked clips sound."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech import input_pipeline, preemption, quality
from advspeech.sweep import results as results_lib
from advspeech.sweep.attacked import attacked_rows, shown_attacks
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  'seed': int,
  'source': str,
  'attack': str,
  'leaves': str,
  'mask': str,
  'epsilon_given': str,
  'id': str,
  'snr_db': float,
  'segmental_snr_db': float,
  'log_spectral_distance_db': float,
  'unmasked_share': float,
  'stoi': float,
  'pesq': float,
  'dnsmos': float,
}


def rows(
  results: results_lib.Results, num_clips: int
) -> Iterator[dict[str, Any]]:
  """Yields how attacked clips sound, a row a (attack, epsilon, clip).

  Signal-to-noise ratios, log-spectral distance, the share of the perturbation's
  cells that the clip does not mask, STOI, and PESQ and DNSMOS where they are
  installed, over recorded samples, of clips evenly spread over the split. By
  COLUMNS, '' where a measure is not defined.

  Args:
    results: Of the sweep.
    num_clips: How many clips; -1 for all.
  """
  sweep = results.sweep
  chosen = input_pipeline.spread_rows(len(sweep.split), num_clips)
  some = input_pipeline.subset(sweep.split, chosen)
  if not len(some):
    return
  clips, recorded = map(np.asarray, input_pipeline.decode(some.pcm, some.spans))
  for planned in shown_attacks(sweep):
    judged = results.judged[planned]
    source = sweep.members[planned.source]
    for e, epsilon in enumerate(planned.epsilons):
      preemption.check_alone()
      perturbed = attacked_rows(sweep, planned, chosen, epsilon)
      unmasked = np.asarray(quality.unmasked_share(clips, perturbed, recorded))
      scores = {name: [''] * len(some) for name in ('pesq', 'dnsmos')}
      for name in measures():
        values = getattr(quality, name)(clips, perturbed, recorded > 0).values
        scores[name] = ['' if value is None else value for value in values]
      for i, utterance_id in enumerate(some.ids):
        at = chosen[i]
        yield {
          'seed': source.seed,
          'source': source.name,
          'attack': planned.attack,
          'leaves': columns.leaves(sweep.attacks[planned.attack]),
          'mask': planned.mask,
          'epsilon_given': epsilon.text,
          'id': str(utterance_id),
          'snr_db': float(judged.snr_db[e, 0, at]),
          'segmental_snr_db': float(judged.segmental_snr_db[e, at]),
          'log_spectral_distance_db': float(
            judged.log_spectral_distance_db[e, at]
          ),
          'unmasked_share': float(unmasked[i]),
          **{name: values[i] for name, values in scores.items()},
        }


def measures() -> tuple[str, ...]:
  """Returns the measures of other people's code that are installed."""
  return (
    'stoi',
    *(('pesq',) if quality.has_pesq() else ()),
    *(('dnsmos',) if quality.has_dnsmos() else ()),
  )
