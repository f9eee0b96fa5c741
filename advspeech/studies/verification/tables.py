"""The tables of the study: clean trials, error rates, rates under attack."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from advspeech import storage
from advspeech.statistics import trials as by_speaker
from advspeech.statistics import verification
from advspeech.studies.verification import attacked, parts, sides
from advspeech.studies.verification.trials import TARGET, trial_id

Row = dict[str, Any]
# Of an equal error rate: a sort each.
_EER_RESAMPLES = 999
LAST = 'attacked.csv'
TRIAL_COLUMNS = {
  'part': str,
  'trial': str,
  'kind': str,
  'claimed': str,
  'speaking': str,
  'enrolled': str,
  'known': str,
  'test': str,
}
SCORE_COLUMNS = {
  'embedder': str,
  'part': str,
  'trial': str,
  'kind': str,
  'score': float,
}
CLEAN_COLUMNS = {
  'embedder': str,
  'operating': str,
  'threshold': float,
  'validation_eer': float,
  'validation_min_dcf': float,
  'num_validation_targets': int,
  'num_validation_impostors': int,
  'num_speakers': int,
  'num_heard': int,
  'num_targets': int,
  'num_impostors': int,
  **{
    f'{rate}{end}': float
    for rate in ('far', 'frr', 'eer')
    for end in sides.ENDS
  },
  'dcf': float,
  'min_dcf': float,
}


def write(folder: str, results: parts.Results, confidence: float) -> None:
  """Writes all tables, `LAST` last.

  Args:
    folder: Of the study.
    results: All that was found.
    confidence: Of intervals.
  """
  for name, columns, rows in (
    ('trials.csv', TRIAL_COLUMNS, trial_rows(results)),
    ('scores.csv', SCORE_COLUMNS, score_rows(results)),
    ('clean.csv', CLEAN_COLUMNS, clean_rows(results, confidence)),
    (LAST, attacked.COLUMNS, attacked.rows(results, confidence)),
  ):
    storage.write_table(os.path.join(folder, name), tuple(columns), rows)


def _both(results):
  """Yields the name and the trials of each part."""
  yield 'validation', results.validation
  yield 'test', results.test


def trial_rows(results: parts.Results) -> list[Row]:
  """Returns who claims to be whom, by TRIAL_COLUMNS."""
  ids = results.corpus.ids
  return [
    {
      'part': part,
      'trial': trial_id(t, results.corpus),
      'kind': t.kind,
      'claimed': t.enrolment.speaker,
      'speaking': t.speaker,
      'enrolled': ' '.join(str(ids[i]) for i in t.enrolment.enrolled),
      'known': ' '.join(str(ids[i]) for i in t.enrolment.known),
      'test': str(ids[t.row]),
    }
    for part, found in _both(results)
    for t in found
  ]


def score_rows(results: parts.Results) -> list[Row]:
  """Returns clean scores, by SCORE_COLUMNS."""
  return [
    {
      'embedder': clean.embedder.name,
      'part': part,
      'trial': trial_id(t, results.corpus),
      'kind': t.kind,
      'score': float(score),
    }
    for clean in results.clean
    for part, found in _both(results)
    for t, score in zip(found, getattr(clean, part), strict=True)
  ]


def is_target(found: Sequence[Any]) -> np.ndarray:
  """Returns whether trials are targets', [num_trials]."""
  return np.array([t.kind == TARGET for t in found])


def clean_rows(results: parts.Results, confidence: float) -> list[Row]:
  """Returns what embedders get wrong unattacked, by CLEAN_COLUMNS."""
  all_sides = sides.Sides(results.test)
  set_by, judged = is_target(results.validation), is_target(results.test)
  rows = []
  for clean in results.clean:
    before = verification.points(clean.validation, set_by)
    of_all = _clean_errors(clean, judged, all_sides, confidence)
    for operating in parts.OPERATING:
      threshold = clean.thresholds[operating]
      accepted = verification.accepted(clean.test, threshold)
      rates = {}
      for name, happened, chosen in (
        ('far', accepted, ~judged),
        ('frr', ~accepted, judged),
      ):
        if chosen.any():
          some = sides.Sides(sides.chosen(results.test, chosen))
          rates |= some.rate(name, happened[chosen], confidence)
        else:
          rates |= {f'{name}{end}': '' for end in sides.ENDS}
      rows.append(
        {
          'embedder': clean.embedder.name,
          'operating': operating,
          'threshold': threshold,
          'validation_eer': verification.equal_error_rate(before)[0],
          'validation_min_dcf': verification.min_detection_cost(before),
          'num_validation_targets': int(set_by.sum()),
          'num_validation_impostors': int((~set_by).sum()),
          'num_speakers': all_sides.number,
          'num_heard': clean.num_heard,
          'num_targets': int(judged.sum()),
          'num_impostors': int((~judged).sum()),
          **rates,
          **of_all,
          'dcf': ''
          if '' in (rates['far'], rates['frr'])
          else float(verification.detection_cost(rates['far'], rates['frr'])),
        }
      )
  return rows


def _clean_errors(clean, judged, both, confidence):
  """Returns EER with its interval, and the least cost, by hindsight."""
  found = dict.fromkeys(('eer', 'eer_low', 'eer_high', 'min_dcf'), '')
  if judged.all() or not judged.any():
    return found
  points = verification.points(clean.test, judged)
  found['eer'] = verification.equal_error_rate(points)[0]
  found['min_dcf'] = verification.min_detection_cost(points)
  if both.is_enough:
    rates = [
      verification.equal_error_rate(
        verification.points(clean.test, judged, weights)
      )[0]
      for weights in both.drawn[:_EER_RESAMPLES]
      if weights[judged].any() and weights[~judged].any()
    ]
    found['eer_low'], found['eer_high'] = by_speaker.expanded_interval(
      np.array(rates), both.number, confidence
    )
  return found
