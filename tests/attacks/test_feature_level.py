"""Attacks on features: closed forms on linear maps, invariants on real ones."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_features import AUDIO

from advspeech import attacks, features
from advspeech import audio as audio_lib
from advspeech.attacks import feature_level

WEIGHTS = np.linspace(-1, 1, AUDIO.shape[1], dtype=np.float32)[None]
SPECTROGRAM = features.spectrogram()
GRIFFIN_LIM = features.spectrogram(phase='griffin_lim', num_iterations=3)


@dataclasses.dataclass(frozen=True)
class Linear:
  """Features that are a matrix times the audio, 3 of 4 samples: lossy."""

  invert: Callable
  matrix: np.ndarray
  unit: str = 'sums'

  @classmethod
  def make(cls):
    matrix = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return cls(lambda f, _: f @ np.linalg.pinv(matrix), matrix)

  def analyse(self, audio):
    return audio @ self.matrix, ()

  def synthesise(self, values, context):
    return 0.9 * self.invert(values, context)  # loses a tenth on the way back


LINEAR = Linear.make()
CLIPS = np.array([[0.2, 0.5, 0.4, 0.3], [0.5, 0.1, 0.6, 0.7]], np.float32)
PULL = np.array([[3.0, -1.0, 0.5, 2.0]], np.float32)
UNBOUNDED = (-np.inf, np.inf)


def linear_loss(audio):
  return jnp.sum(PULL * audio, -1)


def wave_loss(audio):
  return jnp.sum(WEIGHTS * jnp.sin(40 * audio), -1)


def linear(through='waveform', **kwargs):
  return feature_level.Problem(
    linear_loss, CLIPS, LINEAR, through, bounds=UNBOUNDED, **kwargs
  )


def problem(representation=SPECTROGRAM, **kwargs):
  return feature_level.Problem(wave_loss, AUDIO, representation, **kwargs)


@pytest.mark.parametrize('through', feature_level.THROUGH)
@pytest.mark.parametrize('method', feature_level.METHODS)
def test_on_a_linear_map_moves_every_feature_by_epsilon_times_the_sign(
  through, method
):
  inverse = np.linalg.pinv(LINEAR.matrix)
  sign = np.sign(inverse @ PULL[0])
  expected = [
    0.9 * (CLIPS @ LINEAR.matrix + e * sign) @ inverse for e in (0, 0.1, 0.5)
  ]
  attack = {
    'fgsm': lambda: attacks.feature_fgsm(linear(through), [0, 0.1, 0.5]),
    'pgd': lambda: attacks.feature_pgd(
      linear(through), [0, 0.1, 0.5], num_steps=5
    ),
  }[method]
  np.testing.assert_allclose(attack(), np.stack(expected), atol=1e-5)


def test_through_the_features_the_conversion_loss_does_not_exist():
  """The gradient of a quadratic loss tells at which audio it was taken."""
  met = []

  def loss_fn(audio):
    jax.debug.callback(lambda x: met.append(np.asarray(x)), audio)
    return jnp.sum(audio**2, -1)

  for through in feature_level.THROUGH:
    feature_level.prepare(linear(through)._replace(loss_fn=loss_fn))
  jax.effects_barrier()
  rebuilt = 0.9 * CLIPS @ LINEAR.matrix @ np.linalg.pinv(LINEAR.matrix)
  np.testing.assert_allclose(met[0], rebuilt, atol=1e-6)
  np.testing.assert_allclose(met[1], CLIPS, atol=1e-6)


@pytest.mark.parametrize(
  'representation',
  [SPECTROGRAM, pytest.param(GRIFFIN_LIM, marks=pytest.mark.slow)],
)
def test_zero_perturbation_is_exactly_the_conversion_loss(representation):
  prepared = feature_level.prepare(problem(representation))
  values, context = representation.analyse(AUDIO)
  conversion = jnp.clip(representation.synthesise(values, context), 0, 1)
  np.testing.assert_array_equal(prepared.unperturbed, conversion)
  for change in (
    feature_level.fgsm_change(prepared, jnp.zeros(2)),
    feature_level.pgd_change(
      problem(representation), prepared, jnp.zeros(2), num_steps=2
    ),
  ):
    rebuilt = feature_level.rebuild(problem(representation), prepared, change)
    np.testing.assert_array_equal(rebuilt, conversion)


@pytest.mark.parametrize('through', feature_level.THROUGH)
def test_raises_the_loss_of_what_is_rebuilt(through):
  attacked = problem(through=through)
  out = jax.jit(lambda: attacks.feature_fgsm(attacked, [0.0, 0.3]))()
  more = jax.jit(lambda: attacks.feature_pgd(attacked, [0.3], num_steps=4))()
  base, once = (np.asarray(wave_loss(x)) for x in out)
  assert (once > base).all()
  assert (np.asarray(wave_loss(more[0])) > once).all()


def test_on_the_waveform_itself_fgsm_is_fgsm():
  attacked = problem(features.waveform())
  epsilons = [0.0, 0.01, 0.3]
  np.testing.assert_array_equal(
    attacks.feature_fgsm(attacked, epsilons),
    attacks.fgsm(wave_loss, jnp.asarray(AUDIO), epsilons),
  )


def test_pgd_stays_in_the_radius_of_each_clip():
  attacked = problem()
  radii = jnp.array([0.2, 3.0])
  change = feature_level.pgd_change(
    attacked, feature_level.prepare(attacked), radii, num_steps=4
  )
  largest = np.abs(change).max((1, 2))
  np.testing.assert_allclose(largest, radii, rtol=1e-6)


def test_a_clip_alone_is_the_same_clip_in_any_batch():
  together = feature_level.prepare(problem())
  radii = jnp.array([0.5, 2.0])
  rebuilt = feature_level.rebuild(
    problem(), together, feature_level.fgsm_change(together, radii)
  )
  for i in range(2):
    one = problem()._replace(audio=AUDIO[i : i + 1])
    alone = feature_level.prepare(one)
    found = feature_level.rebuild(
      one, alone, feature_level.fgsm_change(alone, radii[i : i + 1])
    )
    # Bins of rounding noise have gradients, and so signs, of their own.
    assert (alone.direction[0] != together.direction[i]).mean() < 0.01
    np.testing.assert_allclose(found[0], rebuilt[i], atol=1e-4)


def test_masked_samples_stay_bit_for_bit_and_bounds_are_kept():
  mask = jnp.broadcast_to(jnp.arange(AUDIO.shape[1])[None] < 4000, AUDIO.shape)
  attacked = problem(mask=mask, bounds=(0.375, 0.625))
  out = attacks.feature_fgsm(attacked, [20.0])[0]
  np.testing.assert_array_equal(out[:, 4000:], AUDIO[:, 4000:])
  assert bool((out != AUDIO)[:, :4000].any())
  assert float(out[:, :4000].min()) >= 0.375
  assert float(out[:, :4000].max()) <= 0.625


def test_new_radii_compile_nothing():
  traces = []

  @jax.jit
  def attack(epsilons):
    traces.append(1)
    return attacks.feature_fgsm(linear(), epsilons)

  attack(jnp.array([0.1, 0.2]))
  attack(jnp.array([0.3, 0.5]))
  assert len(traces) == 1


def sizes(attacked, prepared):
  def size_fn(scale):
    change = feature_level.fgsm_change(prepared, scale)
    rebuilt = feature_level.rebuild(attacked, prepared, change)
    ones = jnp.ones_like(rebuilt)
    return -audio_lib.snr_db(attacked.audio, rebuilt, ones)

  return size_fn


def test_a_matched_scale_gives_each_clip_the_snr_asked_for():
  attacked = problem()
  size_fn = sizes(attacked, feature_level.prepare(attacked))
  targets = jnp.array([-30.0, -12.0])
  found = jax.jit(
    lambda: feature_level.match(size_fn, targets, jnp.full(2, 20.0))
  )()
  assert found.attainable.all()
  np.testing.assert_allclose(size_fn(found.scale), targets, atol=0.05)


def test_matching_finds_a_closed_form_scale():
  rates = jnp.array([2.0, 0.5, 3.0])
  found = feature_level.match(
    lambda scale: 1 + rates * scale, jnp.full(3, 4.0), jnp.full(3, 100.0)
  )
  assert found.attainable.all()
  np.testing.assert_allclose(found.scale, 3 / rates, rtol=2e-3)


def test_a_size_below_that_of_the_smallest_scale_is_unattainable():
  found = feature_level.match(
    lambda scale: scale, jnp.full(1, 1e-7), jnp.full(1, 10.0)
  )
  assert not found.attainable.any()


@pytest.mark.slow
def test_a_size_below_the_conversion_loss_is_unattainable():
  attacked = problem(GRIFFIN_LIM)
  size_fn = sizes(attacked, feature_level.prepare(attacked))
  found = feature_level.match(
    size_fn, jnp.array([-30.0, 1e3]), jnp.full(2, 20.0)
  )
  assert not found.attainable.any()
  np.testing.assert_array_equal(found.scale, 0)


def test_unknown_ways_and_bad_shapes_are_refused():
  with pytest.raises(ValueError, match='through must be one of waveform, feat'):
    feature_level.prepare(linear('audio'))
  with pytest.raises(ValueError, match='mask must have the shape of audio'):
    feature_level.prepare(linear(mask=jnp.ones((2, 3))))
  with pytest.raises(ValueError, match=r'one-dimensional.*wrap.*\[0.5\]'):
    attacks.feature_fgsm(linear(), 0.5)


@pytest.mark.parametrize('name', ['mfcc', 'mfcc_pgd', 'mfcc-targeted'])
def test_by_name_the_attack_is_that_on_the_features_named(name):
  """Logits of a linear model: a class asked for is a class left, negated."""
  mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.float32)
  targeted = name.endswith('-targeted')
  sign = -1 if targeted else 1
  posed = attacks.Problem(
    audio=CLIPS,
    logits_fn=lambda x: jnp.stack([-sign * linear_loss(x), 0 * x[:, 0]], -1),
    goal=jnp.zeros(2, int),
    targeted=targeted,
    keys=None,
    mask=mask,
    band=None,
    bounds=(0.0, 0.9),
  )
  attack = attacks.make(
    name,
    num_steps=5,
    num_restarts=1,
    num_queries=1,
    representations={'mfcc': LINEAR},
  )
  assert (attack.unit, attack.targeted) == ('sums', targeted)
  assert attack.iterative == ('pgd' in name)
  radii = jnp.array([0.0, 0.3])
  found = attack.apply(posed, attack.prepare(posed), radii)
  whole = linear()._replace(mask=mask, bounds=(0.0, 0.9))
  for i, radius in enumerate(radii):
    expected = (
      attacks.feature_pgd(whole, radius[None], num_steps=5)
      if attack.iterative
      else attacks.feature_fgsm(whole, radius[None])
    )[0, i]
    np.testing.assert_allclose(found[i], expected, atol=1e-6)
  with pytest.raises(ValueError, match='cannot stay in a band'):
    attack.prepare(posed._replace(band=jnp.ones(3)))
