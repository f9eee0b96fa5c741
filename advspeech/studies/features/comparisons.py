"""Eq. 6, and errors at equal size, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import class_errors, statistics, storage
from advspeech.studies.features.clips import POINT
from advspeech.studies.features.measures import MEASURES, SCORES
from advspeech.studies.features.settings import WAVEFORM
from advspeech.sweep import rates

BUDGET_COLUMNS = (
  *POINT,
  'leaves',
  'target',
  'num_clips',
  'num_attainable',
  'num_errors',
  'error_rate',
  'ci_low',
  'ci_high',
  *class_errors.COLUMNS,
  'flip_rate',
  'error_rate_int16',
  'clean_error',
  'unperturbed_error',
  'unperturbed_ci_low',
  'unperturbed_ci_high',
  'num_speakers',
  'conversion_larger',
  *(f'conversion_larger_{end}' for end in rates.ENDS),
  'mean_epsilon',
  *(f'median_{name}' for name in (*MEASURES, *SCORES)),
  'num_scored',
)
EQUAL_COLUMNS = (
  *POINT,
  'target',
  'num_clips',
  'num_attainable',
  'error_rate',
  'ci_low',
  'ci_high',
  *class_errors.COLUMNS,
  'end_to_end_error_rate',
  'end_to_end_ci_low',
  'end_to_end_ci_high',
  *(f'end_to_end_{name}' for name in class_errors.COLUMNS),
  'difference',
  'difference_ci_low',
  'difference_ci_high',
  'mcnemar_p',
)


def is_wrong(
  rows: Sequence[Mapping[str, Any]], key: str = 'prediction'
) -> np.ndarray:
  """Returns whether each clip is judged wrong, [num_rows] bool."""
  return np.array([row[key] != row['label'] for row in rows])


def _by_class(rows, classes, key='prediction'):
  """Returns the columns of errors by class, '' where there is no clip."""
  if not rows:
    return dict.fromkeys(class_errors.COLUMNS, '')
  answers, labels = (
    np.array([classes.index(row[name]) for row in rows])
    for name in (key, 'label')
  )
  return class_errors.columns(answers, labels, classes)


def _classes(rows):
  """Returns the classes of a table, as far as it has them."""
  answers = ('label', 'prediction', 'unperturbed_prediction')
  return sorted({row[key] for row in rows for key in answers})


def _rate(wrong, confidence):
  """Returns an error rate with its interval, nan where there is no clip."""
  if not len(wrong):
    return (float('nan'),) * 3
  interval = statistics.wilson_interval(
    int(wrong.sum()), len(wrong), confidence
  )
  return float(wrong.mean()), *interval


def _conversion(rows, confidence):
  """Returns in how many clips conversion is the larger part of eq. 6."""
  name = 'conversion_larger'
  if not rows:
    ends = dict.fromkeys((f'{name}_{end}' for end in rates.ENDS), '')
    return {'num_speakers': '', name: float('nan'), **ends}
  larger = np.array([r['conversion_l2'] > r['adversarial_l2'] for r in rows])
  speakers = np.array([row['speaker'] for row in rows])
  return {
    'num_speakers': rates.num_speakers(speakers),
    name: float(larger.mean()),
    **rates.of_clips(name, larger, speakers, confidence),
  }


def budget_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns eq. 6 and the errors at every budget, by BUDGET_COLUMNS.

  Over the clips that can have the budget, `num_attainable` of `num_clips`; the
  errors of clean and of rebuilt, unperturbed clips are over all.

  Args:
    rows: By CLIP_COLUMNS.
    confidence: Of intervals.
  """
  keys = (*POINT, 'target')
  table, classes = [], _classes(rows)
  for key, all_rows in storage.grouped(rows, keys).items():
    able = [row for row in all_rows if row['attainable']]
    rate, low, high = _rate(is_wrong(able), confidence)
    alone = _rate(is_wrong(all_rows, 'unperturbed_prediction'), confidence)

    def mean(values):
      return float(np.mean(values)) if len(values) else float('nan')

    table.append(
      {
        **dict(zip(keys, key, strict=True)),
        'leaves': all_rows[0]['leaves'],
        'num_clips': len(all_rows),
        'num_attainable': len(able),
        'num_errors': int(is_wrong(able).sum()) if able else 0,
        'error_rate': rate,
        'ci_low': low,
        'ci_high': high,
        **_by_class(able, classes),
        'flip_rate': mean(
          [row['prediction'] != row['clean_prediction'] for row in able]
        ),
        'error_rate_int16': mean(is_wrong(able, 'prediction_int16')),
        'clean_error': mean(is_wrong(all_rows, 'clean_prediction')),
        'unperturbed_error': alone[0],
        'unperturbed_ci_low': alone[1],
        'unperturbed_ci_high': alone[2],
        **_conversion(able, confidence),
        'mean_epsilon': mean([row['epsilon'] for row in able]),
        **{
          f'median_{name}': float(np.median([row[name] for row in able]))
          if able
          else float('nan')
          for name in MEASURES
        },
        **{
          f'median_{name}': float(
            np.median(
              [row[name] for row in able if row[name] != ''] or [np.nan]
            )
          )
          for name in SCORES
        },
        'num_scored': sum(row['overall_stoi'] != '' for row in able),
      }
    )
  return table


def equal_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns feature-level beside end-to-end errors, by EQUAL_COLUMNS.

  Both on the clips that can have the size with both, by the same method. Kind
  'price' sets the rebuilt, unperturbed clips against end-to-end examples of the
  same SNR, each clip's own.

  Args:
    rows: By CLIP_COLUMNS.
    confidence: Of intervals.
  """
  keys = (*POINT, 'target')
  grouped = storage.grouped(rows, keys)
  groups = {
    key: {row['id']: row for row in group if row['attainable']}
    for key, group in grouped.items()
  }
  table, classes = [], _classes(rows)
  for key in groups:
    point = dict(zip(keys, key, strict=True))
    name, kind = point['representation'], point['kind']
    if kind == 'price':
      priced = {'representation': point['priced']}
      ours = _same(groups, point, **priced, kind='epsilon', priced='')
      theirs, point = groups[key], {**point, **priced}
      column = 'unperturbed_prediction'
    elif name != WAVEFORM and kind in ('snr', 'max_norm'):
      ours, column = groups[key], 'prediction'
      theirs = _same(groups, point, representation=WAVEFORM, through='waveform')
    else:
      continue
    both = [i for i in ours if i in theirs]
    ours, theirs = ([found[i] for i in both] for found in (ours, theirs))
    a, b = is_wrong(ours, column), is_wrong(theirs)
    of_theirs = _by_class(theirs, classes)
    (rate, low, high), (rate_b, low_b, high_b) = (
      _rate(x, confidence) for x in (a, b)
    )
    nan = float('nan')
    difference = (
      statistics.paired_difference_interval(a, b, confidence)
      if both
      else (nan, nan)
    )
    table.append(
      {
        **point,
        'num_clips': len(grouped[key]),
        'num_attainable': len(both),
        'error_rate': rate,
        'ci_low': low,
        'ci_high': high,
        **_by_class(ours, classes, column),
        'end_to_end_error_rate': rate_b,
        'end_to_end_ci_low': low_b,
        'end_to_end_ci_high': high_b,
        **{f'end_to_end_{key}': x for key, x in of_theirs.items()},
        'difference': rate - rate_b,
        'difference_ci_low': difference[0],
        'difference_ci_high': difference[1],
        'mcnemar_p': statistics.mcnemar(a, b).p_value if both else nan,
      }
    )
  return table


def _same(groups, point, **changed):
  """Returns the clips of a like point, by the same method where there is one.

  Of a representation that was attacked through its features alone, those.
  """
  wanted = {**point, **changed}
  names = (*POINT, 'target')
  for key, group in groups.items():
    found = dict(zip(names, key, strict=True))
    ignored = {'through'} if 'through' not in changed else set()
    if changed.get('kind') == 'epsilon':
      ignored |= {'method'}
    if all(found[n] == wanted[n] for n in names if n not in ignored):
      return group
  return {}
