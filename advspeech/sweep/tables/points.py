"""Error rates of every point of a sweep, and of the best of its attacks."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from advspeech import class_errors, statistics
from advspeech.sweep import planning, rates
from advspeech.sweep import results as results_lib
from advspeech.sweep.settings import FORMATS, REPAIRED
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  'control': str,
  **columns.EPSILON,
  **columns.BELOW_ONE_STEP,
  'mean_snr_db': float,
  'num_infinite_snr': int,
  'mean_heard_snr_db': float,
  'num_clips': int,
  'num_speakers': int,
  'num_errors': int,
  'error_rate': float,
  'ci_low': float,
  'ci_high': float,
  'ci_speaker_low': float,
  'ci_speaker_high': float,
  'bootstrap_low': float,
  'bootstrap_high': float,
  'num_right_clean': int,
  'broken_rate': float,
  **{f'broken_{end}': float for end in rates.ENDS},
  **class_errors.COLUMNS,
  'flip_rate': float,
  'flip_ci_low': float,
  'flip_ci_high': float,
  'flip_ci_speaker_low': float,
  'flip_ci_speaker_high': float,
  'goal_rate': float,
  **columns.of_difference('excess'),
  'mcnemar_p': float,
  'error_rate_float32': float,
  'error_rate_int16': float,
  'error_rate_repaired': float,
}
# What tables call the best of a source's attacks, by norm.
STRONGEST = {'linf': 'strongest', 'l2': 'strongest_l2'}
_NUM_RESAMPLES = 2000


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields every point, and behind them those of the strongest attacks."""
  yield from point_rows(results)
  yield from strongest_rows(results)


def point_rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (planned attack, target, control, epsilon), by COLUMNS.

  A control's row says how far the attack is above it: `excess` is the attack's
  error rate minus the control's, with an interval for paired rates, and
  `mcnemar_p` the probability of so uneven a split of the clips that only one
  of them broke, were both alike. These take clips for independent; intervals
  with `speaker` in their name take voices, see `rates`. `broken_rate` is the
  error over the clips that the target is right on when they are clean.
  """
  sweep, confidence = results.sweep, results.confidence
  for planned, judged in results.judged.items():
    names = results.variants(planned)
    attack = sweep.attacks[planned.attack]
    for t, target in enumerate(sweep.members):
      row_of = functools.partial(
        _rates,
        target,
        attack,
        judged.clean[t],
        sweep.split.speakers,
        confidence,
      )
      for control in ('', *(n for n in names if n in planning.CONTROLS)):
        c = names.index(control) if control else 0
        measured = planning.CONTROLS.index(control) + 1 if control else 0
        for e, epsilon in enumerate(planned.epsilons):
          answers = judged.predictions[e, :, t]
          row = {
            **dict.fromkeys(COLUMNS, ''),
            **columns.of_attack(results, planned, target),
            'control': control,
            **columns.of_epsilon(epsilon, *results.levels),
            **columns.below_one_step(epsilon, *results.levels),
            **mean_snr(judged.snr_db[e, measured]),
            'mean_heard_snr_db': mean_of_finite(
              judged.heard_snr_db[e, measured]
            ),
            **row_of(answers[c]),
          }
          if control:
            row.update(
              _excess(sweep, target, answers[0], answers[c], confidence)
            )
          elif planned.is_plain:
            row.update(_saved_columns(target.labels, answers, names))
          yield row


def mean_snr(snr_db: np.ndarray) -> dict[str, Any]:
  """Returns the mean over clips whose SNR is finite, and how many have none.

  One silent clip (minus infinity) or one that nothing was done to (infinity)
  says nothing of the others; where all are such the mean is theirs.
  """
  finite = np.isfinite(snr_db)
  shown = snr_db[finite] if finite.any() else snr_db
  return {
    'mean_snr_db': float(np.mean(shown, dtype=np.float64)),
    'num_infinite_snr': int((~finite).sum()),
  }


def mean_of_finite(snr_db: np.ndarray) -> float | str:
  """Returns the mean over clips whose SNR is finite, '' if none is."""
  finite = snr_db[np.isfinite(snr_db)]
  return float(np.mean(finite, dtype=np.float64)) if len(finite) else ''


def _rates(target, attack, clean, speakers, confidence, answers):
  """Returns a point's rates; those against a label only where there is one."""
  known = target.labels >= 0
  flipped = answers != clean
  flips, num = int(flipped.sum()), len(answers)
  flip_low, flip_high = statistics.wilson_interval(flips, num, confidence)
  row = {
    'num_clips': int(known.sum()),
    'flip_rate': flips / num,
    'flip_ci_low': flip_low,
    'flip_ci_high': flip_high,
    **rates.by_speaker('flip_ci_speaker', flipped, speakers, confidence),
  }
  if not known.any():
    return row
  labels = target.labels[known]
  wrong = answers[known] != labels
  num_errors = int(wrong.sum())
  boot_low, boot_high = _bootstrap(num_errors, len(wrong), confidence)
  goal = target.goal(attack)[known]
  return {
    **row,
    'num_speakers': rates.num_speakers(speakers[known]),
    'num_errors': num_errors,
    'error_rate': num_errors / len(wrong),
    **rates.of_clips('ci', wrong, speakers[known], confidence),
    'bootstrap_low': boot_low,
    'bootstrap_high': boot_high,
    **_broken(wrong, clean[known] == labels, speakers[known], confidence),
    **class_errors.columns(
      answers[known], labels, target.classifier.metadata['classes']
    ),
    'goal_rate': (
      float((answers[known] == goal).mean()) if attack.targeted else ''
    ),
  }


def _broken(wrong, right, speakers, confidence):
  """Returns how many clips were right when clean, and how often these err."""
  if not right.any():
    return {'num_right_clean': 0}
  return {
    'num_right_clean': int(right.sum()),
    'broken_rate': float(wrong[right].mean()),
    **rates.of_clips('broken', wrong[right], speakers[right], confidence),
  }


@functools.lru_cache
def _bootstrap(num_errors, num_clips, confidence):
  """Returns the interval of an error rate: it depends on the counts alone."""
  wrong = (np.arange(num_clips) < num_errors).astype(float)
  return statistics.bootstrap_interval(
    wrong, num_resamples=_NUM_RESAMPLES, confidence=confidence, seed=0
  )


def _excess(sweep, target, attacked, control, confidence):
  known = target.labels >= 0
  if not known.any():
    return {}
  labels, speakers = target.labels[known], sweep.split.speakers[known]
  a, b = (x[known] != labels for x in (attacked, control))
  return {
    **rates.difference('excess', a, b, speakers, confidence),
    'mcnemar_p': statistics.mcnemar(a, b).p_value,
  }


def _saved_columns(labels, answers, names):
  known = labels >= 0
  if not known.any():
    return {}
  return {
    f'error_rate_{name}': float(
      (answers[names.index(name)][known] != labels[known]).mean()
    )
    for name in (*FORMATS[1:], REPAIRED)
    if name in names
  }


def strongest_rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields error rates under the best of a source's attacks, clip by clip.

  A clip counts as broken if any untargeted attack of the same norm and mask
  breaks it: the reference for robust accuracy, one minus this error rate. One
  row a (source, norm, mask, target, epsilon) at which all those attacks were
  run. Attacks on features are not among them: their epsilons are none of
  samples.
  """
  sweep, confidence = results.sweep, results.confidence
  families: dict[Any, list[planning.PlannedAttack]] = {}
  for planned in sweep.plan:
    targeted = sweep.attacks[planned.attack].targeted
    if planned.is_plain and not (targeted or planned.on_features):
      norm = sweep.attacks[planned.attack].norm
      families.setdefault((planned.source, norm, planned.mask), []).append(
        planned
      )
  for (_, norm, _), family in families.items():
    if len(family) < 2:
      continue
    shared = set.intersection(*(set(planned.epsilons) for planned in family))
    judged = [results.judged[planned] for planned in family]
    for epsilon in (e for e in family[0].epsilons if e in shared):
      for t, target in enumerate(sweep.members):
        answers = [
          j.predictions[planned.epsilons.index(epsilon), 0, t]
          for planned, j in zip(family, judged, strict=True)
        ]
        wrong = np.any([a != target.labels for a in answers], 0)
        known = target.labels >= 0
        if not known.any():
          continue
        num_errors, num = int(wrong[known].sum()), int(known.sum())
        speakers = sweep.split.speakers[known]
        right = (judged[0].clean[t] == target.labels)[known]
        yield {
          **dict.fromkeys(COLUMNS, ''),
          **columns.of_attack(results, family[0], target),
          'attack': STRONGEST[norm],
          **columns.of_epsilon(epsilon, *results.levels),
          **columns.below_one_step(epsilon, *results.levels),
          'num_clips': num,
          'num_speakers': rates.num_speakers(speakers),
          'num_errors': num_errors,
          'error_rate': num_errors / num,
          **rates.of_clips('ci', wrong[known], speakers, confidence),
          **_broken(wrong[known], right, speakers, confidence),
        }
