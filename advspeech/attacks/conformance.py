"""Checks that every attack must pass, built in or the user's own.

  attacks.conformance.check(my_attack)

raises AssertionError with a sentence where one does not hold. A check takes the
attack as a function of (audio, epsilons, keys, mask=...) that returns clips
[num_epsilons, batch, time], as `attacks.fgsm` does, and the norm of its radii.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks.problem import Attack, Problem

AttackFn = Callable[..., jax.Array]
BATCH, TIME, NUM_CLASSES = 5, 64, 3
EPSILONS = (0.0, 0.05, 0.3)
# What rounding may add to a radius.
_RELATIVE, _ABSOLUTE = 1e-6, 6e-8


def clips(num_samples: int = TIME) -> jax.Array:
  """Returns the clips that attacks are tried on, [batch, time]."""
  return jax.random.uniform(jax.random.key(0), (BATCH, num_samples))


def keys() -> jax.Array:
  """Returns a typed key a clip, [batch]."""
  return jax.random.split(jax.random.key(1), BATCH)


def mask(num_samples: int = TIME) -> jax.Array:
  """Returns 1 on the samples that may be touched, fewer from row to row."""
  until = jnp.array([[1.0], [0.8], [0.5], [0.1], [0.0]]) * num_samples
  return (jnp.arange(num_samples)[None] < jnp.maximum(until, 1)) * 1.0


def logits_fn(audio: jax.Array) -> jax.Array:
  """Returns logits [batch, num_classes] of a curved model, row by row.

  Sums over single rows alone: their bits do not depend on the batch.
  """
  time = jnp.arange(audio.shape[1])[None]

  def score(i):
    centre = 0.5 + 0.2 * jnp.cos(time * (0.9 + i))
    weights = 3 * jnp.sin(time * (1.7 + i))
    return jnp.sum((audio - centre) ** 2 + jnp.sin(audio * weights), -1)

  return jnp.stack([score(i) for i in range(NUM_CLASSES)], -1)


def epsilon_zero_is_the_clip(attack_fn: AttackFn, norm: str) -> None:
  """Epsilon 0 returns the clip bit for bit."""
  del norm
  audio = clips()
  out = attack_fn(audio, jnp.array(EPSILONS), keys())
  _hold((out[0] == audio).all(), 'changes clips at epsilon 0')


def radius_is_kept(attack_fn: AttackFn, norm: str) -> None:
  """No perturbation is larger than its epsilon."""
  audio, epsilons = clips(), jnp.array(EPSILONS)
  out = attack_fn(audio, epsilons, keys())
  order = 2 if norm == 'l2' else jnp.inf
  sizes = jnp.linalg.norm(out - audio[None], order, axis=-1)
  within = sizes <= epsilons[:, None] * (1 + _RELATIVE) + _ABSOLUTE
  _hold(
    within.all(), f'leaves the radius: {sizes.max(1)} in {norm} at {epsilons}'
  )


def bounds_are_kept(attack_fn: AttackFn, norm: str) -> None:
  """No sample leaves [0, 1]."""
  del norm
  out = attack_fn(clips(), jnp.array(EPSILONS), keys())
  low, high = float(out.min()), float(out.max())
  _hold(low >= 0 and high <= 1, f'leaves [0, 1]: samples from {low} to {high}')


def masked_samples_stay(attack_fn: AttackFn, norm: str) -> None:
  """Samples where the mask is 0 stay bit for bit."""
  del norm
  audio, part = clips(), mask()
  out = attack_fn(audio, jnp.array(EPSILONS), keys(), mask=part)
  changed = (out != audio[None]) & (part == 0)[None]
  _hold(not changed.any(), f'changes {int(changed.sum())} masked samples')


def a_clip_alone_is_the_same(attack_fn: AttackFn, norm: str) -> None:
  """A clip's result does not depend on the clips beside it."""
  del norm
  audio, epsilons = clips(), jnp.array(EPSILONS)
  out = attack_fn(audio, epsilons, keys())
  for i in (0, 3):
    row = slice(i, i + 1)
    alone = attack_fn(audio[row], epsilons, keys()[row])
    _hold(
      (alone[:, 0] == out[:, i]).all(),
      f'makes something else of clip {i} alone than in a batch of {BATCH}',
    )


def epsilons_are_apart(attack_fn: AttackFn, norm: str) -> None:
  """An epsilon's result does not depend on the epsilons beside it."""
  del norm
  audio, epsilons = clips(), jnp.array(EPSILONS)
  out = attack_fn(audio, epsilons, keys())
  turned = attack_fn(audio, epsilons[::-1], keys())
  _hold((turned[::-1] == out).all(), 'mixes epsilons')


CHECKS = (
  epsilon_zero_is_the_clip,
  radius_is_kept,
  bounds_are_kept,
  masked_samples_stay,
  a_clip_alone_is_the_same,
  epsilons_are_apart,
)


def shapes_are_refused(attack_fn: AttackFn) -> None:
  """Shapes that do not go together are refused, in words that say what to do.

  For a function called as these checks call it; an attack of a sweep is given
  a `Problem`, whose shapes are right.
  """
  audio, epsilons = clips(), jnp.array(EPSILONS)
  short = jnp.ones((2, 3))
  for args, kwargs, words in (
    ((audio, 0.02, keys()), {}, 'one-dimensional'),
    ((audio, short, keys()), {}, 'a radius a clip, got shape'),
    ((audio, epsilons, keys()), {'mask': short}, 'the shape of audio'),
    ((audio[0], epsilons, keys()), {}, 'audio must be [batch, time]'),
  ):
    try:
      attack_fn(*args, **kwargs)
    except ValueError as e:
      _hold(
        words in str(e), f'refuses a shape without the words {words!r}: {e}'
      )
    else:
      _hold(False, f'takes a shape that should be refused: {words}')


def function_of(attack: Attack) -> AttackFn:
  """Returns an attack of a sweep as the checks call it, on `logits_fn`."""

  def attack_fn(audio, epsilons, keys, *, mask=None):
    goal = jnp.argmax(logits_fn(audio), -1)
    if attack.targeted:
      goal = (goal + 1) % NUM_CLASSES
    problem = Problem(
      audio, logits_fn, goal, attack.targeted, keys, mask, None, (0.0, 1.0)
    )
    given = attack.prepare(problem)
    if attack.fitted:  # any direction will do
      num_learnt = attack.length_learnt(audio.shape[1])
      given = jnp.sin(jnp.arange(num_learnt) * 1.3)
    radii = jnp.broadcast_to(epsilons[:, None], (len(epsilons), len(audio)))
    return jax.lax.map(lambda r: attack.apply(problem, given, r), radii)

  return attack_fn


def check(attack: Attack) -> None:
  """Raises AssertionError at the first check that an attack does not pass.

  Args:
    attack: On the waveform; see `attacks.make` and `attacks.from_function`.

  Raises:
    ValueError: If it is one on features, which has its radius there and leaves
      a clip rebuilt at radius 0.
  """
  if attack.unit:
    raise ValueError(
      'these checks are of attacks on the waveform, got one on features in '
      f'{attack.unit}'
    )
  attack_fn = jax.jit(function_of(attack))
  for holds in CHECKS:
    holds(attack_fn, attack.norm)


def _hold(condition, what):
  if not condition:
    raise AssertionError(f'the attack {what}')
