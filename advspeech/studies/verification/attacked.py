"""The table of rates under attack: FAR of impostors, FRR of targets."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from advspeech import sweep
from advspeech.statistics import verification
from advspeech.studies.verification import attacking, parts, sides
from advspeech.studies.verification.trials import KINDS, TARGET, UNKNOWN

COLUMNS = {
  'source': str,
  'embedder': str,
  'attack': str,
  'norm': str,
  'control': str,
  'format': str,
  **sweep.EPSILON_COLUMNS,
  'mean_snr_db': float,
  'kind': str,
  'operating': str,
  'threshold': float,
  'num_trials': int,
  'num_speakers': int,
  'mean_score': float,
  **{f'clean_rate{end}': float for end in sides.ENDS},
  **{f'rate{end}': float for end in sides.ENDS},
  'more': float,
  'more_low': float,
  'more_high': float,
  'known_rate': float,
  'oracle_eer': float,
}


class Group(NamedTuple):
  """Trials of a kind.

  Attributes:
    kind: One of `KINDS`; 'impostor' is of all impostors.
    chosen: [num_trials] which they are.
    sides: Their speakers.
  """

  kind: str
  chosen: np.ndarray
  sides: sides.Sides


class Judged(NamedTuple):
  """An attack at one epsilon on a group's trials, as one embedder judges it.

  Attributes:
    scores: [num, num_variants] under attack.
    clean: [num] before.
    others: Clean scores of targets beside impostors, and the reverse.
    known: [num] by the embedder attacked, to the clips that the attack saw;
      None by another.
    threshold: That accepts.
  """

  scores: np.ndarray
  clean: np.ndarray
  others: np.ndarray
  known: np.ndarray | None
  threshold: float


def rows(results: parts.Results, confidence: float) -> list[dict[str, Any]]:
  """Returns rates under attack, by COLUMNS.

  A rate is FAR of impostors and FRR of targets, at the threshold of clean
  trials. A control's row says how much more the attack does (`more`).

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  found = []
  for group in _groups(results.test):
    for (source, attack), made in results.attacked.items():
      for e, epsilon in enumerate(results.epsilons):
        point = {
          'source': results.clean[source].embedder.name,
          'attack': attack,
          'norm': results.norms[attack],
          **sweep.epsilon_columns(epsilon, results.signal_rms[group.chosen]),
          'mean_snr_db': sweep.mean_of_finite(made.snr_db[group.chosen, e]),
          'kind': group.kind,
        }
        for j, clean in enumerate(results.clean):
          for operating in parts.OPERATING:
            judged = Judged(
              made.scores[group.chosen, e, :, j],
              clean.test[group.chosen],
              clean.test[(_kinds(results) == TARGET) != (group.kind == TARGET)],
              made.known_scores[group.chosen, e] if j == source else None,
              clean.thresholds[operating],
            )
            of_judge = {
              'embedder': clean.embedder.name,
              'operating': operating,
              'threshold': judged.threshold,
            }
            found += [
              {**point, **of_judge, **row}
              for row in _variants(group, judged, confidence)
            ]
  return found


def is_of_its_size(row: Mapping[str, Any]) -> bool:
  """Returns whether a row is of noise as large as its attack.

  Random signs are in the max-norm alone: beside an attack in L2, whose few
  large samples set the max-norm, they are 20 dB louder.

  Args:
    row: By COLUMNS.
  """
  if row['norm'] == 'l2' and row['control'] == 'random_sign':
    return False
  return bool(row['control'])


def _kinds(results):
  return np.array([t.kind for t in results.test])


def _groups(test) -> Iterator[Group]:
  """Yields the trials of each kind, and impostors together."""
  kinds = np.array([t.kind for t in test])
  for kind in KINDS:
    which = kinds != TARGET if kind == UNKNOWN else kinds == kind
    if which.any():
      yield Group(kind, which, sides.Sides(sides.chosen(test, which)))


def _variants(group, judged, confidence):
  """Yields the rows of the attack, its file, and its controls."""
  is_target = group.kind == TARGET

  def happened(scores):
    accepted = verification.accepted(scores, judged.threshold)
    return ~accepted if is_target else accepted

  clean = group.sides.rate('clean_rate', happened(judged.clean), confidence)
  attack = happened(judged.scores[:, 0])
  for v, variant in enumerate(attacking.VARIANTS):
    scores = judged.scores[:, v]
    control = variant if variant in sweep.CONTROLS else ''
    yield {
      'control': control,
      'format': variant if variant and not control else 'memory',
      'num_trials': len(scores),
      'num_speakers': group.sides.number,
      'mean_score': float(scores.mean()),
      **clean,
      **group.sides.rate('rate', happened(scores), confidence),
      **(
        group.sides.more(attack, happened(scores), confidence)
        if control
        else {'more': '', 'more_low': '', 'more_high': ''}
      ),
      'known_rate': ''
      if variant or judged.known is None
      else float(happened(judged.known).mean()),
      'oracle_eer': _oracle(scores, judged.others, is_target),
    }


def _oracle(scores, others, is_target):
  """Returns the EER of a defender who moves the threshold, '' if undefined."""
  if not len(others):
    return ''
  labels = np.r_[
    np.full(len(scores), is_target), np.full(len(others), not is_target)
  ]
  points = verification.points(np.r_[scores, others], labels)
  return verification.equal_error_rate(points)[0]
