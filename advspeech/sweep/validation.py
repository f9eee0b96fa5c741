"""What of a sweep's settings cannot be run."""

from typing import TYPE_CHECKING

import numpy as np

from advspeech import audio, errors, registry, storage, transforms
from advspeech.sweep import masks, named_attacks
from advspeech.sweep.planning import (
  check_ceiling,
  check_mask,
  parse_budgets,
  parse_epsilons,
)

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections


def validate(config: 'ml_collections.ConfigDict') -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  sweep = config.sweep
  if not (sweep.epsilons and sweep.attacks and sweep.masks):
    raise errors.InputError(
      'config.sweep.epsilons, config.sweep.attacks and config.sweep.masks must '
      f'name at least one each, got {sweep.epsilons}, {sweep.attacks} and '
      f'{sweep.masks}'
    )
  for key, epsilons in (
    ('epsilons', sweep.epsilons),
    ('iterative.epsilons', sweep.iterative.epsilons),
    ('example_epsilon', [sweep.example_epsilon]),
  ):
    parse_budgets(f'config.sweep.{key}', epsilons, masking=True)
  _validate_attacks(config)
  for name in sweep.transforms:
    transforms.make(name)
  for name in sweep.transform_attacks:
    if name not in sweep.attacks:
      raise errors.InputError(
        'config.sweep.transform_attacks must be among config.sweep.attacks, '
        f'{", ".join(sweep.attacks)}, got {name!r}'
      )
  for key, meaning in (
    ('attacks', str),
    ('masks', masks.parse),
    ('transforms', transforms.make),
    ('transform_attacks', str),
    ('sources', str),
    ('checkpoints', storage.canonical),
    ('victims', str),
  ):
    errors.check_distinct(f'config.sweep.{key}', sweep[key], meaning)
  for name in sweep.victims:
    registry.resolve('config.sweep.victims', name, {})
  for name in sweep.checkpoints:
    if name in config.models:
      raise errors.InputError(
        f'config.sweep.checkpoints names the folder {name}, as a model of this '
        f'run is named; write ./{name}'
      )
  for name in sweep.sources:
    if name not in (*config.models, *sweep.checkpoints, *sweep.victims):
      raise errors.InputError(
        'config.sweep.sources must be among config.models, '
        f'config.sweep.checkpoints and config.sweep.victims, got {name!r}'
      )


def _validate_attacks(config):
  sweep = config.sweep
  resolved = [named_attacks.make_attack(config, name) for name in sweep.attacks]
  if resolved[0].unit:
    raise errors.InputError(
      'config.sweep.attacks must begin with an attack on the waveform, the one '
      f'that figures, masks and transforms are of, got {sweep.attacks[0]}; put '
      'fgsm first'
    )
  few = resolved[0].iterative and sweep.iterative.epsilons
  name, given = (
    ('iterative.epsilons', sweep.iterative.epsilons)
    if few
    else ('epsilons', sweep.epsilons)
  )
  one = np.float32(1)
  if all(e.radii(one, one) for e in parse_epsilons(given, masking=True)):
    raise errors.InputError(
      f'config.sweep.{name}, which {sweep.attacks[0]}, the first attack, is '
      'made with, must have 0 among them, the clean clips that every rise in '
      f'error is measured from, got {given}; add 0'
    )
  feature_level = sweep.feature_level
  errors.check_some(
    'config.sweep.feature_level.epsilons', feature_level.epsilons
  )
  unit = next((attack.unit for attack in resolved if attack.unit), 'MFCC or dB')
  parse_epsilons(feature_level.epsilons, unit)
  parse_epsilons([feature_level.example_epsilon], unit)
  num_samples = round(config.clip_s * audio.SAMPLE_RATE_HZ)
  for name, attack in zip(sweep.attacks, resolved, strict=True):
    check_mask(attack, sweep.masks[0], num_samples)
    if attack.unit:
      continue
    few = attack.iterative and sweep.iterative.epsilons
    given = (few or sweep.epsilons, [sweep.example_epsilon])
    for epsilons in given:
      check_ceiling(name, attack, parse_epsilons(epsilons, masking=True))
  for mask in sweep.masks:
    check_mask(resolved[0], mask, num_samples)
