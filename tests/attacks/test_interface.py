"""What every attack keeps: the checks of conformance, bands, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from advspeech import attacks
from advspeech.attacks import conformance

BATCH, TIME = conformance.BATCH, conformance.TIME
WEIGHTS = jnp.sin(jnp.arange(TIME) * 1.7)[None] * 3
CENTRE = 0.5 + 0.2 * jnp.cos(jnp.arange(TIME) * 0.9)[None]
AUDIO, KEYS = conformance.clips(), conformance.keys()
EPSILONS = jnp.array(conformance.EPSILONS)
MASK = (jnp.arange(TIME)[None] < jnp.array([[64], [50], [33], [7], [1]])) * 1
BAND = attacks.band_weights(TIME, 1000, 3000, 16_000)


def loss_fn(audio):
  """A curved loss, row by row."""
  return jnp.sum((audio - CENTRE) ** 2 + jnp.sin(audio * WEIGHTS), -1)


def keyless(attack):
  return lambda audio, epsilons, keys, **kw: attack(
    loss_fn, audio, epsilons, **kw
  )


def keyed(attack, **fixed):
  return lambda audio, epsilons, keys, **kw: attack(
    loss_fn, audio, epsilons, keys, **fixed, **kw
  )


def objective_fn(audio):
  return loss_fn(audio), loss_fn(audio)


ATTACKS = {  # each with an L2 version, where it has one
  'fgsm': keyless(attacks.fgsm),
  'fgm': keyless(attacks.fgm),
  'bim': keyless(functools.partial(attacks.bim, num_steps=5)),
  'mi_fgsm-l2': keyless(
    functools.partial(attacks.mi_fgsm, norm='l2', num_steps=5)
  ),
  'pgd': keyed(attacks.pgd, num_steps=5, num_restarts=2),
  'pgd-l2': keyed(attacks.pgd, num_steps=5, num_restarts=2, norm='l2'),
  'apgd': lambda audio, epsilons, keys, **kw: attacks.apgd(
    objective_fn, audio, epsilons, keys, num_steps=10, **kw
  ),
  'apgd-l2': lambda audio, epsilons, keys, **kw: attacks.apgd(
    objective_fn, audio, epsilons, keys, **{'num_steps': 10, 'norm': 'l2', **kw}
  ),
  'square': keyed(attacks.square, num_queries=100),
  'nes': keyed(attacks.nes, num_queries=154, enough=jnp.inf),
}
# Those of the rest are enough to see a change of what they share.
SLOW = pytest.param('nes', marks=pytest.mark.slow)
NAMES = [SLOW if name == 'nes' else name for name in ATTACKS]
BANDED = ('fgsm', 'fgm', 'bim', 'mi_fgsm-l2', 'apgd', 'pgd-l2', SLOW)
MULTI_STEP = ('bim', 'pgd', 'apgd', 'square', SLOW)


def order(name):
  return 2 if name == 'fgm' or name.endswith('-l2') else jnp.inf


@functools.cache
def compiled(name, **kw):
  return jax.jit(functools.partial(ATTACKS[name], **kw))


@functools.cache
def result(name):
  return compiled(name)(AUDIO, EPSILONS, KEYS)


@pytest.mark.parametrize('check', conformance.CHECKS)
@pytest.mark.parametrize('name', NAMES)
def test_every_function_passes_every_check(name, check):
  check(compiled(name), 'l2' if order(name) == 2 else 'linf')


@pytest.mark.parametrize('name', NAMES)
def test_shapes_that_do_not_go_together_are_refused(name):
  conformance.shapes_are_refused(ATTACKS[name])


@pytest.mark.parametrize('name', NAMES)
def test_a_perturbation_is_no_smaller_than_it_may_be(name):
  sizes = jnp.linalg.norm(result(name) - AUDIO[None], order(name), axis=-1)
  assert float(sizes[1].min()) > 0.02


@pytest.mark.parametrize('name', NAMES)
def test_raises_the_loss_of_every_clip(name):
  assert (loss_fn(result(name)[1]) > loss_fn(AUDIO)).all()


@pytest.mark.parametrize('name', NAMES)
def test_new_epsilons_compile_nothing(name):
  attack = compiled(name)
  attack(AUDIO, EPSILONS, KEYS)
  before = attack._cache_size()
  attack(AUDIO, EPSILONS * 1.5, KEYS)
  assert attack._cache_size() == before


@pytest.mark.parametrize('name', ['fgm', 'pgd', 'apgd-l2', 'square'])
def test_each_clip_may_have_its_own_radius(name):
  radii = jnp.stack([EPSILONS[jnp.array([2, 1, 0, 1, 2])]])
  out = compiled(name)(AUDIO, radii, KEYS)[0]
  for i, e in enumerate([2, 1, 0, 1, 2]):
    np.testing.assert_array_equal(out[i], result(name)[e, i])


@pytest.mark.parametrize('name', NAMES)
def test_samples_that_a_mask_leaves_are_attacked(name):
  out = compiled(name)(AUDIO, EPSILONS, KEYS, mask=MASK)
  changed = np.asarray(out != AUDIO[None])
  # The last clip has one sample to attack.
  assert changed[1].any(-1).all()
  assert changed[2][np.asarray(MASK) == 1].mean() > 0.9


@pytest.mark.parametrize('name', BANDED)
def test_in_a_band_nothing_is_left_outside(name):
  out = compiled(name, bounds=(-9.0, 9.0))(AUDIO, EPSILONS, KEYS, band=BAND)
  perturbation = np.asarray(out - AUDIO[None], np.float64)
  energy = np.abs(np.fft.rfft(perturbation[2])) ** 2
  outside = np.asarray(BAND) == 0
  db = 10 * np.log10(energy[:, outside].sum(-1) / energy.sum(-1))
  assert (db < -100).all()
  sizes = np.linalg.norm(perturbation, order(name), axis=-1)
  assert (sizes <= np.asarray(EPSILONS)[:, None] * (1 + 1e-6) + 6e-8).all()
  assert sizes[2].min() > 0.1
  np.testing.assert_array_equal(out[0], AUDIO)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
def test_without_a_gradient_nothing_moves_and_nothing_is_nan(norm):
  flat = jax.jit(
    lambda audio: (
      attacks.bim(zero, audio, EPSILONS, norm=norm),
      attacks.mi_fgsm(zero, audio, EPSILONS, norm=norm),
      attacks.pgd(zero, audio, EPSILONS, KEYS, norm=norm),
      attacks.apgd(lambda a: (zero(a),) * 2, audio, EPSILONS, KEYS, norm=norm),
    )
  )(AUDIO)
  for out in flat[:2]:
    np.testing.assert_array_equal(out, jnp.tile(AUDIO, (3, 1, 1)))
  for out in flat[2:]:  # a random start stays where it is
    assert jnp.isfinite(out).all()


def zero(audio):
  return 0 * audio.sum(-1)


@pytest.mark.parametrize('name', ['mi_fgsm-l2', 'apgd'])
def test_memory_can_be_spent_on_epsilons_at_once(name):
  out = compiled(name, epsilons_at_once=2)(AUDIO, EPSILONS, KEYS)
  np.testing.assert_allclose(out, result(name), atol=1e-6)


@pytest.mark.parametrize('name', ['fgsm', 'apgd-l2'])
def test_four_devices_give_what_one_gives(name):
  mesh = jax.make_mesh(
    (2, 2),
    ('data', 'epsilon'),
    axis_types=(jax.sharding.AxisType.Auto,) * 2,
  )
  rows, radii = PartitionSpec('data'), PartitionSpec('epsilon')
  sharded = jax.shard_map(
    ATTACKS[name],
    mesh=mesh,
    in_specs=(rows, radii, rows),
    out_specs=PartitionSpec('epsilon', 'data'),
    check_vma=False,
  )
  epsilons = jnp.array([0.05, 0.3])
  out = jax.jit(sharded)(AUDIO[:4], epsilons, KEYS[:4])
  np.testing.assert_array_equal(out, result(name)[1:, :4])


@pytest.mark.parametrize('name', BANDED)
def test_a_band_of_another_length_is_refused(name):
  with pytest.raises(ValueError, match='one weight a bin of the real FFT'):
    ATTACKS[name](AUDIO, EPSILONS, KEYS, band=BAND[1:])


@pytest.mark.parametrize('name', MULTI_STEP)
def test_an_unknown_norm_is_refused(name):
  with pytest.raises(ValueError, match=r"'linf'.*, got 'l1'"):
    ATTACKS[name](AUDIO, EPSILONS, KEYS, norm='l1')


@pytest.mark.parametrize('name', ['pgd', 'apgd', 'square', SLOW])
def test_keys_must_be_typed_and_one_a_clip(name):
  for keys in (KEYS[:2], jnp.zeros((BATCH, 2), jnp.uint32)):
    with pytest.raises(ValueError, match='keys must be 5 typed PRNG keys'):
      ATTACKS[name](AUDIO, EPSILONS, keys)


def test_square_refuses_a_band():
  with pytest.raises(ValueError, match='square cannot stay in a band'):
    ATTACKS['square'](AUDIO, EPSILONS, KEYS, band=BAND)
