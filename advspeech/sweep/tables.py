"""Rows of a sweep's tables: points, clips, smallest perturbations, transfer."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from advspeech import attacks, audio, features, statistics
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import engine, problem, rates, work

_CELL = (
  'task',
  'seed',
  'source',
  'target',
  'target_seed',
  'attack',
  'mask',
  'transform',
  'adaptive',
)
EPSILON_COLUMNS = (
  'epsilon_given',
  'epsilon',
  'epsilon_unit',
  'epsilon_fs',
  'epsilon_lsb',
  'epsilon_dbfs',
)
SWEEP_COLUMNS = (
  *_CELL,
  'control',
  *EPSILON_COLUMNS,
  'below_one_lsb',
  'mean_snr_db',
  'num_infinite_snr',
  'num_clips',
  'num_speakers',
  'num_errors',
  'error_rate',
  'ci_low',
  'ci_high',
  'ci_speaker_low',
  'ci_speaker_high',
  'bootstrap_low',
  'bootstrap_high',
  'balanced_error',
  'errors_by_class',
  'answers_by_class',
  'flip_rate',
  'flip_ci_low',
  'flip_ci_high',
  'flip_ci_speaker_low',
  'flip_ci_speaker_high',
  'goal_rate',
  'excess',
  'excess_low',
  'excess_high',
  'excess_speaker_low',
  'excess_speaker_high',
  'mcnemar_p',
  'error_rate_float32',
  'error_rate_int16',
  'error_rate_repaired',
)
SAMPLE_COLUMNS = (
  *_CELL,
  'epsilon_given',
  'epsilon',
  'epsilon_unit',
  'id',
  'label',
  'clean_prediction',
  'prediction',
  'prediction_float32',
  'prediction_int16',
  'snr_db',
  'segmental_snr_db',
  'log_spectral_distance_db',
)
MINIMAL_COLUMNS = (
  *_CELL,
  'success',
  'id',
  'epsilon',
  'epsilon_unit',
  'num_islands',
  'monotone',
  'bisected_epsilon',
)
# Behind the name of a difference: its intervals by clip and by speaker.
_ENDS = ('_low', '_high', '_speaker_low', '_speaker_high')
TRANSFORM_COLUMNS = (
  *_CELL,
  *EPSILON_COLUMNS,
  'num_clips',
  *(
    f'{name}{end}'
    for name in ('rise_without', 'rise', 'taken', 'over_half')
    for end in ('', *_ENDS)
  ),
)
DIRECT_COLUMNS = (
  *_CELL,
  *EPSILON_COLUMNS,
  'num_clips',
  'num_speakers',
  'direct_error_rate',
  'error_rate',
  *(f'more{end}' for end in ('', *_ENDS)),
  'mcnemar_p',
)
# What tables call the best of a source's attacks, by norm.
STRONGEST = {'linf': 'strongest', 'l2': 'strongest_l2'}
_NUM_RESAMPLES = 2000


def sweep_rows(
  sweep: work.Sweep, task: str, confidence: float
) -> list[dict[str, Any]]:
  """Returns one row a (cell, target, control, epsilon), by SWEEP_COLUMNS.

  A control's row says how far the attack is above it: `excess` is the attack's
  error rate minus the control's, with an interval for paired rates, and
  `mcnemar_p` the probability of so uneven a split of the clips that only one
  of them broke, were both alike. These take clips for independent; intervals
  with `speaker` in their name take voices, see `rates`.

  Args:
    sweep: Its work must be complete.
    task: Name of the task.
    confidence: Of all intervals.
  """
  rows = []
  for cell, judged in _all(sweep):
    names = engine.variants(cell, sweep.settings)
    attack = sweep.attacks[cell.attack]
    rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
    for t, target in enumerate(sweep.members):
      row_of = functools.partial(
        _row, target, attack, judged.clean[t], sweep.split.speakers, confidence
      )
      for control in ('', *(n for n in names if n in cells_lib.CONTROLS)):
        c = names.index(control) if control else 0
        measured = cells_lib.CONTROLS.index(control) + 1 if control else 0
        for e, epsilon in enumerate(cell.epsilons):
          answers = judged.predictions[e, :, t]
          row = {
            **dict.fromkeys(SWEEP_COLUMNS, ''),
            **_cell_columns(sweep, cell, target, task),
            'control': control,
            **epsilon_columns(epsilon, rms),
            'below_one_lsb': _below_one_lsb(epsilon, rms),
            **mean_snr(judged.snr_db[e, measured]),
            **row_of(answers[c]),
          }
          if control:
            row.update(
              _excess(sweep, target, answers[0], answers[c], confidence)
            )
          elif cell.is_plain:
            row.update(_saved_columns(target.labels, answers, names))
          rows.append(row)
  return rows


def mean_snr(snr_db):
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


def _all(sweep) -> Iterator[tuple[cells_lib.Cell, engine.Judgements]]:
  """Yields every cell with its judgements."""
  for cell in sweep.cells:
    yield cell, work.judgements(sweep, cell)


def _cell_columns(sweep, cell, target, task):
  source = sweep.members[cell.source]
  return {
    'task': task,
    'seed': source.seed,
    'source': source.name,
    'target': target.name,
    'target_seed': target.seed,
    'attack': cell.attack,
    'mask': cell.mask,
    'transform': cell.transform,
    'adaptive': int(cell.adaptive),
  }


def epsilon_columns(
  epsilon: audio.Epsilon, signal_rms: np.ndarray
) -> dict[str, Any]:
  """Returns an epsilon in every unit, by EPSILON_COLUMNS.

  The mean of those that differ by clip. One of features has its own unit alone,
  and the columns of amplitudes are ''.

  Args:
    epsilon: The radius.
    signal_rms: [num_clips] as `problem.signal_rms` returns.
  """
  # float32 carries seven digits.
  radii = np.asarray(epsilon.radii(signal_rms), np.float64)
  radius = float(f'{np.mean(radii):.7g}')
  amplitudes = audio.amplitude_units(radius)
  if epsilon.is_of_features:
    amplitudes = dict.fromkeys(amplitudes, '')
  return {
    'epsilon_given': epsilon.text,
    'epsilon': radius,
    'epsilon_unit': _unit(epsilon),
    **amplitudes,
  }


def _unit(epsilon):
  """Returns the unit of the column `epsilon`."""
  return epsilon.unit if epsilon.is_of_features else features.WAVEFORM_UNIT


def _below_one_lsb(epsilon, rms):
  if epsilon.is_of_features:
    return ''
  return int(0 < np.mean(epsilon.radii(rms)) * audio.LSB_PER_UNIT < 1)


def _row(target, attack, clean, speakers, confidence, answers):
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
  low, high = statistics.wilson_interval(num_errors, len(wrong), confidence)
  boot_low, boot_high = _bootstrap(num_errors, len(wrong), confidence)
  goal = target.goal(attack)[known]
  return {
    **row,
    'num_speakers': rates.num_speakers(speakers[known]),
    'num_errors': num_errors,
    'error_rate': num_errors / len(wrong),
    'ci_low': low,
    'ci_high': high,
    **rates.by_speaker('ci_speaker', wrong, speakers[known], confidence),
    'bootstrap_low': boot_low,
    'bootstrap_high': boot_high,
    **rates.by_class(
      answers[known], labels, target.classifier.metadata['classes']
    ),
    'goal_rate': (
      float((answers[known] == goal).mean()) if attack.targeted else ''
    ),
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
    for name in (*engine.FORMATS[1:], engine.REPAIRED)
    if name in names
  }


def transform_rows(
  sweep: work.Sweep, task: str, confidence: float
) -> Iterator[dict[str, Any]]:
  """Yields what each transform takes off an attack, by TRANSFORM_COLUMNS.

  `rise` is how far the attack lifts the error rate behind the transform, over
  clean clips behind it, and `rise_without` the same where there is none;
  `taken` is the second less the first, and `over_half` the first less half of
  the second: below zero, the transform takes more than half of the attack. All
  on the same clips, with intervals: Newcombe's for the rises, and of two such
  differences squared and added for the others; and by speaker.

  Args:
    sweep: Its work must be complete.
    task: Name of the task.
    confidence: Of all intervals.
  """
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  plain = {
    (cell.source, cell.attack, cell.mask): cell
    for cell in sweep.cells
    if cell.is_plain
  }
  for cell in (cell for cell in sweep.cells if not cell.is_plain):
    plainly = plain[cell.source, cell.attack, cell.mask]
    sizes = [float(np.max(e.radii(rms))) for e in cell.epsilons]
    if 0 not in sizes:  # nothing to measure a rise from
      continue
    clean = sizes.index(0)
    judged, bare = work.judgements(sweep, cell), work.judgements(sweep, plainly)
    for t, target in enumerate(sweep.members):
      known = target.labels >= 0
      if not known.any():
        continue
      speakers = sweep.split.speakers[known]
      wrong, bare_wrong = (
        j.predictions[:, 0, t][:, known] != target.labels[known]
        for j in (judged, bare)
      )
      for e, epsilon in enumerate(cell.epsilons):
        if not sizes[e]:
          continue
        behind = wrong[e], wrong[clean]
        without = bare_wrong[e], bare_wrong[clean]
        yield {
          **_cell_columns(sweep, cell, target, task),
          **epsilon_columns(epsilon, rms),
          'num_clips': int(known.sum()),
          **rates.difference('rise_without', *without, speakers, confidence),
          **rates.difference('rise', *behind, speakers, confidence),
          **rates.taken(without, behind, speakers, confidence),
        }


def direct_rows(
  sweep: work.Sweep, task: str, confidence: float
) -> Iterator[dict[str, Any]]:
  """Yields attacks on a model itself beside those made on another.

  A row a (source, another model of its seed that was attacked too, epsilon), by
  DIRECT_COLUMNS: `error_rate` of the target under the source's examples,
  `direct_error_rate` under its own, at the same epsilon and on the same clips,
  and `more`, the second less the first, with intervals and McNemar's p.

  Args:
    sweep: Its work must be complete.
    task: Name of the task.
    confidence: Of the intervals.
  """
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  plain = {
    (cell.source, cell.attack, cell.mask): cell
    for cell in sweep.cells
    if cell.is_plain
  }
  for (source, attack, mask), cell in plain.items():
    for t, target in enumerate(sweep.members):
      own = plain.get((t, attack, mask))
      known = target.labels >= 0
      is_pair = t != source and target.seed == sweep.members[source].seed
      if not (own and is_pair and known.any()):
        continue
      speakers = sweep.split.speakers[known]
      direct, transferred = (
        work.judgements(sweep, c).predictions[:, 0, t][:, known]
        != target.labels[known]
        for c in (own, cell)
      )
      for e, epsilon in enumerate(cell.epsilons):
        if epsilon not in own.epsilons:
          continue
        pair = direct[own.epsilons.index(epsilon)], transferred[e]
        yield {
          **_cell_columns(sweep, cell, target, task),
          **epsilon_columns(epsilon, rms),
          'num_clips': int(known.sum()),
          'num_speakers': rates.num_speakers(speakers),
          'direct_error_rate': float(pair[0].mean()),
          'error_rate': float(pair[1].mean()),
          **rates.difference('more', *pair, speakers, confidence),
          'mcnemar_p': statistics.mcnemar(*pair).p_value,
        }


def sample_rows(sweep: work.Sweep, task: str) -> Iterator[dict[str, Any]]:
  """Yields one row a (cell, target, epsilon, clip), by SAMPLE_COLUMNS.

  Attacks alone; the controls' answers are in the arrays in `parts/`.
  """
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  for cell, judged in _all(sweep):
    names = engine.variants(cell, sweep.settings)
    for t, target in enumerate(sweep.members):
      classes = target.classifier.metadata['classes']
      for e, epsilon in enumerate(cell.epsilons):
        point = {
          **_cell_columns(sweep, cell, target, task),
          'epsilon_given': epsilon.text,
          'epsilon_unit': _unit(epsilon),
        }
        radii = epsilon.radii(rms)
        answers = judged.predictions[e, :, t]
        for i, utterance_id in enumerate(sweep.split.ids):
          label = target.labels[i]
          row = {
            **point,
            'epsilon': float(radii[i]),
            'id': str(utterance_id),
            'label': classes[label] if label >= 0 else '',
            'clean_prediction': classes[judged.clean[t, i]],
            'prediction': classes[answers[0, i]],
            'snr_db': float(judged.snr_db[e, 0, i]),
            'segmental_snr_db': float(judged.segmental_snr_db[e, i]),
            'log_spectral_distance_db': float(
              judged.log_spectral_distance_db[e, i]
            ),
          }
          for name in engine.FORMATS[1:]:
            row[f'prediction_{name}'] = (
              classes[answers[names.index(name), i]] if name in names else ''
            )
          yield row


def minimal_rows(sweep: work.Sweep, task: str) -> Iterator[dict[str, Any]]:
  """Yields the smallest perturbation of each clip (paper, eq. 1), on the grid.

  Once for each meaning of success: the answer is not the label ('label'), or
  not the model's own clean answer ('own', eq. 1 to the letter). Of an attack on
  features it is the smallest change of these, and 0 where rebuilding the clip
  is enough.
  """
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  for cell, judged in _all(sweep):
    if not cell.is_plain:
      continue
    radii = np.stack([epsilon.radii(rms) for epsilon in cell.epsilons])
    order = np.argsort(radii.mean(-1), kind='stable')
    for t, target in enumerate(sweep.members):
      answers = judged.predictions[order, 0, t]
      known = target.labels >= 0
      for success, broken, rows in (
        ('label', answers != target.labels, np.flatnonzero(known)),
        ('own', answers != judged.clean[t], np.arange(len(known))),
      ):
        found = jax.device_get(
          attacks.minimal_perturbation(broken[:, rows], radii[order][:, rows])
        )
        for i, row in enumerate(rows):
          yield {
            **_cell_columns(sweep, cell, target, task),
            'success': success,
            'id': str(sweep.split.ids[row]),
            'epsilon': float(found.epsilon[i]),
            'epsilon_unit': _unit(cell.epsilons[0]),
            'num_islands': int(found.num_islands[i]),
            'monotone': int(found.monotone[i]),
            'bisected_epsilon': float(found.bisected[i]),
          }


def strongest_rows(
  sweep: work.Sweep, task: str, confidence: float
) -> list[dict[str, Any]]:
  """Returns error rates under the best of a source's attacks, clip by clip.

  A clip counts as broken if any untargeted attack of the same norm and mask
  breaks it: the reference for robust accuracy, one minus this error rate. One
  row a (source, norm, mask, target, epsilon) at which all those attacks were
  made. Attacks on features are not among them: their epsilons are none of
  samples.
  """
  rows = []
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  families: dict[Any, list[cells_lib.Cell]] = {}
  for cell in sweep.cells:
    targeted = sweep.attacks[cell.attack].targeted
    if cell.is_plain and not (targeted or cell.on_features):
      norm = sweep.attacks[cell.attack].norm
      families.setdefault((cell.source, norm, cell.mask), []).append(cell)
  for (_, norm, _), family in families.items():
    if len(family) < 2:
      continue
    shared = set.intersection(*(set(cell.epsilons) for cell in family))
    judged = [work.judgements(sweep, cell) for cell in family]
    for epsilon in (e for e in family[0].epsilons if e in shared):
      for t, target in enumerate(sweep.members):
        answers = [
          j.predictions[cell.epsilons.index(epsilon), 0, t]
          for cell, j in zip(family, judged, strict=True)
        ]
        wrong = np.any([a != target.labels for a in answers], 0)
        known = target.labels >= 0
        if not known.any():
          continue
        num_errors, num = int(wrong[known].sum()), int(known.sum())
        low, high = statistics.wilson_interval(num_errors, num, confidence)
        speakers = sweep.split.speakers[known]
        rows.append(
          {
            **dict.fromkeys(SWEEP_COLUMNS, ''),
            **_cell_columns(sweep, family[0], target, task),
            'attack': STRONGEST[norm],
            **epsilon_columns(epsilon, rms),
            'below_one_lsb': _below_one_lsb(epsilon, rms),
            'num_clips': num,
            'num_speakers': rates.num_speakers(speakers),
            'num_errors': num_errors,
            'error_rate': num_errors / num,
            'ci_low': low,
            'ci_high': high,
            **rates.by_speaker(
              'ci_speaker', wrong[known], speakers, confidence
            ),
          }
        )
  return rows
