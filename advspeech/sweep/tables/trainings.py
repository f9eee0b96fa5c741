"""Error rates over trainings: means over seeds, and what the next may do."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech.statistics import crossed, trainings
from advspeech.sweep import planning, rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns, points

_SOURCE = (
  'task',
  'source',
  'target',
  'attack',
  'leaves',
  'mask',
  'transform',
  'adaptive',
)
COLUMNS: columns.Columns = {
  **{name: columns.ATTACK[name] for name in _SOURCE},
  'control': str,
  **columns.EPSILON,
  'mean_snr_db': float,
  'num_infinite_snr': int,
  'num_trainings': int,
  'num_clips': int,
  'num_speakers': int,
  'error_rate': float,
  'lowest': float,
  'highest': float,
  'ci_low': float,
  'ci_high': float,
  'ci_speaker_low': float,
  'ci_speaker_high': float,
  'sd_clips': float,
  'sd_trainings': float,
  'sd_rest': float,
  'flip_rate': float,
  'flip_ci_low': float,
  'flip_ci_high': float,
  'flip_ci_speaker_low': float,
  'flip_ci_speaker_high': float,
  'excess': float,
  'excess_low': float,
  'excess_high': float,
  'excess_speaker_low': float,
  'excess_speaker_high': float,
  'excess_lowest': float,
  'excess_highest': float,
  'excess_corrected_low': float,
  'excess_corrected_high': float,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
  """One attack on a model, seed by seed, and one of its judges.

  Attributes:
    attacks: One a seed.
    targets: Index of the judge of each, of the same seed.
  """

  attacks: list[planning.PlannedAttack]
  targets: list[int]


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields a row a (attack, target, control, epsilon), by COLUMNS.

  Means over seeds, each judged by a model of the seed that was attacked: pairs
  of trainings that have nothing in common. Where they are
  `trainings.FEWEST_TRAININGS` or more there are intervals over trainings;
  `lowest` and `highest` are the seeds' own. A control's row has the attack's
  `excess`, and `excess_corrected_...` at a level shared out among the epsilons
  above 0 (Bonferroni), by speaker where there are enough.
  """
  sweep = results.sweep
  for family in families(results):
    planned = family.attacks[0]
    names = results.variants(planned)
    known = sweep.members[family.targets[0]].labels >= 0
    speakers = sweep.split.speakers[known]
    num_tried = sum(
      columns.of_epsilon(epsilon, *results.levels)['epsilon'] > 0
      for epsilon in planned.epsilons
    )
    confidence = results.confidence
    for control in ('', *(n for n in names if n in planning.CONTROLS)):
      c = names.index(control) if control else 0
      measured = planning.CONTROLS.index(control) + 1 if control else 0
      for e, epsilon in enumerate(planned.epsilons):
        attacked, wrong = (wrong_in(results, family, e, i) for i in (0, c))
        snr_db = [results.judged[x].snr_db[e, measured] for x in family.attacks]
        row = {
          **dict.fromkeys(COLUMNS, ''),
          **_of_family(results, family),
          'control': control,
          **columns.of_epsilon(epsilon, *results.levels),
          **points.mean_snr(np.concatenate(snr_db)),
          'num_trainings': len(wrong),
          'num_clips': int(known.sum()),
          'num_speakers': rates.num_speakers(speakers),
          **rate(wrong, speakers, confidence),
          **_flips(
            _flipped(results, family, e, c), sweep.split.speakers, confidence
          ),
        }
        if control:
          row |= excess(attacked, wrong, speakers, confidence, num_tried)
        yield row


def families(results: results_lib.Results) -> Iterator[Family]:
  """Yields attacks that were made on models of two seeds or more.

  With every model's judges that have labels.

  Args:
    results: Of the sweep.
  """
  members = results.sweep.members
  by_attack: dict[Any, list[planning.PlannedAttack]] = {}
  for planned in results.sweep.plan:
    key = members[planned.source].name, dataclasses.replace(planned, source=0)
    by_attack.setdefault(key, []).append(planned)
  for attacks in by_attack.values():
    for name in dict.fromkeys(member.name for member in members):
      of_seed = {m.seed: t for t, m in enumerate(members) if m.name == name}
      pairs = [
        (planned, of_seed[members[planned.source].seed])
        for planned in attacks
        if members[planned.source].seed in of_seed
      ]
      has_labels = pairs and (members[pairs[0][1]].labels >= 0).any()
      if len(pairs) > 1 and has_labels:
        yield Family(*(list(x) for x in zip(*pairs, strict=True)))


def _of_family(results, family):
  row = columns.of_attack(
    results, family.attacks[0], results.sweep.members[family.targets[0]]
  )
  return {name: row[name] for name in _SOURCE}


def wrong_in(
  results: results_lib.Results, family: Family, e: int, variant: int = 0
) -> np.ndarray:
  """Returns who is judged wrong, [num_trainings, num_clips with a label].

  Args:
    results: Of the sweep.
    family: Which attacks and judges.
    e: Index of the epsilon.
    variant: Index among `results.variants`; 0 is the attack itself.
  """
  found = []
  for planned, t in zip(family.attacks, family.targets, strict=True):
    labels = results.sweep.members[t].labels
    known = labels >= 0
    answers = results.judged[planned].predictions[e, variant, t]
    found.append(answers[known] != labels[known])
  return np.stack(found)


def _flipped(results, family, e, variant):
  """Returns whose answer is another than clean, [num_trainings, num_clips]."""
  found = []
  for planned, t in zip(family.attacks, family.targets, strict=True):
    judged = results.judged[planned]
    found.append(judged.predictions[e, variant, t] != judged.clean[t])
  return np.stack(found)


def _flips(flipped, speakers, confidence):
  """Returns the columns of the rate at which answers change."""
  return {
    'flip_rate': float(flipped.mean()),
    **_ends('flip_ci', flipped, speakers, confidence),
  }


def rate(
  wrong: np.ndarray, speakers: np.ndarray, confidence: float
) -> dict[str, Any]:
  """Returns the columns of a rate over trainings.

  Args:
    wrong: [num_trainings, num_clips] whether each clip is judged wrong.
    speakers: [num_clips] who speaks, '' where unknown.
    confidence: Of the intervals, which there are of enough trainings.
  """
  of_training = wrong.mean(1)
  row = {
    'error_rate': float(wrong.mean()),
    'lowest': float(of_training.min()),
    'highest': float(of_training.max()),
  }
  if min(wrong.shape) > 1:
    parts = crossed.components(wrong)
    row |= {f'sd_{name}': sd for name, sd in parts._asdict().items()}
  return row | _ends('ci', wrong, speakers, confidence)


def _ends(name, wrong, speakers, confidence):
  """Returns intervals by clip and by speaker, that are known, as columns."""
  if len(wrong) < trainings.FEWEST_TRAININGS:
    return {}
  inner = trainings.rate_interval(wrong, confidence=confidence)
  row = {f'{name}_low': inner[0], f'{name}_high': inner[1]}
  if rates.are_enough(speakers):
    outer = trainings.rate_interval(
      wrong, cluster=speakers, confidence=confidence
    )
    row[f'{name}_speaker_low'] = min(inner[0], outer[0])
    row[f'{name}_speaker_high'] = max(inner[1], outer[1])
  return row


def excess(
  attacked: np.ndarray,
  noise: np.ndarray,
  speakers: np.ndarray,
  confidence: float,
  num_tried: int = 1,
) -> dict[str, Any]:
  """Returns the columns of a rate less another, such as an attack's control's.

  Args:
    attacked: [num_trainings, num_clips] whether each clip is judged wrong.
    noise: The same trainings and clips under the other.
    speakers: As of `rate`.
    confidence: The same.
    num_tried: Epsilons that share the level of `excess_corrected_...`.
  """
  of_training = attacked.mean(1) - noise.mean(1)
  row = {
    'excess': float(of_training.mean()),
    'excess_lowest': float(of_training.min()),
    'excess_highest': float(of_training.max()),
  }
  if len(attacked) < trainings.FEWEST_TRAININGS:
    return row
  corrected = 1 - (1 - confidence) / max(1, num_tried)
  for level, inner, outer in (
    (confidence, 'excess', 'excess_speaker'),
    (corrected, 'excess_corrected', 'excess_corrected'),
  ):
    ends = trainings.difference_interval(attacked, noise, confidence=level)
    row[f'{inner}_low'], row[f'{inner}_high'] = ends
    if rates.are_enough(speakers):
      voices = trainings.difference_interval(
        attacked, noise, cluster=speakers, confidence=level
      )
      row[f'{outer}_low'] = min(ends[0], voices[0])
      row[f'{outer}_high'] = max(ends[1], voices[1])
  return row
