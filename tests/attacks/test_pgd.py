"""Iterated attacks against closed forms, and what restarts are for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks

WEIGHTS = np.array([[2.0, -1.0, 0.0, 0.5], [-3.0, 1e-3, 4.0, -0.1]], np.float32)
AUDIO = np.array([[0.5, 0.6, 0.4, 0.5], [0.3, 0.5, 0.7, 0.55]], np.float32)
KEYS = jax.random.split(jax.random.key(0), 2)
EPSILONS = [0.0, 0.01, 0.05]


def linear_loss(audio):
  return jnp.sum(audio * WEIGHTS, -1)


@pytest.mark.parametrize('attack', [attacks.bim, attacks.mi_fgsm])
def test_on_a_linear_loss_small_steps_end_where_one_step_does(attack):
  out = attack(linear_loss, AUDIO, EPSILONS)
  expected = attacks.fgsm(linear_loss, AUDIO, EPSILONS)
  np.testing.assert_allclose(out, expected, atol=2e-7)
  out = attack(linear_loss, AUDIO, EPSILONS, norm='l2')
  expected = attacks.fgm(linear_loss, AUDIO, EPSILONS)
  np.testing.assert_allclose(out, expected, atol=2e-7)


def test_on_a_linear_loss_pgd_reaches_the_corner_from_anywhere():
  """Steps of 2.5 radii in all cross the ball; zero gradients do not move."""
  out = attacks.pgd(linear_loss, AUDIO, EPSILONS, KEYS)
  expected = attacks.fgsm(linear_loss, AUDIO, EPSILONS)
  moved = np.broadcast_to(WEIGHTS != 0, out.shape)
  np.testing.assert_allclose(
    np.where(moved, out, 0), np.where(moved, expected, 0), atol=2e-7
  )
  assert out[2, 0, 2] != AUDIO[0, 2]


def test_steps_are_relative_to_epsilon():
  out = attacks.bim(
    linear_loss, AUDIO, [0.01, 0.05], num_steps=3, relative_step=0.2
  )
  for i, epsilon in enumerate([0.01, 0.05]):
    np.testing.assert_allclose(
      out[i] - AUDIO, 3 * 0.2 * epsilon * np.sign(WEIGHTS), atol=2e-7
    )


def test_gradients_are_taken_anew_at_every_step():
  """Ascending -(x - 0.53)^2 in steps of 0.01 ends beside its top."""

  def hill(audio):
    return -jnp.sum((audio - 0.53) ** 2, -1)

  audio = jnp.full((1, 4), 0.5)
  out = attacks.bim(hill, audio, [0.1])
  assert float(jnp.abs(out - 0.53).max()) <= 0.0101
  assert float(attacks.fgsm(hill, audio, [0.1]).min()) > 0.59


def test_momentum_is_the_decaying_sum_of_normalised_gradients():
  """Two steps by hand, from a gradient that turns round."""

  def loss_fn(audio):
    return -jnp.sum((audio - 0.51) ** 2 * jnp.array([[1.0, 3.0]]), -1)

  audio, step = np.array([[0.5, 0.5]]), 0.05
  first = np.array([0.25, 0.75])  # gradient over its L1 norm at the start
  for decay, expected in (
    (0.0, [0.5, 0.5]),
    (0.5, [0.5, 0.5]),
    (2.0, [0.6] * 2),
  ):
    second = decay * first + np.array([-0.25, -0.75])
    by_hand = audio + step + step * np.sign(second)
    np.testing.assert_allclose(by_hand[0], expected)
    out = attacks.mi_fgsm(
      loss_fn, audio.astype(np.float32), [0.1], num_steps=2, decay=decay
    )
    np.testing.assert_allclose(out[0], by_hand, atol=1e-6)


def two_peaks(audio):
  """A low peak towards 0, a high one towards 1, a valley at the clip."""
  x = audio.mean(-1) - 0.5
  return jnp.where(x < 0, x * x, 4 * x * x)


def test_a_clip_keeps_its_best_restart():
  audio = jnp.full((64, 1), 0.5)
  keys = jax.random.split(jax.random.key(1), 64)
  once = two_peaks(attacks.pgd(two_peaks, audio, [0.1], keys, num_steps=3)[0])
  assert 0.2 < float((once < 0.02).mean()) < 0.8
  for number, share in ((2, 0.4), (12, 0.02)):
    many = attacks.pgd(
      two_peaks, audio, [0.1], keys, num_steps=3, num_restarts=number
    )[0]
    assert (two_peaks(many) >= once).all()
    assert float((two_peaks(many) < 0.02).mean()) <= share


def test_restarts_may_be_ranked_by_another_function():
  audio = jnp.full((16, 1), 0.5)
  keys = jax.random.split(jax.random.key(1), 16)
  out = attacks.pgd(
    two_peaks,
    audio,
    [0.1],
    keys,
    num_steps=3,
    num_restarts=12,
    rank_fn=lambda a: -a.mean(-1),
  )
  np.testing.assert_allclose(out[0], audio - 0.1, atol=1e-6)


def test_the_best_of_scores_below_zero_is_kept_too():
  audio = jnp.full((16, 1), 0.5)
  keys = jax.random.split(jax.random.key(1), 16)

  def below(a):
    return two_peaks(a) - 9

  out = attacks.pgd(below, audio, [0.1], keys, num_steps=3, num_restarts=12)
  np.testing.assert_allclose(out[0], audio + 0.1, atol=1e-6)


def test_a_targeted_attack_is_given_another_loss():
  """Of three classes the target wins, not merely a wrong one."""
  weights = jax.random.normal(jax.random.key(2), (50, 3))
  audio = jnp.full((6, 50), 0.5)
  target = jnp.array([0, 1, 2, 0, 1, 2])
  keys = jax.random.split(jax.random.key(3), 6)

  def loss_fn(a):
    return attacks.targeted_margin((a - 0.5) @ weights, target)

  for out in (
    attacks.fgsm(loss_fn, audio, [0.1]),
    attacks.pgd(loss_fn, audio, [0.1], keys, num_steps=10),
  ):
    logits = (out[0] - 0.5) @ weights
    np.testing.assert_array_equal(logits.argmax(-1), target)


@pytest.mark.parametrize('count', ['num_steps', 'num_restarts'])
def test_counts_below_one_are_refused(count):
  with pytest.raises(ValueError, match=f'{count} must be at least 1, got 0'):
    attacks.pgd(linear_loss, AUDIO, EPSILONS, KEYS, **{count: 0})
