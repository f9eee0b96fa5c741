"""Attacks by name, cut where an epsilon enters.

What does not depend on epsilon, above all the first gradient, is made once a
clip by `prepare`; `apply` then makes the examples of one epsilon. A sweep calls
both inside one compiled function.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from advspeech.attacks import feature_level
from advspeech.attacks.apgd import apgd
from advspeech.attacks.constraints import add, masked
from advspeech.attacks.fgsm import gradient_sign, perturb, unit_gradient
from advspeech.attacks.losses import (
  cross_entropy,
  margin,
  targeted_cross_entropy,
  targeted_margin,
)
from advspeech.attacks.pgd import bim, mi_fgsm, pgd
from advspeech.attacks.square import square
from advspeech.attacks.universal import perturb_all

_TARGETED = '-targeted'
# Attacks on features rebuilt to audio, by how many gradients they take.
ON_FEATURES = ('mfcc', 'spectrogram')
_STEPS = '_pgd'


class Problem(NamedTuple):
  """What an attack is given, for the clips of a batch.

  Attributes:
    audio: [batch, time] clean clips.
    logits_fn: Maps audio [batch, time] to logits [batch, num_classes].
    goal: [batch] classes to leave, or to reach if targeted.
    targeted: Which of the two.
    keys: [batch] typed PRNG keys, one a clip.
    mask: [batch, time] or None; samples with 0 are not touched.
    band: [time // 2 + 1] weights of rfft bins, or None.
    bounds: Smallest and largest legal sample.
  """

  audio: jax.Array
  logits_fn: Callable[[jax.Array], jax.Array]
  goal: jax.Array
  targeted: bool
  keys: jax.Array
  mask: jax.Array | None
  band: jax.Array | None
  bounds: tuple[float, float]

  def loss_fn(self, audio: jax.Array) -> jax.Array:
    """Returns the cross entropy to ascend, [batch]."""
    return self.loss_and_margin(audio)[0]

  def margin_fn(self, audio: jax.Array) -> jax.Array:
    """Returns margins, [batch], positive where the goal is reached."""
    return self.loss_and_margin(audio)[1]

  def perturbed(self, change: jax.Array) -> jax.Array:
    """Returns the clips with a change added, within mask and bounds."""
    return add(self.audio, masked(change, self.mask), bounds=self.bounds)

  def loss_and_margin(self, audio: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both, from one pass through the model."""
    logits = self.logits_fn(audio)
    if self.targeted:
      return (
        targeted_cross_entropy(logits, self.goal),
        targeted_margin(logits, self.goal),
      )
    return cross_entropy(logits, self.goal), margin(logits, self.goal)


class Attack(NamedTuple):
  """An attack in two halves.

  Attributes:
    norm: 'linf' or 'l2': what bounds its perturbations.
    unit: Of its radii; '' for that of the audio. Any other is that of the
      features it moves: such an attack rebuilds the clip from them, and at
      radius 0 leaves it with the conversion loss.
    iterative: Whether it takes many gradients or queries an epsilon.
    targeted: Whether the problem is to ask for a chosen class.
    in_band: Whether it can stay in a frequency band.
    fitted: Whether `apply` takes a direction [time] that was learnt before on
      other clips, as its auxiliary.
    prepare: Maps a `Problem` to arrays with a row a clip.
    apply: Maps (problem, those arrays, radii [batch]) to adversarial audio
      [batch, time]; for 'l2' radii are L2 norms, for attacks on features
      max-norms of the change of these.
    counts: Steps, restarts and queries, of an iterative attack: what else tells
      it from others of its name.
    title: What figures call it; '' for its name.
  """

  norm: str
  unit: str
  iterative: bool
  targeted: bool
  in_band: bool
  fitted: bool
  prepare: Callable[[Problem], Any]
  apply: Callable[[Problem, Any, jax.Array], jax.Array]
  counts: tuple[int, ...] = ()
  title: str = ''


def from_function(
  attack_fn: Callable[[Problem, jax.Array], jax.Array],
  *,
  norm: str = 'linf',
  iterative: bool = False,
  in_band: bool = False,
  title: str = '',
) -> Attack:
  """Returns an attack of the user's own.

  Args:
    attack_fn: Maps (problem, radii [batch]) to adversarial audio [batch, time],
      clip by clip, to be compiled.
    norm: 'linf' or 'l2': what radii bound.
    iterative: Whether it takes many gradients or queries, and so is made at
      fewer epsilons.
    in_band: Whether it keeps to `problem.band`.
    title: What figures call it.
  """

  def apply(problem, nothing, radii):
    del nothing
    return attack_fn(problem, radii)

  return Attack(
    norm,
    '',
    iterative,
    False,
    in_band,
    False,
    _nothing,
    apply,
    title=title or getattr(attack_fn, 'title', ''),
  )


def names() -> tuple[str, ...]:
  """Returns the names of all attacks.

  `_l2` is an attack bounded in L2, `-targeted` one that asks for a class,
  `mfcc` and `spectrogram` are on features, by FGSM or by PGD.
  """
  on_features = (f'{n}{steps}' for n in ON_FEATURES for steps in ('', _STEPS))
  untargeted = (*_MAKERS, 'universal', *on_features)
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
    num_queries: Of Square.
    representations: For each of `ON_FEATURES` the features it moves: see
      `attacks.feature_level`, and a `unit`.

  Raises:
    ValueError: If the name is unknown.
  """
  base = name.removesuffix(_TARGETED)
  targeted = base != name
  if base == 'universal':
    return Attack('linf', '', True, targeted, True, True, _nothing, _add_learnt)
  if name not in names():
    raise ValueError(
      f'an attack must be one of {", ".join(names())}, got {name!r}'
    )
  counts = _Counts(num_steps, num_restarts, num_queries)
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
  )


def norm_of(name: str) -> str:
  """Returns the norm that an attack is bounded in, 'linf' or 'l2'.

  Args:
    name: One of `names()`.
  """
  maker = _MAKERS.get(name.removesuffix(_TARGETED))
  return maker(_Counts(1, 1, 1))[0] if maker else 'linf'


class _Counts(NamedTuple):
  num_steps: int
  num_restarts: int
  num_queries: int


def _limits(problem):
  return {'mask': problem.mask, 'band': problem.band, 'bounds': problem.bounds}


def _nothing(problem):
  del problem
  return ()


def _add_learnt(problem, direction, radii):
  """Returns the clips with one direction, [time], added to all."""
  return perturb_all(
    problem.audio,
    direction[None],
    radii[None],
    mask=problem.mask,
    bounds=problem.bounds,
  )[0]


def _moving(representation, num_steps):
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
    return direction_fn(
      problem.loss_fn, problem.audio, mask=problem.mask, band=problem.band
    )

  def apply(problem, direction, radii):
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
      return attack_fn(
        problem, radii[None], counts, norm=norm, **_limits(problem)
      )[0]

    return norm, True, _nothing, apply

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


def _square(problem, radii, counts, **limits):
  return square(
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
_MAKERS = {
  'fgsm': _single('linf', gradient_sign),
  'fgm': _single('l2', unit_gradient),
  **{
    name + suffix: _iterated(norm, attack_fn)
    for name, attack_fn in _BOTH_NORMS.items()
    for suffix, norm in (('', 'linf'), ('_l2', 'l2'))
  },
  'square': _iterated('linf', _square),
}
