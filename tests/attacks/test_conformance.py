"""The checks themselves: what they let pass, and what they catch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import conformance

COUNTS = {'num_steps': 3, 'num_restarts': 1, 'num_queries': 10}
ON_WAVEFORM = [
  name
  for name in attacks.names()
  if not (
    name.startswith(attacks.ON_FEATURES)
    or name.endswith(('-targeted', attacks.DOUBLED))
  )
]


# The others are variants of these, in another norm, loss or step.
QUICK = ('fgsm', 'fgm', 'pgd', 'square', 'fgsm-targeted')


@pytest.mark.slow
@pytest.mark.parametrize(
  'name',
  [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in (*ON_WAVEFORM, 'fgsm-targeted')
  ],
)
def test_every_attack_of_a_sweep_passes(name):
  conformance.check(attacks.make(name, **COUNTS, representations={}))


def test_a_doubled_attack_is_that_of_twice_its_counts():
  twice = {name: 2 * count for name, count in COUNTS.items()}
  made = [
    attacks.make(name, **counts, representations={})
    for name, counts in (('pgd_l2-doubled', COUNTS), ('pgd_l2', twice))
  ]
  assert made[0].counts == made[1].counts
  assert attacks.norm_of('pgd_l2-doubled') == made[0].norm == 'l2'
  found, expected = (
    conformance.function_of(attack)(
      conformance.clips(), jnp.array([0.01]), conformance.keys()
    )
    for attack in made
  )
  np.testing.assert_array_equal(found, expected)


def test_what_takes_no_gradient_is_known_by_name():
  for name in ('square', 'nes', 'nes-doubled-targeted'):
    assert attacks.asks_only(name)
  for name in ('apgd_margin', 'universal', 'nested.squares:nes'):
    assert not attacks.asks_only(name)


def moved(problem, change):
  """A change, as a sound attack makes it."""
  out = jnp.clip(problem.audio + change, *problem.bounds)
  if problem.mask is not None:
    out = jnp.where(problem.mask > 0, out, problem.audio)
  return out


def sound(problem, radii):
  return moved(problem, radii[:, None] * jnp.ones_like(problem.audio))


def too_far(problem, radii):
  return moved(problem, 1.01 * radii[:, None] * jnp.ones_like(problem.audio))


def never_still(problem, radii):
  return moved(problem, radii[:, None] * 0 + 1e-3)


def out_of_bounds(problem, radii):
  out = problem.audio + radii[:, None]
  return jnp.where(jnp.ones_like(out) * radii[:, None] == 0, problem.audio, out)


def through_the_mask(problem, radii):
  return moved(problem._replace(mask=None), radii[:, None])


def neighbours(problem, radii):
  mean = problem.audio.mean(0, keepdims=True)
  return moved(problem, radii[:, None] * jnp.sign(problem.audio - mean))


def test_a_sound_attack_of_ones_own_passes():
  made = attacks.from_function(sound, title='Upwards')
  assert (made.norm, made.title, made.targeted) == ('linf', 'Upwards', False)
  conformance.check(made)
  with pytest.raises(AssertionError, match='leaves the radius'):
    conformance.check(attacks.from_function(sound, norm='l2'))


@pytest.mark.parametrize(
  ('attack_fn', 'message'),
  [
    (too_far, 'leaves the radius'),
    (never_still, 'changes clips at epsilon 0'),
    (out_of_bounds, 'leaves [0, 1]'),
    (through_the_mask, 'masked samples'),
    (neighbours, 'alone than in a batch of 5'),
  ],
)
def test_what_an_attack_must_not_do_is_caught(attack_fn, message):
  with pytest.raises(AssertionError, match=re.escape(message)):
    conformance.check(attacks.from_function(attack_fn))


def test_attacks_on_features_are_not_for_these_checks():
  made = attacks.from_function(sound)._replace(unit='dB')
  with pytest.raises(ValueError, match='got one on features in dB'):
    conformance.check(made)


def test_epsilons_that_depend_on_each_other_are_caught():
  def mixed(audio, epsilons, keys, *, mask=None):
    return audio[None] + 0 * epsilons[:, None, None] + epsilons[0]

  with pytest.raises(AssertionError, match='mixes epsilons'):
    conformance.epsilons_are_apart(jax.jit(mixed), 'linf')


def test_a_function_that_takes_any_shape_is_caught():
  def lenient(audio, epsilons, keys, *, mask=None):
    return audio

  with pytest.raises(AssertionError, match='takes a shape that should be'):
    conformance.shapes_are_refused(lenient)
