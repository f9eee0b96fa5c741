"""The tables: errors of victims against queries, and how like them one is."""

import os
from collections.abc import Iterator
from typing import Any

from advspeech import class_errors, statistics, storage, sweep
from advspeech.studies.substitute import attacker, rounds, trying
from advspeech.sweep import rates

Row = dict[str, Any]
LAST = 'substitute.csv'
_POINT = {
  'victim': str,
  'substitute': str,
  'seed': int,
  'regime': str,
  'arm': str,
  'round': int,
  'num_seeds': int,
  'num_queries': int,
  'num_trained': int,
}


def _of_difference(name):
  return dict.fromkeys(
    (name, *(f'{name}_{end}' for end in (*rates.ENDS, 'speaker_p'))), float
  )


FIDELITY_COLUMNS = {
  **_POINT,
  'num_clips': int,
  'num_speakers': int,
  'agreement': float,
  **{f'agreement_{end}': float for end in rates.ENDS},
  'victim_error': float,
  'substitute_error': float,
}
COLUMNS = {
  **_POINT,
  'attack': str,
  'leaves': str,
  'control': str,
  **sweep.EPSILON_COLUMNS,
  'mean_snr_db': float,
  'num_clips': int,
  'num_speakers': int,
  'error_rate': float,
  **{f'ci_{end}': float for end in rates.ENDS},
  **class_errors.COLUMNS,
  **_of_difference('excess'),
  'mcnemar_p': float,
  **_of_difference('over_natural'),
}


def write(folder: str, results: rounds.Results, confidence: float) -> None:
  """Writes both tables, `LAST` last.

  Args:
    folder: Of the study.
    results: All that was found.
    confidence: Of intervals.
  """
  for name, columns, make in (
    ('fidelity.csv', FIDELITY_COLUMNS, fidelity_rows),
    (LAST, COLUMNS, error_rows),
  ):
    storage.write_table(
      os.path.join(folder, name),
      tuple(columns),
      list(make(results, confidence)),
    )


def fidelity_rows(results: rounds.Results, confidence: float) -> Iterator[Row]:
  """Yields how often a substitute answers as its victim, by FIDELITY_COLUMNS.

  On the clips that are judged, as they are. The victim's answers to these are
  the study's own: no attacker asks for them.

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  speakers = results.speakers
  for point, reached in results.reached.items():
    if point.arm == rounds.WHITE_BOX:
      continue
    tried = next(iter(reached.tried.values()))
    agrees = tried.own == tried.clean
    yield {
      **_point(results, point, reached),
      'num_clips': len(agrees),
      'num_speakers': rates.num_speakers(speakers),
      'agreement': float(agrees.mean()),
      **rates.of_clips('agreement', agrees, speakers, confidence),
      'victim_error': float((tried.clean != results.labels).mean()),
      'substitute_error': float((tried.own != results.labels).mean()),
    }


def error_rows(results: rounds.Results, confidence: float) -> Iterator[Row]:
  """Yields errors of victims under attacks and noise, by COLUMNS.

  A control's row says how much more the attack does than noise of its size
  (`excess`); an attack's how much more than by natural clips alone, after as
  many queries (`over_natural`).

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  for point, reached in results.reached.items():
    natural = results.reached.get(point._replace(arm=attacker.NATURAL))
    for attack, tried in reached.tried.items():
      wrong = tried.answers != results.labels[:, None, None]
      for e, epsilon in enumerate(results.epsilons[attack]):
        for s, control in enumerate(trying.SENT):
          other = {}
          if control:
            pair = wrong[:, e, 0], wrong[:, e, s]
            other = _more('excess', pair, results, confidence)
            other['mcnemar_p'] = statistics.mcnemar(*pair).p_value
          elif natural and point.arm != attacker.NATURAL and point.number:
            theirs = natural.tried[attack].answers[:, e, 0] != results.labels
            pair = wrong[:, e, 0], theirs
            other = _more('over_natural', pair, results, confidence)
          yield {
            **dict.fromkeys(COLUMNS, ''),
            **_point(results, point, reached),
            'attack': attack,
            'leaves': 'label',
            'control': control,
            **sweep.epsilon_columns(epsilon, results.signal_rms),
            'mean_snr_db': sweep.mean_of_finite(tried.snr_db[:, e, s]),
            'num_clips': len(wrong),
            'num_speakers': rates.num_speakers(results.speakers),
            'error_rate': float(wrong[:, e, s].mean()),
            **rates.of_clips(
              'ci', wrong[:, e, s], results.speakers, confidence
            ),
            **class_errors.columns(
              tried.answers[:, e, s], results.labels, results.classes
            ),
            **other,
          }


def _more(name, pair, results, confidence):
  """Returns how much more the first of two sets of verdicts errs."""
  return rates.difference(name, *pair, results.speakers, confidence)


def _point(results, point, reached):
  is_white = point.arm == rounds.WHITE_BOX
  return {
    'victim': point.victim,
    'substitute': '' if is_white else results.substitutes[point.victim],
    'seed': results.seed,
    'regime': point.regime,
    'arm': point.arm,
    'round': '' if is_white else point.number,
    'num_seeds': reached.num_seeds,
    'num_queries': reached.num_queries,
    'num_trained': reached.num_trained,
  }
