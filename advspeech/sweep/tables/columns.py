"""Columns that several of a sweep's tables have: attack and epsilon."""

from typing import Any

import numpy as np

from advspeech import attacks, audio, features
from advspeech.sweep import planning
from advspeech.sweep import results as results_lib
from advspeech.sweep.member import Member

# A table's columns by name, with the type of their values; any may be ''.
Columns = dict[str, type]
ATTACK: Columns = {
  'task': str,
  'seed': int,
  'source': str,
  'target': str,
  'target_seed': int,
  'attack': str,
  'leaves': str,
  'mask': str,
  'transform': str,
  'adaptive': int,
}
EPSILON: Columns = {
  'epsilon_given': str,
  'epsilon': float,
  'epsilon_unit': str,
  'epsilon_fs': float,
  'epsilon_lsb': float,
  'epsilon_dbfs': float,
}
# Whether it is below one step of a file of 16 bit, and of 8.
BELOW_ONE_STEP: Columns = {'below_one_lsb': int, 'below_one_lsb_8_bit': int}
# Behind the name of a difference: its intervals by clip and by speaker, and the
# p by speaker that it is none.
_ENDS = ('', '_low', '_high', '_speaker_low', '_speaker_high', '_speaker_p')


def of_difference(name: str) -> Columns:
  """Returns a difference's columns, with its intervals by clip and speaker."""
  return {f'{name}{end}': float for end in _ENDS}


def leaves(attack: attacks.Attack) -> str:
  """Returns what an attack of a sweep leads away from.

  The true 'label', also where the model errs on the clean clip; '' of a
  targeted one, which leads to a class.
  """
  return '' if attack.targeted else 'label'


def of_attack(
  results: results_lib.Results,
  planned: planning.PlannedAttack,
  target: Member,
) -> dict[str, Any]:
  """Returns which attack a row is of, and who judged, by ATTACK."""
  source = results.sweep.members[planned.source]
  attack = results.sweep.attacks[planned.attack]
  return {
    'task': results.task,
    'seed': source.seed,
    'source': source.name,
    'target': target.name,
    'target_seed': target.seed,
    'attack': planned.attack,
    'leaves': leaves(attack),
    'mask': planned.mask,
    'transform': planned.transform,
    'adaptive': int(planned.adaptive),
  }


def of_epsilon(
  epsilon: audio.Epsilon,
  signal_rms: np.ndarray,
  masking_rms: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns an epsilon in every unit, by EPSILON.

  The mean of those that differ by clip. One of features has its own unit alone,
  and the columns of amplitudes are ''.

  Args:
    epsilon: The radius.
    signal_rms: [num_clips] as `problem.signal_rms` returns.
    masking_rms: [num_clips] as `problem.masking_rms` returns, for one of
      masking thresholds.
  """
  # float32 carries seven digits.
  radii = np.asarray(epsilon.radii(signal_rms, masking_rms), np.float64)
  radius = float(f'{np.mean(radii):.7g}')
  amplitudes = audio.amplitude_units(radius)
  if epsilon.is_of_features:
    amplitudes = dict.fromkeys(amplitudes, '')
  return {
    'epsilon_given': epsilon.text,
    'epsilon': radius,
    'epsilon_unit': unit(epsilon),
    **amplitudes,
  }


def unit(epsilon: audio.Epsilon) -> str:
  """Returns the unit of the column `epsilon`."""
  return epsilon.unit if epsilon.is_of_features else features.WAVEFORM_UNIT


def below_one_step(
  epsilon: audio.Epsilon,
  signal_rms: np.ndarray,
  masking_rms: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns whether files of 16 and of 8 bit lose it, by BELOW_ONE_STEP.

  In the mean over clips; '' of an epsilon of features.
  """
  if epsilon.is_of_features:
    return dict.fromkeys(BELOW_ONE_STEP, '')
  radius = np.mean(epsilon.radii(signal_rms, masking_rms))
  steps = (audio.LSB_PER_UNIT, 2**8)
  return {
    name: int(0 < radius * number < 1)
    for name, number in zip(BELOW_ONE_STEP, steps, strict=True)
  }
