"""Attacks by name, cut where an epsilon enters.

What does not depend on epsilon, above all the first gradient, is made once a
clip by `prepare`; `apply` then makes the examples of one epsilon. A sweep calls
both inside one compiled function.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from advspeech.attacks import constraints, feature_level
from advspeech.attacks.apgd import apgd
from advspeech.attacks.fgsm import (
  gradient_sign,
  perturb,
  perturb_within,
  steepest,
  unit_gradient,
)
from advspeech.attacks.nes import nes
from advspeech.attacks.pgd import bim, mi_fgsm, pgd
from advspeech.attacks.problem import Attack, Problem, prepare_nothing
from advspeech.attacks.square import square
from advspeech.attacks.universal import perturb_all, universal_step
from advspeech.attacks.universal_filter import (
  NUM_TAPS,
  filter_all,
  filter_step,
)

_Apply = Callable[[Problem, Any, jax.Array], jax.Array]
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
  counts = _Counts(num_steps, num_restarts, num_queries)
  if base.endswith(DOUBLED):
    base = base.removesuffix(DOUBLED)
    counts = _Counts(*(2 * count for count in counts))
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
      *_moving(representation, num_steps if iterative else 1),
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
  return maker(_Counts(1, 1, 1))[0] if maker else 'linf'


class _Counts(NamedTuple):
  num_steps: int
  num_restarts: int
  num_queries: int


def _limits(problem, norm):
  """Returns what a perturbation must keep to, by the names attacks have it."""
  limits = {'mask': problem.mask, 'band': problem.band}
  limits |= {'bounds': problem.bounds, 'norm': norm}
  if problem.ceiling is not None:
    limits |= {'norm': 'ceiling', 'ceiling': problem.ceiling}
  return limits


def _add_learnt(problem, direction, radii):
  """Returns the clips with one direction, [time], added to all."""
  return perturb_all(
    problem.audio,
    direction[None],
    radii[None],
    mask=problem.mask,
    bounds=problem.bounds,
  )[0]


def _add_filtered(problem, taps, radii):
  """Returns the clips with themselves added, through one filter, [num_taps]."""
  return filter_all(
    problem.audio,
    taps[None],
    radii[None],
    mask=problem.mask,
    band=problem.band,
    bounds=problem.bounds,
  )[0]


def _moving(
  representation: Any, num_steps: int
) -> tuple[Callable[[Problem], Any], _Apply]:
  """Returns the two halves of an attack on features, by FGSM if in one step."""

  def posed(problem):
    if problem.band is not None:
      raise ValueError(
        'an attack on features cannot stay in a band, since the clip is '
        'rebuilt in all frequencies; attack the waveform in the band, or the '
        'features without'
      )
    return feature_level.Problem(
      problem.loss_fn,
      problem.audio,
      representation,
      mask=problem.mask,
      bounds=problem.bounds,
    )

  def prepare(problem):
    return feature_level.prepare(posed(problem))

  def apply(problem, prepared, radii):
    problem = posed(problem)
    if num_steps == 1:
      change = feature_level.fgsm_change(prepared, radii)
    else:
      change = feature_level.pgd_change(
        problem, prepared, radii, num_steps=num_steps
      )
    return feature_level.rebuild(problem, prepared, change)

  return prepare, apply


def _single(norm, direction_fn):
  """Makes an attack that takes one step along one gradient."""

  def prepare(problem):
    if problem.ceiling is not None:
      threat = constraints.Threat(**_limits(problem, norm))
      return steepest(threat, problem.loss_fn, problem.audio)
    return direction_fn(
      problem.loss_fn, problem.audio, mask=problem.mask, band=problem.band
    )

  def apply(problem, direction, radii):
    if problem.ceiling is not None:
      threat = constraints.Threat(**_limits(problem, norm))
      return perturb_within(threat, problem.audio, direction, radii[None])[0]
    return perturb(
      problem.audio, direction, radii[None], bounds=problem.bounds
    )[0]

  return lambda counts: (norm, False, prepare, apply)


def _iterated(norm, attack_fn):
  """Makes an attack of one radius a clip out of `attack_fn`.

  Args:
    norm: 'linf' or 'l2'.
    attack_fn: Maps (problem, radii [1, batch], counts, norm and limits by name)
      to audio [1, batch, time].
  """

  def maker(counts):
    def apply(problem, nothing, radii):
      del nothing
      return attack_fn(problem, radii[None], counts, **_limits(problem, norm))[
        0
      ]

    return norm, True, prepare_nothing, apply

  return maker


def _from_clean(attack_fn):
  """Returns, for `_iterated`, an attack that starts at the clean clip."""
  return lambda problem, radii, counts, **limits: attack_fn(
    problem.loss_fn,
    problem.audio,
    radii,
    num_steps=counts.num_steps,
    **limits,
  )


def _pgd(problem, radii, counts, **limits):
  return pgd(
    problem.loss_fn,
    problem.audio,
    radii,
    problem.keys,
    num_steps=counts.num_steps,
    num_restarts=counts.num_restarts,
    rank_fn=problem.margin_fn,
    **limits,
  )


def _apgd_ce(problem, radii, counts, **limits):
  return _apgd(problem.loss_and_margin, problem, radii, counts, limits)


def _apgd_margin(problem, radii, counts, **limits):
  def objective_fn(audio):
    reached = problem.margin_fn(audio)
    return reached, reached

  return _apgd(objective_fn, problem, radii, counts, limits)


def _apgd(objective_fn, problem, radii, counts, limits):
  return apgd(
    objective_fn,
    problem.audio,
    radii,
    problem.keys,
    num_steps=counts.num_steps,
    num_restarts=counts.num_restarts,
    **limits,
  )


def _asking(attack_fn):
  """Returns, for `_iterated`, an attack that asks for margins."""
  return lambda problem, radii, counts, **limits: attack_fn(
    problem.margin_fn,
    problem.audio,
    radii,
    problem.keys,
    num_queries=counts.num_queries,
    **limits,
  )


_BOTH_NORMS = {
  'bim': _from_clean(bim),
  'mi_fgsm': _from_clean(mi_fgsm),
  'pgd': _pgd,
  'apgd_ce': _apgd_ce,
  'apgd_margin': _apgd_margin,
}
_SINGLE = {
  'fgsm': _single('linf', gradient_sign),
  'fgm': _single('l2', unit_gradient),
}
_BY_QUERIES = {'square': square, 'nes': nes}
_MAKERS = {
  **_SINGLE,
  **{
    name + suffix: _iterated(norm, attack_fn)
    for name, attack_fn in _BOTH_NORMS.items()
    for suffix, norm in (('', 'linf'), ('_l2', 'l2'))
  },
  **{
    name: _iterated('linf', _asking(attack_fn))
    for name, attack_fn in _BY_QUERIES.items()
  },
}
# Learnt on other clips than they are judged on.
_LEARNT = {
  'universal': Attack(
    *('linf', '', True, False, True, True, prepare_nothing, _add_learnt),
    learn=universal_step,
  ),
  'universal_filter': Attack(
    *('l2', '', True, False, True, True, prepare_nothing, _add_filtered),
    learn=filter_step,
    num_learnt=NUM_TAPS,
  ),
}
