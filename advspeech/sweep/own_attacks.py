"""Whether attacks by a model's own gradient are as strong as they could be."""

import collections
from collections.abc import Iterator

import numpy as np

from advspeech import attacks, checks
from advspeech.sweep import named_attacks, planning
from advspeech.sweep import results as results_lib

# An epsilon so far above a clip is taken to hold any other clip: speech peaks
# some 20 dB above its RMS.
_HELD_DB = -20.0
# What rounding may take off such an epsilon.
_ROUNDING = 1e-4
# What a sentence calls a norm.
_NORMS = {'linf': 'max-norm', 'l2': 'L2'}
# Where a perturbation may turn a recording into another.
_WHOLE = ('all', 'recorded')

Found = Iterator[tuple[checks.Finding, str | None]]


def findings(results: results_lib.Results, t: int) -> Found:
  """Yields signs that a source is less robust than its own attacks make out.

  Each with the attack that it is of, or None.

  Args:
    results: Of the sweep.
    t: Index of the source.
  """
  if not (results.sweep.members[t].labels >= 0).any():
    return
  yield from _without_gradient(results, t)
  yield from _of_doubled(results, t)
  if results.sweep.plan[0].mask in _WHOLE:
    yield from _of_large(results, t)


def _wrong(results, planned, t):
  """Returns who is judged wrong, [num_epsilons, num_clips with a label]."""
  labels = results.sweep.members[t].labels
  known = labels >= 0
  return results.judged[planned].predictions[:, 0, t][:, known] != labels[known]


def _without_gradient(results, t):
  """Yields where a source breaks more without its own gradient, if it does."""
  sweep = results.sweep
  by_epsilon = collections.defaultdict(lambda: ({}, {}))
  for planned in results.plain.values():
    if planned.mask != sweep.plan[0].mask or planned.on_features:
      continue
    source = sweep.members[planned.source]
    wrong = _wrong(results, planned, t)
    name = planned.attack
    if planned.source != t:
      name += f' on {source.name} seed {source.seed}'
    needs_none = planned.source != t or attacks.asks_only(planned.attack)
    # Of one norm, and so of one control.
    control = named_attacks.control_of(planned.attack)
    for e, epsilon in enumerate(planned.epsilons):
      by_epsilon[control, epsilon.text][needs_none][name] = wrong[e]
  confidence = 1 - (1 - results.confidence) / max(1, len(by_epsilon))
  found = []
  for (_, epsilon), (by_gradient, without) in by_epsilon.items():
    found += checks.masked_gradients(by_gradient, without, epsilon, confidence)
  # The clearest of all epsilons.
  found.sort(key=lambda x: x.values['own_error'] - x.values['other_error'])
  yield from ((finding, None) for finding in found[:1])


def _searches(results, t):
  """Returns a source's own attacks of many steps or queries, by name."""
  sweep = results.sweep
  return {
    planned.attack: planned
    for planned in results.plain.values()
    if (planned.source, planned.mask) == (t, sweep.plan[0].mask)
    and sweep.attacks[planned.attack].iterative
    and not sweep.attacks[planned.attack].fitted
    and not planned.on_features
  }


def _of_doubled(results, t):
  """Yields attacks that find more where they are given more."""
  searches = _searches(results, t)
  for name, planned in searches.items():
    doubled = searches.get(f'{name}{attacks.DOUBLED}')
    if doubled is None:
      continue
    # Each epsilon at a share of the level (Bonferroni).
    level = (1 - results.confidence) / len(planned.epsilons)
    found = []
    for epsilon, *pair in zip(
      planned.epsilons,
      _wrong(results, planned, t),
      _wrong(results, doubled, t),
      strict=True,
    ):
      found += checks.not_converged(*pair, name, epsilon.text, 1 - level)
    found.sort(key=lambda x: x.values['error'] - x.values['doubled_error'])
    yield from ((finding, name) for finding in found[:1])


def _of_large(results, t):
  """Yields clips that are left where a ball holds all others, by norm."""
  sweep = results.sweep
  known = sweep.members[t].labels >= 0
  signal_rms = results.levels.signal_rms[known]
  least = signal_rms * 10 ** (-_HELD_DB / 20) * (1 - _ROUNDING)
  families = collections.defaultdict(list)
  for name, planned in _searches(results, t).items():
    if not (sweep.attacks[name].targeted or attacks.asks_only(planned.attack)):
      families[named_attacks.control_of(name)].append(planned)
  for control in planning.CONTROLS:
    if control not in families:
      continue
    radii, broken = (
      np.concatenate([of(planned) for planned in families[control]])
      for of in (
        lambda planned: _norms(results, planned)[:, known],
        lambda planned: _wrong(results, planned, t),
      )
    )
    held = (radii.max(0) >= least) & (signal_rms > 0)
    norm = _NORMS[sweep.attacks[families[control][0].attack].norm]
    for finding in checks.unbroken_clips(broken.any(0), held, _HELD_DB, norm):
      yield finding, None


def _norms(results, planned):
  """Returns radii in the attack's norm, [num_epsilons, num_clips].

  0 of masking thresholds, which bound no norm.
  """
  in_norm = np.array([not e.of_masking for e in planned.epsilons])
  return results.sizes(planned) * in_norm[:, None]
