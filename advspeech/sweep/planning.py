"""Which attacks a sweep consists of, and how large they may be."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advspeech import (
  attacks,
  audio,
  errors,
)
from advspeech.sweep import masks, named_attacks
from advspeech.sweep.member import Member

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

CONTROLS = ('random_sign', 'gaussian', 'shuffled')
# Beyond it powers leave float32.
_LARGEST_OF_FEATURES = 100.0


@dataclasses.dataclass(frozen=True)
class PlannedAttack:
  """One attack on one source, judged by every target at every epsilon.

  Attributes:
    source: Index of the attacked member.
    attack: One of `attacks.names()`, or the user's own.
    mask: What may be touched, as `masks.parse` reads it.
    transform: What happens to clips before any model hears them, as
      `transforms.make` reads it; '' for nothing.
    adaptive: Whether the attack knows of the transform.
    epsilons: As the user gave them.
  """

  source: int
  attack: str
  mask: str
  transform: str
  adaptive: bool
  epsilons: tuple[audio.Epsilon, ...]

  @property
  def is_plain(self) -> bool:
    """Returns whether controls and saved files are judged too."""
    return not self.transform

  @property
  def on_features(self) -> bool:
    """Returns whether its epsilons are those of an attack on features."""
    return any(epsilon.is_of_features for epsilon in self.epsilons)

  @property
  def on_curve(self) -> list[int]:
    """Returns which epsilons make a curve: those of norms, or all thresholds.

    A masking threshold and a norm are no sizes of one another: where an attack
    is made at norms beside 0, thresholds are points beside its curve.
    """
    norms = [i for i, e in enumerate(self.epsilons) if not e.of_masking]
    if any(self.epsilons[i].same() != ('', 0.0) for i in norms):
      return norms
    return list(range(len(self.epsilons)))

  def describe(self, members: Sequence[Member]) -> dict[str, Any]:
    """Returns what it is as JSON, which tells it from any other of a sweep."""
    source = members[self.source]
    return {
      'source': source.name,
      'seed': source.seed,
      'attack': self.attack,
      'mask': self.mask,
      'transform': self.transform,
      'adaptive': self.adaptive,
      'epsilons': [epsilon.text for epsilon in self.epsilons],
    }

  def title(self, members: Sequence[Member]) -> str:
    """Returns what it is in a few words, for progress."""
    source = members[self.source]
    words = [self.attack, 'on', f'{source.name} seed {source.seed}', self.mask]
    if self.transform:
      words += [self.transform, *(['adaptive'] if self.adaptive else [])]
    return ' '.join(words)


def source_names(config: 'ml_collections.ConfigDict') -> tuple[str, ...]:
  """Returns the models that a sweep's attacks are made on.

  All, unless the config names some: whether a model resists its own attack is
  asked of each.
  """
  return tuple(config.sweep.sources) or tuple(config.models)


def plan(
  config: 'ml_collections.ConfigDict', members: Sequence[Member]
) -> list[PlannedAttack]:
  """Returns every attack of a sweep, in the order of its tables.

  Args:
    config: See configs/paper.py.
    members: Those of `config.models` and `config.seeds`, and others.
  """
  sweep = config.sweep
  everywhere = parse_epsilons(sweep.epsilons, masking=True)
  few = parse_epsilons(sweep.iterative.epsilons, masking=True) or everywhere
  plan = []
  for i, member in enumerate(members):
    if member.name not in source_names(config):
      continue

    def add(attack, mask, transform='', adaptive=False, i=i):
      resolved = named_attacks.make_attack(config, attack)
      epsilons = few if resolved.iterative else everywhere
      if resolved.unit:
        epsilons = parse_epsilons(sweep.feature_level.epsilons, resolved.unit)
      plan.append(PlannedAttack(i, attack, mask, transform, adaptive, epsilons))

    first, *others = sweep.masks
    for attack in sweep.attacks:
      add(attack, first)
    if member.name != config.source:
      continue
    for mask in others:
      add(sweep.attacks[0], mask)
    for transform in sweep.transforms:
      for attack in sweep.transform_attacks or sweep.attacks[:1]:
        for adaptive in (False, True):
          add(attack, first, transform, adaptive)
  return plan


def parse_epsilons(
  values: Sequence[str | float], unit: str = '', *, masking: bool = False
) -> tuple[audio.Epsilon, ...]:
  """Returns epsilons.

  Args:
    values: In any unit; see `audio.parse_epsilon`.
    unit: Of an attack on features: numbers are in it, and nothing else is
      taken; '' for one on the waveform.
    masking: Whether they may be masking thresholds.

  Raises:
    errors.InputError: If a value is no epsilon, or none of features, or two are
      the same.
  """

  def parse(value):
    return audio.parse_epsilon(value, masking=masking)

  parsed = tuple(map(parse, values))
  errors.check_distinct('a list of epsilons', values, lambda x: parse(x).same())
  if not unit:
    return parsed
  for epsilon in parsed:
    if epsilon.unit or epsilon.value > _LARGEST_OF_FEATURES:
      raise errors.InputError(
        'an epsilon of an attack on features must be a number from 0 to '
        f'{_LARGEST_OF_FEATURES:g}, in the unit of a feature ({unit}), got '
        f'{epsilon.text}; for example 4'
      )
  return tuple(audio.Epsilon(e.value, unit, e.text + unit) for e in parsed)


def parse_budgets(
  key: str,
  values: Sequence[str | float],
  *,
  zero: bool = True,
  masking: bool = False,
) -> tuple[audio.Epsilon, ...]:
  """Returns epsilons of samples, of which none goes beyond all audio.

  Args:
    key: What the user calls them.
    values: In any unit; see `audio.parse_epsilon`.
    zero: Whether 0 is one of them.
    masking: Whether they may be masking thresholds.

  Raises:
    errors.InputError: As of `parse_epsilons`, or if one lies outside [0, 1].
  """
  parsed = parse_epsilons(values, masking=masking)
  for epsilon in parsed:
    if epsilon.of_clip:
      continue
    radius = float(epsilon.radii(np.float32(0)))
    if not 0 <= radius <= 1 or not (radius or zero):
      raise errors.InputError(
        f'{key} must lie in {"[" if zero else "("}0, 1] (the model hears [0, '
        f'1]), got {epsilon.text}; the paper uses 0 to 0.032'
      )
  return parsed


def check_mask(attack: attacks.Attack, mask: str, num_samples: int) -> None:
  """Refuses a mask that an attack cannot keep to, or that leaves it nothing.

  Args:
    attack: Which one.
    mask: As `masks.parse` reads it.
    num_samples: Length of a clip.

  Raises:
    errors.InputError: In either case.
  """
  masks.check(mask, num_samples)
  if not masks.parse(mask).band_hz or attack.in_band:
    return
  if attack.unit:
    raise errors.InputError(
      'an attack on features cannot stay in a band, since the clip is rebuilt '
      f'in all frequencies, got mask {mask}; leave out the band, or attack the '
      'waveform'
    )
  what = (
    'square cannot stay in a band, since the edges of its windows leak'
    if attack.counts
    else 'an attack of your own without in_band cannot stay in a band'
  )
  raise errors.InputError(
    f'{what}, got mask {mask}; leave out the band, or take apgd_margin'
  )


def check_ceiling(
  name: str, attack: attacks.Attack, epsilons: Sequence[audio.Epsilon]
) -> None:
  """Refuses masking thresholds for an attack that cannot keep to them.

  Args:
    name: The attack's.
    attack: Itself.
    epsilons: That it is to be made at.

  Raises:
    errors.InputError: If it cannot, and one is such a threshold.
  """
  for epsilon in epsilons:
    if epsilon.of_masking and not attack.under_ceiling:
      raise errors.InputError(
        f'{name} cannot keep to a masking threshold, got epsilon '
        f'{epsilon.text}; take fgsm, bim, mi_fgsm, pgd, apgd_ce or apgd_margin,'
        ' or leave that epsilon out'
      )


def absolute_epsilons(values: Sequence[str | float]) -> tuple[float, ...]:
  """Returns those epsilons that are one for every clip, in the model's unit."""
  same = [e for e in parse_epsilons(values, masking=True) if not e.of_clip]
  # float32 carries seven digits.
  return tuple(float(f'{e.radii(np.float32(0)):.7g}') for e in same)
