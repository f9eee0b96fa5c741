"""The tables of the study: rates over clips and rooms, and room by room."""

import os
from typing import Any

import numpy as np

from advspeech import class_errors, storage, sweep
from advspeech.statistics import trainings
from advspeech.studies.air import parts, sending
from advspeech.sweep import rates

Row = dict[str, Any]
LAST = 'air.csv'
_POINT = {
  'model': str,
  'attack': str,
  'leaves': str,
  'draws': int,
  'sent': str,
}
ROOM_COLUMNS = {
  **_POINT,
  'room': str,
  't60_s': float,
  'distance_m': float,
  'num_clips': int,
  'error_rate': float,
  'mean_heard_snr_db': float,
}
COLUMNS = {
  **_POINT,
  **sweep.EPSILON_COLUMNS,
  'num_clips': int,
  'num_speakers': int,
  'num_rooms': int,
  'mean_snr_db': float,
  'mean_heard_snr_db': float,
  'direct': float,
  'seen': float,
  'unseen': float,
  'unseen_low': float,
  'unseen_high': float,
  **class_errors.COLUMNS,
  'gap': float,
  'gap_low': float,
  'gap_high': float,
  'more': float,
  'more_low': float,
  'more_high': float,
}


def write(folder: str, results: parts.Results, confidence: float) -> None:
  """Writes both tables, `LAST` last.

  Args:
    folder: Of the study.
    results: All that was found.
    confidence: Of intervals.
  """
  for name, columns, rows in (
    ('rooms.csv', ROOM_COLUMNS, room_rows(results)),
    (LAST, COLUMNS, point_rows(results, confidence)),
  ):
    storage.write_table(os.path.join(folder, name), tuple(columns), rows)


def room_rows(results: parts.Results) -> list[Row]:
  """Returns errors in every unseen room, by ROOM_COLUMNS."""
  rows = []
  for point, found in results.found.items():
    wrong = found.unseen != results.labels[:, None, None]
    for s, sent in enumerate(sending.SENT):
      for r, name in enumerate(results.rooms.names):
        distance = float(results.rooms.distance_m[r])
        rows.append(
          {
            **_point(point, sent),
            'room': name,
            't60_s': float(results.rooms.t60_s[r]),
            'distance_m': distance if np.isfinite(distance) else '',
            'num_clips': len(results.labels),
            'error_rate': float(wrong[:, s, r].mean()),
            'mean_heard_snr_db': sweep.mean_of_finite(
              found.heard_snr_db[:, s, r]
            ),
          }
        )
  return rows


def point_rows(results: parts.Results, confidence: float) -> list[Row]:
  """Returns rates over clips and unseen rooms, by COLUMNS.

  `gap` is how much more often a clip is judged wrong in the rooms that the
  attack was made in; a control's row has how much more the attack does than it
  (`more`), in the same rooms. Intervals draw rooms and, independently, clips,
  or their speakers where there are enough: see `statistics.trainings`.

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  speakers = results.speakers
  enough = rates.are_enough(speakers)
  draw = {
    'cluster': speakers if enough else None,
    'confidence': confidence,
  }
  rows = []
  for point, found in results.found.items():
    labels = results.labels[:, None, None]
    # Rooms first, as trainings are: clips are the same in all of them.
    unseen = (found.unseen != labels).transpose(1, 2, 0)
    seen = (found.seen != labels).mean(-1)
    for s, sent in enumerate(sending.SENT):
      low, high = trainings.rate_interval(unseen[s], **draw)
      row = {
        **dict.fromkeys(COLUMNS, ''),
        **_point(point, sent),
        **sweep.epsilon_columns(results.epsilon, results.signal_rms),
        'num_clips': len(results.labels),
        'num_speakers': rates.num_speakers(speakers),
        'num_rooms': len(results.rooms.names),
        'mean_snr_db': sweep.mean_of_finite(found.snr_db[:, s]),
        'mean_heard_snr_db': sweep.mean_of_finite(found.heard_snr_db[:, s]),
        'direct': float((found.direct[:, s] != results.labels).mean()),
        'unseen': float(unseen[s].mean()),
        'unseen_low': low,
        'unseen_high': high,
        # A clip counts in every room.
        **class_errors.columns(
          found.unseen[:, s].ravel(),
          results.labels.repeat(len(results.rooms.names)),
          results.classes,
        ),
      }
      if point[2]:  # a blind attack has seen no room
        gap = seen[:, s][None] - unseen[s]
        ends = trainings.mean_interval(gap, **draw)
        row |= {
          'seen': float(seen[:, s].mean()),
          'gap': float(gap.mean()),
          'gap_low': ends[0],
          'gap_high': ends[1],
        }
      if sent != sending.ATTACK:
        attacked = unseen[sending.SENT.index(sending.ATTACK)]
        ends = trainings.difference_interval(attacked, unseen[s], **draw)
        row |= {
          'more': float(attacked.mean() - unseen[s].mean()),
          'more_low': ends[0],
          'more_high': ends[1],
        }
      rows.append(row)
  return rows


def _point(point, sent):
  model, attack, num_draws = point
  return {
    'model': model,
    'attack': attack,
    'leaves': 'label',
    'draws': num_draws,
    'sent': sent,
  }
