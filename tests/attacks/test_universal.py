"""One perturbation for all clips: closed form, radius, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from advspeech import attacks

AUDIO = jax.random.uniform(
  jax.random.key(0), (3, 8, 32), minval=0.3, maxval=0.7
)
WEIGHTS = jax.random.normal(jax.random.key(1), (3, 8, 32))
EPSILONS = jnp.array([0.0, 0.05, 0.1])
STEP = functools.partial(attacks.universal_step, relative_step=0.25)


def linear_loss(audio, batch):
  return jnp.sum(audio * batch['weights'], -1)


@functools.cache
def learnt(**kw):
  return jax.jit(functools.partial(attacks.universal, linear_loss, **kw))


def test_one_linear_batch_gives_the_sign_of_the_summed_gradient():
  batches = {'audio': AUDIO[:1], 'weights': WEIGHTS[:1]}
  out = learnt()(batches, EPSILONS)
  expected = jnp.sign(WEIGHTS[0].sum(0))
  np.testing.assert_allclose(out, jnp.tile(expected, (3, 1)), rtol=1e-6)


def test_in_l2_one_linear_batch_gives_the_summed_gradients_direction():
  batches = {'audio': AUDIO[:1], 'weights': WEIGHTS[:1]}
  out = learnt(norm='l2')(batches, EPSILONS)
  total = WEIGHTS[0].sum(0)
  expected = total / jnp.linalg.norm(total)
  np.testing.assert_allclose(
    out, jnp.tile(expected, (3, 1)), rtol=1e-3, atol=1e-5
  )


def test_many_batches_give_what_steps_one_by_one_give():
  """And every epsilon its own direction, on a loss that is not linear."""

  def loss_fn(audio, batch):
    return jnp.sum(jnp.sin(9 * audio * batch['weights']), -1)

  batches = {'audio': AUDIO, 'weights': WEIGHTS}
  out = attacks.universal(
    loss_fn, batches, EPSILONS, num_epochs=2, relative_step=0.25
  )
  direction = jnp.zeros((3, 32))
  step = jax.jit(
    lambda direction, batch: STEP(
      lambda a: loss_fn(a, batch), direction, batch['audio'], EPSILONS
    )
  )
  for _ in range(2):
    for i in range(3):
      batch = {'audio': AUDIO[i], 'weights': WEIGHTS[i]}
      direction = step(direction, batch)
  np.testing.assert_allclose(out, direction, atol=1e-6)
  assert (direction[1] != direction[2]).any()
  assert float(jnp.abs(out).max()) <= 1
  before = jax.vmap(loss_fn)(AUDIO, batches).sum()
  adv = attacks.perturb_all(AUDIO.reshape(24, 32), out, EPSILONS)[2]
  after = loss_fn(adv, {'weights': WEIGHTS.reshape(24, 32)}).sum()
  assert after > before + 5


def test_perturbed_clips_are_moved_along_their_epsilons_direction():
  direction = jnp.sign(WEIGHTS[0, :3])
  audio = AUDIO[0].at[0].set(0.99)
  out = attacks.perturb_all(audio, direction, EPSILONS)
  expected = jnp.clip(audio + 0.1 * direction[2][None], 0, 1)
  np.testing.assert_array_equal(out[2], expected)


def test_masked_samples_have_no_say():
  mask = jnp.zeros((3, 8, 32)).at[..., :10].set(1).at[:, 5].set(0)
  batches = {'audio': AUDIO, 'weights': WEIGHTS, 'mask': mask}
  out = learnt(num_epochs=1)(batches, EPSILONS)
  assert not out[:, 10:].any()
  kept = WEIGHTS.at[:, 5].set(0)
  batches = {'audio': AUDIO, 'weights': kept, 'mask': mask}
  np.testing.assert_array_equal(learnt(num_epochs=1)(batches, EPSILONS), out)


def test_a_universal_perturbation_can_live_in_a_band():
  band = attacks.band_weights(32, 1000, 3000, 16_000)
  batches = {'audio': AUDIO, 'weights': WEIGHTS}
  out = jax.jit(functools.partial(attacks.universal, linear_loss))(
    batches, EPSILONS, band=band
  )
  energy = np.abs(np.fft.rfft(np.asarray(out, np.float64))) ** 2
  outside = energy[:, np.asarray(band) == 0].sum(-1) / energy.sum(-1)
  assert (10 * np.log10(outside) < -100).all()
  assert float(jnp.abs(out).max()) <= 1 + 1e-6


def test_neither_order_nor_devices_show_in_the_result():
  """Gradients of very different sizes, which floats would add up unevenly."""
  weights = WEIGHTS[0] * 10.0 ** jnp.arange(-4, 4)[:, None]
  direction = jnp.sin(jnp.arange(96.0)).reshape(3, 32) / 2

  def step(direction, audio, weights, **kw):
    return STEP(
      lambda a: jnp.sum(jnp.sin(a * weights), -1),
      direction,
      audio,
      EPSILONS,
      norm='l2',
      **kw,
    )

  expected = jax.jit(step)(direction, AUDIO[0], weights)
  turned = jax.jit(step)(direction, AUDIO[0, ::-1], weights[::-1])
  np.testing.assert_array_equal(turned, expected)
  mesh = jax.make_mesh(
    (4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  rows, copies = PartitionSpec('data'), PartitionSpec()
  sharded = jax.shard_map(
    functools.partial(step, axis_name='data'),
    mesh=mesh,
    in_specs=(copies, rows, rows),
    out_specs=copies,
    check_vma=False,
  )
  out = jax.jit(sharded)(direction, AUDIO[0], weights)
  np.testing.assert_array_equal(out, expected)


def test_bad_shapes_are_refused():
  def loss_fn(a):
    return a.sum(-1)

  with pytest.raises(ValueError, match=r'direction must be \[num_epsilons'):
    STEP(loss_fn, jnp.zeros((2, 32)), AUDIO[0], EPSILONS)
  with pytest.raises(ValueError, match=r'direction must be \[num_epsilons'):
    attacks.perturb_all(AUDIO[0], jnp.zeros(32), EPSILONS)
  with pytest.raises(ValueError, match='mask must have the shape of audio'):
    STEP(loss_fn, jnp.zeros((3, 32)), AUDIO[0], EPSILONS, mask=jnp.ones((2, 3)))
  with pytest.raises(ValueError, match='num_epochs must be at least 1'):
    attacks.universal(loss_fn, {'audio': AUDIO}, EPSILONS, num_epochs=0)
