"""The tables: what is reached after so many queries, and clip by clip."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech import class_errors, statistics, storage, sweep
from advspeech.studies.queries import asking, parts
from advspeech.sweep import rates

Row = dict[str, Any]
LAST = 'errors.csv'
CLIP_COLUMNS = {
  'model': str,
  'attack': str,
  'leaves': str,
  'id': str,
  'speaker': str,
  'label': str,
  'num_asked': int,
  'reached': int,
  'margin': float,
  'snr_db': float,
}
DISTANCE_COLUMNS = {
  'model': str,
  'attack': str,
  'leaves': str,
  'norm': str,
  'queries': int,
  'num_clips': int,
  'num_wrong': int,
  'num_reached': int,
  'num_never': int,
  'median_snr_db': float,
  'median_low': float,
  'median_high': float,
}
COLUMNS = {
  'model': str,
  'attack': str,
  'leaves': str,
  **sweep.EPSILON_COLUMNS,
  'queries': int,
  'num_clips': int,
  'num_speakers': int,
  'error_rate': float,
  **{f'ci_{end}': float for end in rates.ENDS},
  'balanced_error': float,
  'errors_by_class': str,
  'median_margin': float,
  'excess': float,
  **{f'excess_{end}': float for end in (*rates.ENDS, 'speaker_p')},
}


def write(folder: str, results: parts.Results, confidence: float) -> None:
  """Writes the tables, `LAST` last.

  Args:
    folder: Of the study.
    results: All that was found.
    confidence: Of intervals.
  """
  for name, columns, rows in (
    ('clips.csv', CLIP_COLUMNS, clip_rows(results)),
    ('distances.csv', DISTANCE_COLUMNS, distance_rows(results, confidence)),
    (LAST, COLUMNS, error_rows(results, confidence)),
  ):
    storage.write_table(os.path.join(folder, name), tuple(columns), list(rows))


def error_rows(results: parts.Results, confidence: float) -> Iterator[Row]:
  """Yields errors after so many queries, by COLUMNS.

  A clip that is judged wrong as it is counts from the first row on, that of no
  query; any other once the best of its queries is judged wrong. `excess` is
  over as many queries spent on random signs.

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  speakers = results.split.speakers
  for (model, attack), found in results.scores.items():
    noise = _wrong(results.scores[model, asking.NOISE])
    wrong = _wrong(found)
    for i, queries in enumerate((0, *results.counts)):
      more = {}
      if attack != asking.NOISE and queries:
        more = rates.difference(
          'excess', wrong[i], noise[i], speakers, confidence
        )
      margins = found.best[:, i - 1] if queries else found.clean
      yield {
        **dict.fromkeys(COLUMNS, ''),
        'model': model,
        'attack': attack,
        'leaves': 'label',
        **sweep.epsilon_columns(results.epsilon, results.signal_rms),
        'queries': queries,
        'num_clips': len(results.split),
        'num_speakers': rates.num_speakers(speakers),
        'error_rate': float(wrong[i].mean()),
        **rates.of_clips('ci', wrong[i], speakers, confidence),
        **class_errors.of_wrong(
          wrong[i], results.split.labels, results.classes
        ),
        'median_margin': float(np.median(margins)),
        **more,
      }


def _wrong(found):
  """Returns who is judged wrong after no query and after each count."""
  margins = np.concatenate([found.clean[None], found.best.T])
  return np.maximum.accumulate(margins > 0)


def distance_rows(results: parts.Results, confidence: float) -> Iterator[Row]:
  """Yields how near the clips judged wrong are, by DISTANCE_COLUMNS.

  The median is over clips that are judged right as they are: those that
  nothing was found for count as infinitely far, -inf dB.

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  for model, found in results.distances.items():
    snr_db = _snr_db(results, found)
    wrong = snr_db[:, -1] == np.inf
    for i, queries in enumerate(results.counts):
      right = snr_db[~wrong, i]
      median, ends = '', ('', '')
      if len(right):
        median = float(np.sort(right)[(len(right) - 1) // 2])
        ends = statistics.median_interval(right, confidence)
      yield {
        'model': model,
        'attack': asking.NEAREST,
        'leaves': 'label',
        'norm': results.norm,
        'queries': queries,
        'num_clips': len(wrong),
        'num_wrong': int(wrong.sum()),
        'num_reached': int((right > -np.inf).sum()),
        'num_never': int((right == -np.inf).sum()),
        'median_snr_db': median,
        'median_low': ends[0],
        'median_high': ends[1],
      }


def clip_rows(results: parts.Results) -> Iterator[Row]:
  """Yields what each attack made of each clip, by CLIP_COLUMNS."""
  split = results.split
  everything = [
    (model, attack, found) for (model, attack), found in results.scores.items()
  ] + [
    (model, asking.NEAREST, found) for model, found in results.distances.items()
  ]
  for model, attack, found in everything:
    is_nearest = attack == asking.NEAREST
    snr_db = _snr_db(results, found)[:, -1] if is_nearest else None
    for i in range(len(split)):
      yield {
        'model': model,
        'attack': attack,
        'leaves': 'label',
        'id': str(split.ids[i]),
        'speaker': str(split.speakers[i]),
        'label': results.classes[split.labels[i]],
        'num_asked': int(found.num_asked[i]),
        'reached': '' if is_nearest else int(found.reached[i]),
        'margin': '' if is_nearest else float(found.best[i, -1]),
        'snr_db': float(snr_db[i]) if is_nearest else '',
      }


def _snr_db(results, found):
  """Returns energy of recordings over that of the nearest change, in dB.

  [num_clips, num_counts]; inf for clips that are judged wrong as they are,
  which takes one query to see, -inf where nothing is found yet.
  """
  spans = results.split.spans
  signal = results.signal_rms * np.sqrt(spans[:, 1] - spans[:, 0])
  with np.errstate(divide='ignore', invalid='ignore'):  # 0 / 0 is inf below
    ratio = np.float64(signal)[:, None] / np.float64(found.sizes[:, 1])
    ratio = np.where(found.sizes[:, 1] == 0, np.inf, ratio)
    return 20 * np.log10(ratio)
