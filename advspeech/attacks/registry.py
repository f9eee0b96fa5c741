"""Attacks by name."""

from collections.abc import Mapping
from typing import Any

from advspeech.attacks import halves
from advspeech.attacks.fgsm import gradient_sign, unit_gradient
from advspeech.attacks.nes import nes
from advspeech.attacks.pgd import bim, mi_fgsm
from advspeech.attacks.problem import Attack, prepare_nothing
from advspeech.attacks.square import square
from advspeech.attacks.universal import universal_step
from advspeech.attacks.universal_filter import NUM_TAPS, filter_step

_TARGETED = '-targeted'
# Attacks on features rebuilt to audio, by how many gradients they take.
ON_FEATURES = ('mfcc', 'spectrogram')
_STEPS = '_pgd'
# Behind the name of an iterative attack: with twice of all its counts.
DOUBLED = '-doubled'


def names() -> tuple[str, ...]:
  """Returns the names of all attacks.

  `_l2` is an attack bounded in L2, `-targeted` one that asks for a class,
  `-doubled` one with twice the steps, starts and queries; `mfcc` and
  `spectrogram` are on features, by FGSM or by PGD.
  """
  on_features = (f'{n}{steps}' for n in ON_FEATURES for steps in ('', _STEPS))
  doubled = (f'{n}{DOUBLED}' for n in _MAKERS if n not in _SINGLE)
  untargeted = (*_MAKERS, *_LEARNT, *on_features, *doubled)
  return (*untargeted, *(f'{n}{_TARGETED}' for n in untargeted))


def make(
  name: str,
  *,
  num_steps: int,
  num_restarts: int,
  num_queries: int,
  representations: Mapping[str, Any],
) -> Attack:
  """Returns an attack by name.

  Args:
    name: One of `names()`.
    num_steps: Gradients of an iterative attack.
    num_restarts: Random starts of PGD and APGD.
    num_queries: Of Square and NES.
    representations: For each of `ON_FEATURES` the features it moves: see
      `attacks.feature_level`, and a `unit`.

  Raises:
    ValueError: If the name is unknown.
  """
  base = name.removesuffix(_TARGETED)
  targeted = base != name
  if base in _LEARNT:
    return _LEARNT[base]._replace(targeted=targeted)
  if name not in names():
    raise ValueError(
      f'an attack must be one of {", ".join(names())}, got {name!r}'
    )
  counts = halves.Counts(num_steps, num_restarts, num_queries)
  if base.endswith(DOUBLED):
    base = base.removesuffix(DOUBLED)
    counts = halves.Counts(*(2 * count for count in counts))
  if base.removesuffix(_STEPS) in ON_FEATURES:
    representation = representations[base.removesuffix(_STEPS)]
    iterative = base.endswith(_STEPS)
    return Attack(
      'linf',
      representation.unit,
      iterative,
      targeted,
      False,
      False,
      *halves.moving(representation, num_steps if iterative else 1),
      tuple(counts) if iterative else (),
    )
  norm, iterative, prepare, apply = _MAKERS[base](counts)
  in_band = base != 'square'
  return Attack(
    norm,
    '',
    iterative,
    targeted,
    in_band,
    False,
    prepare,
    apply,
    tuple(counts) if iterative else (),
    under_ceiling=norm == 'linf' and base not in _BY_QUERIES,
  )


def asks_only(name: str) -> bool:
  """Returns whether an attack asks for scores and takes no gradient.

  Args:
    name: One of `names()`, or the user's own, which is taken to take one.
  """
  return name.removesuffix(_TARGETED).removesuffix(DOUBLED) in _BY_QUERIES


def norm_of(name: str) -> str:
  """Returns the norm that an attack is bounded in, 'linf' or 'l2'.

  Args:
    name: One of `names()`.
  """
  base = name.removesuffix(_TARGETED)
  if base in _LEARNT:
    return _LEARNT[base].norm
  maker = _MAKERS.get(base.removesuffix(DOUBLED))
  return maker(halves.Counts(1, 1, 1))[0] if maker else 'linf'


_BOTH_NORMS = {
  'bim': halves.from_clean(bim),
  'mi_fgsm': halves.from_clean(mi_fgsm),
  'pgd': halves.ranked_pgd,
  'apgd_ce': halves.apgd_ce,
  'apgd_margin': halves.apgd_margin,
}
_SINGLE = {
  'fgsm': halves.single('linf', gradient_sign),
  'fgm': halves.single('l2', unit_gradient),
}
_BY_QUERIES = {'square': square, 'nes': nes}
_MAKERS = {
  **_SINGLE,
  **{
    name + suffix: halves.iterated(norm, attack_fn)
    for name, attack_fn in _BOTH_NORMS.items()
    for suffix, norm in (('', 'linf'), ('_l2', 'l2'))
  },
  **{
    name: halves.iterated('linf', halves.asking(attack_fn))
    for name, attack_fn in _BY_QUERIES.items()
  },
}
# Learnt on other clips than they are judged on.
_LEARNT = {
  'universal': Attack(
    *('linf', '', True, False, True, True, prepare_nothing, halves.add_learnt),
    learn=universal_step,
  ),
  'universal_filter': Attack(
    *('l2', '', True, False, True, True, prepare_nothing, halves.add_filtered),
    learn=filter_step,
    num_learnt=NUM_TAPS,
  ),
}
