"""The SNR at which attacks reach an error, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import statistics, storage
from advspeech.studies.features.comparisons import is_wrong
from advspeech.studies.features.settings import Settings, Variant

EQUAL_ERROR_COLUMNS = (
  'task',
  'seed',
  'source',
  *Variant._fields,
  'target',
  'error_rate',
  'snr_db',
  'ci_low',
  'ci_high',
  'note',
)


def equal_error_rows(
  rows: Sequence[Mapping[str, Any]], settings: Settings
) -> list[dict[str, Any]]:
  """Returns the SNR at which attacks reach an error, by EQUAL_ERROR_COLUMNS.

  Straight lines between the SNRs compared, as far as every clip can have them;
  intervals from resampled clips. The louder an attack may be, the lower the
  SNR: what needs a lower one is the weaker attack.

  Args:
    rows: By CLIP_COLUMNS.
    settings: What was tried.
  """
  keys = ('task', 'seed', 'source', *Variant._fields, 'target')
  table = []
  compared = [row for row in rows if row['kind'] == 'snr']
  for key, group in storage.grouped(compared, keys).items():
    by_snr = storage.grouped(group, ('budget',))
    able = {
      snr: {row['id']: row for row in at}
      for (snr,), at in by_snr.items()
      if all(row['attainable'] for row in at)
    }
    levels = np.array(sorted(able, reverse=True))
    for rate in settings.error_rates:
      entry = {
        **dict(zip(keys, key, strict=True)),
        'error_rate': rate,
        'snr_db': float('nan'),
        'ci_low': float('nan'),
        'ci_high': float('nan'),
      }
      table.append(entry)
      if not len(levels):
        entry['note'] = 'no SNR compared is above the conversion loss'
        continue
      ids = list(able[levels[0]])
      wrong = np.array(
        [is_wrong([able[snr][i] for i in ids]) for snr in levels], float
      )

      def crossing(rows, axis=-1, wrong=wrong, levels=levels, rate=rate):
        return _crossing(wrong, levels, rate, rows)

      entry['snr_db'] = float(crossing(np.arange(len(ids))[None])[0])
      if wrong[0].mean() >= rate:
        entry['note'] = 'reached at the highest SNR already'
      elif wrong.mean(-1).max() < rate:
        entry['note'], entry['snr_db'] = 'not reached', float('nan')
      else:
        entry['note'] = ''
        entry['ci_low'], entry['ci_high'] = statistics.bootstrap_interval(
          np.arange(len(ids)),
          crossing,
          num_resamples=999,
          confidence=settings.confidence,
        )
  return table


def _crossing(wrong, levels, rate, rows):
  """Returns where mean errors cross a rate, [...], for clips [..., num].

  At the ends of `levels` where they do not.
  """
  rows = np.asarray(rows, int)
  errors = wrong[:, rows].mean(-1).reshape(len(levels), -1)
  errors = np.maximum.accumulate(errors, 0)  # a louder attack may be weaker
  found = [np.interp(rate, e, levels) for e in errors.T]
  return np.array(found).reshape(rows.shape[:-1])
