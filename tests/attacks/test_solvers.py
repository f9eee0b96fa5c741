"""Attacks that spare a loss: closed forms, one size, nothing else touched."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import solvers

TIME = 64
RNG = np.random.default_rng(0)
AUDIO = jnp.asarray(0.5 + 0.1 * RNG.normal(size=(3, TIME)), jnp.float32)
LOSS, OTHER = np.linalg.qr(RNG.normal(size=(TIME, 2)))[0].T
SPARED = jnp.asarray(0.6 * LOSS + 0.8 * OTHER, jnp.float32)
LOSS = jnp.asarray(LOSS, jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 3)
RADII = jnp.array([0.0, 0.1, 0.3])


def loss_fn(x):
  return x @ LOSS


def spared_fn(x):
  return x @ SPARED


def drift_fn(x):
  """Zero at the clean clips, whichever of them x has as many as."""
  return 20 * jnp.square((x - AUDIO[: len(x)]) @ SPARED)


@functools.partial(jax.jit, static_argnames=('solver', 'spared', 'steps'))
def made(solver, spared=spared_fn, weight=1.0, steps=30, radii=RADII, **more):
  num = len(radii)
  return attacks.sparing(
    solver,
    loss_fn,
    spared,
    AUDIO[:num],
    radii,
    KEYS[:num],
    weight=weight,
    num_steps=steps,
    **more,
  )


def directions(found):
  change = np.asarray(found - AUDIO)[1:]
  return change / np.linalg.norm(change, axis=-1, keepdims=True)


@pytest.mark.parametrize('solver', attacks.SOLVERS)
def test_the_whole_budget_is_spent_and_nothing_at_radius_zero(solver):
  found = made(solver, drift_fn)
  np.testing.assert_allclose(
    np.linalg.norm(found - AUDIO, axis=-1), RADII, rtol=1e-5
  )
  np.testing.assert_array_equal(found[0], AUDIO[0])


@pytest.mark.parametrize('weight', [1.0, 0.7, 0.2])
def test_weighted_follows_the_weighted_sum(weight):
  wanted = weight * LOSS - (1 - weight) * SPARED
  for one in directions(made('weighted', weight=weight)):
    assert one @ wanted / np.linalg.norm(wanted) > 0.999


def test_another_weight_does_not_recompile():
  made('weighted', weight=0.3)
  before = made._cache_size()
  made('weighted', weight=0.4)
  assert made._cache_size() == before


def test_projected_leaves_out_what_would_raise_the_spared_loss():
  wanted = LOSS - 0.6 * SPARED
  for one in directions(made('projected')):
    assert one @ wanted / np.linalg.norm(wanted) > 0.999
  # Nothing of what lowers it.
  for one in directions(made('projected', spared=lowered)):
    assert one @ LOSS > 0.999


def lowered(x):
  return -spared_fn(x)


def test_a_multiplier_keeps_the_spared_loss_near_what_is_tolerated():
  free = made('weighted', drift_fn)
  spared = made('multiplier', drift_fn, steps=100)
  assert drift_fn(free)[2] > 4 * solvers.TOLERATED
  assert drift_fn(spared)[2] < 1.5 * solvers.TOLERATED
  # Where less is done than is tolerated it does not hold back.
  small = RADII[:2] / 4
  np.testing.assert_allclose(
    loss_fn(made('multiplier', drift_fn, radii=small)),
    loss_fn(made('weighted', drift_fn, radii=small)),
    atol=2e-3,
  )


@pytest.mark.parametrize('solver', attacks.SOLVERS)
def test_mask_and_bounds_hold_and_neighbours_do_not_matter(solver):
  mask = jnp.ones_like(AUDIO).at[:, :20].set(0)
  bounds = (0.35, 0.65)
  found = made(solver, drift_fn, mask=mask, bounds=bounds)
  np.testing.assert_array_equal(found[:, :20], AUDIO[:, :20])
  inside = np.asarray(found[1:, 20:])
  was = np.asarray(AUDIO[1:, 20:])
  moved = inside != was
  assert inside[moved].min() >= 0.35
  assert inside[moved].max() <= 0.65
  alone = made(solver, drift_fn, radii=RADII[:2], mask=mask[:2], bounds=bounds)
  np.testing.assert_allclose(alone[1], found[1], atol=1e-6)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'solver': 'sum'}, "solver must be one of .*'multiplier'.*, got 'sum'"),
    ({'radii': jnp.zeros(2)}, r'radii must be one a clip, \(3,\), got \(2,\)'),
    ({'num_steps': 0}, 'num_steps'),
    ({'audio': AUDIO[0]}, r'must be \[batch, time\]'),
  ],
)
def test_what_does_not_fit_is_refused(change, message):
  arguments = {'audio': AUDIO, 'radii': RADII, 'keys': KEYS}
  arguments |= {'loss_fn': loss_fn, 'spared_fn': spared_fn}
  with pytest.raises(ValueError, match=message):
    attacks.sparing(**{'solver': 'weighted', **arguments, **change})
