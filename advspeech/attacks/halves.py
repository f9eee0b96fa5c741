"""Attacks cut in two where an epsilon enters.

What does not depend on epsilon, above all the first gradient, is made once a
clip by `prepare`; `apply` then makes the examples of one epsilon. A sweep calls
both inside one compiled function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from advspeech.attacks import constraints, feature_level
from advspeech.attacks.apgd import apgd
from advspeech.attacks.fgsm import perturb, perturb_within, steepest
from advspeech.attacks.pgd import pgd
from advspeech.attacks.problem import Problem, prepare_nothing
from advspeech.attacks.universal import perturb_all
from advspeech.attacks.universal_filter import filter_all

Apply = Callable[[Problem, Any, jax.Array], jax.Array]


class Counts(NamedTuple):
  """What an attack may spend: gradients, random starts, queries."""

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


def add_learnt(problem, direction, radii):
  """Returns the clips with one direction, [time], added to all."""
  return perturb_all(
    problem.audio,
    direction[None],
    radii[None],
    mask=problem.mask,
    bounds=problem.bounds,
  )[0]


def add_filtered(problem, taps, radii):
  """Returns the clips with themselves added, through one filter, [num_taps]."""
  return filter_all(
    problem.audio,
    taps[None],
    radii[None],
    mask=problem.mask,
    band=problem.band,
    bounds=problem.bounds,
  )[0]


def moving(
  representation: Any, num_steps: int
) -> tuple[Callable[[Problem], Any], Apply]:
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


def single(norm, direction_fn):
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


def iterated(norm, attack_fn):
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


def from_clean(attack_fn):
  """Returns, for `iterated`, an attack that starts at the clean clip."""
  return lambda problem, radii, counts, **limits: attack_fn(
    problem.loss_fn,
    problem.audio,
    radii,
    num_steps=counts.num_steps,
    **limits,
  )


def ranked_pgd(problem, radii, counts, **limits):
  """Returns, for `iterated`, the best of PGD's starts by the margin."""
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


def apgd_ce(problem, radii, counts, **limits):
  """Returns, for `iterated`, APGD on the loss, the best by the margin."""
  return _apgd(problem.loss_and_margin, problem, radii, counts, limits)


def apgd_margin(problem, radii, counts, **limits):
  """Returns, for `iterated`, APGD on the margin."""

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


def asking(attack_fn):
  """Returns, for `iterated`, an attack that asks for margins."""
  return lambda problem, radii, counts, **limits: attack_fn(
    problem.margin_fn,
    problem.audio,
    radii,
    problem.keys,
    num_queries=counts.num_queries,
    **limits,
  )
