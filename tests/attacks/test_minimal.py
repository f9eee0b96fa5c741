"""Smallest epsilons against loops over the grid, and where bisection lies."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advspeech import attacks

EPSILONS = np.array([0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32], np.float32)


def column(text):
  return np.array([[c == 'x' for c in text]]).T


def test_a_threshold_is_found_by_both():
  out = attacks.minimal_perturbation(column('...xxxx'), EPSILONS)
  assert out.epsilon == out.bisected == EPSILONS[3]
  assert out.num_islands == 1
  assert out.monotone


def test_bisection_misses_the_first_island():
  out = attacks.minimal_perturbation(column('.x...xx'), EPSILONS)
  assert out.epsilon == EPSILONS[1]
  assert out.bisected == EPSILONS[5]
  assert out.num_islands == 2
  assert not out.monotone


def test_bisection_never_begins_where_the_largest_epsilon_fails():
  out = attacks.minimal_perturbation(column('..x.x..'), EPSILONS)
  assert out.epsilon == EPSILONS[2]
  assert np.isinf(out.bisected)
  assert out.num_islands == 2


def test_where_nothing_succeeds_all_is_infinite():
  out = attacks.minimal_perturbation(column('.......'), EPSILONS)
  assert np.isinf(out.epsilon)
  assert np.isinf(out.bisected)
  assert out.num_islands == 0
  assert out.monotone


def test_a_clip_wrong_from_the_start_needs_nothing():
  out = attacks.minimal_perturbation(column('xxxxxxx'), EPSILONS)
  assert out.epsilon == out.bisected == 0
  assert out.monotone


def bisect(success, epsilons):
  if not success[-1]:
    return np.inf
  low, high = -1, len(success) - 1
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if success[middle] else (middle, high)
  return epsilons[high]


JITTED = jax.jit(attacks.minimal_perturbation)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), size=st.sampled_from([1, 2, 8, 13]))
def test_on_random_grids_in_any_order_agrees_with_loops(seed, size):
  rng = np.random.default_rng(seed)
  success = rng.random((size, 9)) < 0.5
  epsilons = np.sort(rng.random((size, 9)).astype(np.float32), axis=0)
  mixed = rng.permutation(size)
  out = JITTED(success[mixed], epsilons[mixed])
  for i in range(9):
    hits = epsilons[success[:, i], i]
    assert out.epsilon[i] == (hits.min() if hits.size else np.inf)
    text = ''.join('x' if s else ' ' for s in success[:, i])
    assert out.num_islands[i] == len(text.split())
    assert out.monotone[i] == (text == ''.join(sorted(text)))
    assert out.bisected[i] == bisect(success[:, i], epsilons[:, i])


def test_shapes_that_do_not_go_together_are_refused():
  for success in (column('.x')[:, 0], column('.x')):
    with pytest.raises(ValueError, match=r'success must be \[num_epsilons'):
      attacks.minimal_perturbation(success, EPSILONS)
