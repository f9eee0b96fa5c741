"""FGSM and PGD on features of audio, and the audio rebuilt from them.

What the paper argues against (Figure 3, eqs. 6 and 7; Iter et al. 2017 on MFCC,
Kereliuk et al. 2015 on the magnitude spectrogram). An attack is given a
representation, any object with

  analyse(audio) -> (features, context)
  synthesise(features, context) -> audio      the attacker's way back
  invert(features, context) -> audio          the inverse next to the clip

such as those of `advspeech.features`. Every radius is in the unit of the
features, and bounds each of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

THROUGH = ('waveform', 'features')
METHODS = ('fgsm', 'pgd')
# PGD's steps together go this many radii far (Madry et al. 2018).
_REACH = 2.5


class Prepared(NamedTuple):
  """What does not depend on a radius, a row a clip.

  Attributes:
    features: [batch, ...] of the clean clips.
    context: What else rebuilding takes from them.
    unperturbed: [batch, time] rebuilt from the clean features: the clip with
      the conversion loss and nothing else.
    direction: [batch, ...] signs of the gradient at the clean features.
  """

  features: jax.Array
  context: Any
  unperturbed: jax.Array
  direction: jax.Array


class Problem(NamedTuple):
  """An attack on features, all but the radius.

  Attributes:
    loss_fn: Maps audio [batch, time] to losses [batch] to ascend; a clip's loss
      must not depend on its neighbours.
    audio: [batch, time] clean clips.
    representation: See above.
    through: What the gradient is taken through. 'waveform': the audio as it
      will be rebuilt, conversion loss and all. 'features': as the original
      authors did, who never rebuilt anything for it: their models read
      features, and J(features + change) was all they differentiated. A model
      of raw audio reads none, so the change is carried to the clip by the
      inverse next to it, J(audio + invert(features + change) -
      invert(features)): conversion loss and found phases do not exist.
    mask: [batch, time] or None; samples with 0 stay as they are in `audio`.
    bounds: Smallest and largest legal sample.
  """

  loss_fn: Callable[[jax.Array], jax.Array]
  audio: jax.Array
  representation: Any
  through: str = 'waveform'
  mask: jax.Array | None = None
  bounds: tuple[float, float] = (0.0, 1.0)


def feature_fgsm(problem: Problem, epsilons: jax.Array) -> jax.Array:
  """Returns audio rebuilt from features one step away, [num, batch, time].

  One gradient serves all epsilons. At epsilon 0 it is the clip rebuilt, not the
  clip: the conversion loss (eq. 6) remains.

  Args:
    problem: What is attacked.
    epsilons: [num] max-norm radii in the unit of the features.

  Raises:
    ValueError: If `epsilons` is not one-dimensional, or for what `prepare`
      refuses.
  """
  return _for_all(
    problem, epsilons, lambda prepared, radii: fgsm_change(prepared, radii)
  )


def feature_pgd(
  problem: Problem, epsilons: jax.Array, *, num_steps: int
) -> jax.Array:
  """Returns audio rebuilt from features many steps away, [num, batch, time].

  Args:
    problem: What is attacked.
    epsilons: [num] max-norm radii in the unit of the features.
    num_steps: Gradients a radius.

  Raises:
    ValueError: As for `feature_fgsm`.
  """
  return _for_all(
    problem,
    epsilons,
    lambda prepared, radii: pgd_change(
      problem, prepared, radii, num_steps=num_steps
    ),
  )


def _for_all(problem, epsilons, change_fn):
  epsilons = jnp.asarray(epsilons, problem.audio.dtype)
  if epsilons.ndim != 1:
    raise ValueError(
      'epsilons must be one-dimensional, got shape '
      f'{epsilons.shape}; wrap a single radius as [0.5]'
    )
  prepared = prepare(problem)

  def apply(epsilon):
    radii = jnp.full(problem.audio.shape[:1], epsilon)
    return rebuild(problem, prepared, change_fn(prepared, radii))

  return jax.lax.map(apply, epsilons)


def prepare(problem: Problem) -> Prepared:
  """Returns features, the clips rebuilt from them, and the first gradient.

  Raises:
    ValueError: If `through` is unknown, or `mask` and `audio` differ in shape.
  """
  if problem.through not in THROUGH:
    raise ValueError(
      f'through must be one of {", ".join(THROUGH)}, got {problem.through!r}'
    )
  if problem.mask is not None and problem.mask.shape != problem.audio.shape:
    raise ValueError(
      f'mask must have the shape of audio, got {problem.mask.shape} and '
      f'{problem.audio.shape}; use one row a clip, 1 on samples to attack'
    )
  features, context = problem.representation.analyse(problem.audio)
  blank = Prepared(features, context, problem.audio, jnp.zeros_like(features))
  gradient = _gradient(problem, blank, features)
  return Prepared(
    features,
    context,
    rebuild(problem, blank, jnp.zeros_like(features)),
    jnp.sign(gradient),
  )


def fgsm_change(prepared: Prepared, radii: jax.Array) -> jax.Array:
  """Returns FGSM's change of the features, [batch, ...], for radii [batch]."""
  return _column(radii, prepared.direction) * prepared.direction


def pgd_change(
  problem: Problem, prepared: Prepared, radii: jax.Array, *, num_steps: int
) -> jax.Array:
  """Returns PGD's change of the features, [batch, ...].

  Signed gradient steps of 2.5 radii / `num_steps` from the clean features,
  each brought back into the radius (Madry et al. 2018, without random start).

  Args:
    problem: What is attacked.
    prepared: Of it.
    radii: [batch] in the unit of the features.
    num_steps: Gradients.
  """
  radius = _column(radii, prepared.features)
  step_size = radius * (_REACH / num_steps)

  def step(change, _):
    gradient = _gradient(problem, prepared, prepared.features + change)
    change = change + step_size * jnp.sign(gradient)
    return jnp.clip(change, -radius, radius), None

  first = jnp.clip(step_size * prepared.direction, -radius, radius)
  return jax.lax.scan(step, first, None, num_steps - 1)[0]


def rebuild(
  problem: Problem, prepared: Prepared, change: jax.Array
) -> jax.Array:
  """Returns audio, [batch, time], rebuilt from features changed by `change`."""
  return _within(
    problem,
    problem.representation.synthesise(
      prepared.features + change, prepared.context
    ),
  )


def _gradient(problem, prepared, features):
  """Returns the gradient of the loss, as `through` says, at `features`."""

  def loss(features):
    if problem.through == 'waveform':
      audio = rebuild(problem, prepared, features - prepared.features)
    else:
      invert, context = problem.representation.invert, prepared.context
      change = invert(features, context) - invert(prepared.features, context)
      audio = _within(problem, problem.audio + change)
    return problem.loss_fn(audio).sum()

  return jax.grad(loss)(features)


def _within(problem, audio):
  audio = jnp.clip(audio, *problem.bounds)
  if problem.mask is None:
    return audio
  return jnp.where(problem.mask > 0, audio, problem.audio)


def _column(values, like):
  """Returns [batch] values that multiply arrays [batch, ...]."""
  return values.reshape(-1, *(1,) * (like.ndim - 1))


class Matched(NamedTuple):
  """Scales found for given sizes of the overall perturbation.

  Attributes:
    scale: [batch] by which the change was multiplied; 0 where unattainable.
    attainable: [batch] whether the target lies between nothing but the
      conversion loss and the largest scale tried.
  """

  scale: jax.Array
  attainable: jax.Array


def match(
  size_fn: Callable[[jax.Array], jax.Array],
  target: jax.Array,
  largest: jax.Array,
  *,
  smallest_ratio: float = 1e-5,
  num_steps: int = 14,
) -> Matched:
  """Returns the scale at which each clip's perturbation has a given size.

  Bisection on the logarithm of the scale, every clip for itself. The size need
  not be monotone: what is found is a scale where it crosses the target.

  Args:
    size_fn: Maps scales [batch] to sizes [batch] of the overall perturbation;
      at scale 0 that is the conversion loss alone.
    target: [batch] sizes wanted.
    largest: [batch] the largest scales tried.
    smallest_ratio: Of the smallest scale tried to the largest.
    num_steps: Halvings.
  """
  attainable = (size_fn(jnp.zeros_like(largest)) < target) & (
    size_fn(largest) >= target
  )

  def step(bracket, _):
    low, high = bracket
    middle = (low + high) / 2
    above = size_fn(jnp.exp(middle)) >= target
    return (jnp.where(above, low, middle), jnp.where(above, middle, high)), None

  high = jnp.log(largest)
  (_, high), _ = jax.lax.scan(
    step, (high + jnp.log(smallest_ratio), high), None, num_steps
  )
  return Matched(jnp.where(attainable, jnp.exp(high), 0), attainable)
