"""Rounding to whole steps, against every lattice point there is."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks, audio

LSB = 1 / 65536
PCM = jax.random.randint(jax.random.key(0), (3, 8), -32768, 32768)
CLIPS = audio.from_pcm(PCM.astype(jnp.int16))
EPSILONS = jnp.array([0.0, 0.9, 1.0, 2.7, 40.3]) * LSB


def curved_loss(a):
  weights = jnp.sin(jnp.arange(8.0) * 2)[None]
  return jnp.sum(weights * a + jnp.cos(9000 * a + weights) / 9000, -1)


ADV = attacks.fgsm(curved_loss, CLIPS, EPSILONS)


@functools.cache
def repaired():
  return jax.jit(functools.partial(attacks.repair, curved_loss))(
    CLIPS, ADV, EPSILONS
  )


@pytest.mark.parametrize(
  'rounded', [lambda: attacks.to_lattice(CLIPS, ADV, EPSILONS), repaired]
)
def test_saving_to_16_bit_changes_nothing_and_leaves_no_ball(rounded):
  out = rounded()
  again = audio.from_pcm(audio.to_pcm(out))
  np.testing.assert_array_equal(again, out)
  exact = np.asarray(out, np.float64) - np.asarray(CLIPS, np.float64)
  radii = np.asarray(EPSILONS, np.float64)[:, None, None]
  assert (np.abs(exact) <= radii).all()
  np.testing.assert_array_equal(out[:2], ADV[:2] * 0 + CLIPS[None])
  assert np.abs(exact[2]).max() == LSB


def test_rounding_finds_the_nearest_lattice_point_in_the_ball():
  out = attacks.to_lattice(CLIPS, ADV, EPSILONS)
  for e, b, t in itertools.product(range(5), range(3), range(8)):
    reach = int(np.floor(float(EPSILONS[e]) / LSB))
    pcm = np.arange(-reach, reach + 1) + int(PCM[b, t])
    pcm = pcm[(pcm >= -32768) & (pcm <= 32767)]
    allowed = (pcm + 32768) * LSB
    best = np.abs(allowed - float(ADV[e, b, t])).min()
    assert abs(float(out[e, b, t]) - float(ADV[e, b, t])) == best


def test_repair_finds_the_best_of_all_neighbours_of_a_linear_loss():
  weights = np.array([[1.0, -2.0, 0.5, 3.0, -0.1]])
  clip = jnp.array([[0.25, 0.5, 0.75, 0.125, 0.5]])
  steps = np.array([[1.2, -1.5, 2.9, -0.3, 0.6]])
  adv = (clip + steps.astype(np.float32) * LSB)[None]

  def loss_fn(a):
    return jnp.sum(a * weights.astype(np.float32), -1)

  out = attacks.repair(loss_fn, clip, adv, [2.95 * LSB])
  corners = itertools.product(*[(np.floor(s), np.ceil(s)) for s in steps[0]])
  best = max(
    (c for c in corners if np.abs(c).max() <= 2),
    key=lambda c: float(np.sum(np.array(c) * weights)),
  )
  np.testing.assert_array_equal((out[0, 0] - clip[0]) / LSB, best)


def test_repair_is_never_worse_than_rounding_and_mostly_better():
  """Inside the ball, on a loss that turns within a step at some samples."""
  clips = jnp.tile(CLIPS[:1], (40, 1))
  noise = jax.random.uniform(jax.random.key(1), (1, 40, 8), minval=-1)
  adv = clips[None] + 3 * LSB * noise
  turns = jnp.array([[2.0, 0.3, 0.1, 0.1, 3.0, 0.1, 0.2, 0.1]])

  def loss_fn(a):
    return jnp.sum(jnp.cos((a - CLIPS[:1]) / LSB * turns), -1)

  rounded = attacks.to_lattice(clips, adv, [3 * LSB])[0]
  out = attacks.repair(loss_fn, clips, adv, [3 * LSB])[0]
  assert (loss_fn(out) >= loss_fn(rounded)).all()
  better = (loss_fn(out) > loss_fn(rounded)).mean()
  kept = (out == rounded).all(-1).mean()
  assert 0.4 < float(better) < 1
  assert 0 < float(kept) < 0.6


def test_samples_the_attack_left_alone_stay_bit_for_bit():
  off_lattice = jnp.full((1, 8), 0.3) + jnp.arange(8)[None] * 1e-6
  mask = (jnp.arange(8) < 3)[None]
  adv = attacks.fgsm(curved_loss, off_lattice, EPSILONS, mask=mask)
  out = attacks.repair(curved_loss, off_lattice, adv, EPSILONS)
  same = np.asarray(out == off_lattice[None])
  assert same[..., 3:].all()
  assert not same[-1, :, :3].any()


def test_a_sample_no_file_can_hold_stays_until_it_is_attacked():
  """1.0 is past the last 16-bit step, and a float file may hold it."""
  clip = jnp.array([[1.0, 1.0, 0.5]])
  adv = jnp.array([[[1.0, 1.0 - 3 * LSB, 0.5]]])
  for epsilon, expected in ((4 * LSB, adv[0]), (0.5 * LSB, clip)):
    out = attacks.to_lattice(clip, adv, jnp.array([epsilon]))
    np.testing.assert_array_equal(out[0], expected)


def test_shapes_that_do_not_go_together_are_refused():
  with pytest.raises(ValueError, match=r'adv must be \[num_epsilons, batch'):
    attacks.to_lattice(CLIPS, ADV[:2], EPSILONS)
  with pytest.raises(ValueError, match=r'adv must be \[num_epsilons, batch'):
    attacks.repair(curved_loss, CLIPS, ADV[0], EPSILONS)
