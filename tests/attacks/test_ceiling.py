"""Attacks below a ceiling over time and frequency, such as what clips mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks, audio
from advspeech.attacks import ceiling, conformance, constraints

TIME = 1600
# What float32 adds to a perturbation of clips about one half.
TOLERANCE_DB = 0.01
OFFSETS_DB = (-6.0, 0.0, 12.0)
SILENT = 3


def make_clips():
  """A loud clip, one that ends early, one at full scale and a silent one."""
  t = jnp.arange(TIME) / 16_000
  tones = jnp.sin(2 * jnp.pi * 300 * t) + 0.3 * jnp.sin(2 * jnp.pi * 2500 * t)
  noise = 1e-3 * jax.random.normal(jax.random.key(0), (TIME,))
  short = jnp.where(t < 0.05, 0.1 * tones, 0)
  full = 0.5 * jnp.sign(tones)
  return 0.5 + jnp.stack([0.3 * tones + noise, short, full, 0 * t])


CLIPS = make_clips()
KEYS = jax.random.split(jax.random.key(1), len(CLIPS))


@pytest.fixture(scope='module')
def masking():
  """The ceiling, of radius 1 at 0 dB."""
  rms = audio.masking_rms(audio.masking_threshold(CLIPS), TIME)
  return audio.Masking(
    *(x * rms[:, None, None] for x in audio.Masking.of(CLIPS))
  )


def excess_db(masking, perturbation):
  """Returns how far the loudest cell is above the threshold, [clips]."""
  cells = np.abs(np.asarray(masking.analyse(perturbation)))
  limits = np.asarray(masking.limits)
  ratio = np.divide(cells, limits, where=limits > 0, out=1.0 * (cells > 0))
  with np.errstate(divide='ignore'):
    return 20 * np.log10(ratio.max((1, 2)))


def problem_of(ceiling_, mask=None, band=None):
  goal = jnp.argmax(conformance.logits_fn(CLIPS), -1)
  return attacks.Problem(
    *(CLIPS, conformance.logits_fn, goal, False, KEYS, mask, band),
    bounds=(0.0, 1.0),
    ceiling=ceiling_,
  )


def named(name):
  return attacks.make(
    name, num_steps=4, num_restarts=1, num_queries=1, representations={}
  )


def examples_of(name, problem):
  """Returns clips at every offset, [num_offsets, clips, time]."""
  attack = named(name)
  radii = 10 ** (jnp.array(OFFSETS_DB) / 20)

  @jax.jit
  def run(radii):
    prepared = attack.prepare(problem)
    return jax.lax.map(
      lambda r: attack.apply(problem, prepared, jnp.full(len(CLIPS), r)), radii
    )

  return run(radii)


@pytest.mark.parametrize(
  'name',
  [
    'fgsm',
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ('pgd', 'bim', 'mi_fgsm', 'apgd_ce', 'apgd_margin')
    ),
  ],
)
def test_no_cell_is_above_the_threshold_and_the_loudest_is_near_it(
  masking, name
):
  assert named(name).under_ceiling
  found = examples_of(name, problem_of(masking))
  assert float(found.min()) >= 0
  assert float(found.max()) <= 1
  for offset_db, adv in zip(OFFSETS_DB, found, strict=True):
    loudest = excess_db(masking, adv - CLIPS)[:SILENT]
    assert (loudest <= offset_db + TOLERANCE_DB).all(), loudest
    # APGD takes the best of its iterates, whatever their size.
    least_db = offset_db - 3 if 'apgd' not in name else -np.inf
    assert (loudest > least_db).all(), loudest
    np.testing.assert_array_equal(adv[SILENT], CLIPS[SILENT])
  if 'apgd' not in name:
    small, middle, large = (
      jnp.linalg.norm(adv - CLIPS, axis=-1)[:SILENT] for adv in found
    )
    assert (middle > 1.5 * small).all()
    assert (large > 2 * middle).all()


@pytest.mark.slow
def test_saving_adds_no_more_than_its_own_rounding(masking):
  """16-bit rounding of 1 / sqrt(12) of a step, under the window's energy."""
  adv = examples_of('fgsm', problem_of(masking))[1]
  saved = audio.from_pcm(audio.to_pcm(adv))
  window = np.hanning(2049)[:-1]
  rounding = np.sqrt(np.sum(window**2) / 12) / audio.LSB_PER_UNIT
  cells = jnp.abs(masking.analyse(saved - audio.from_pcm(audio.to_pcm(CLIPS))))
  above = cells - masking.limits * 10 ** (TOLERANCE_DB / 20)
  # Clips themselves are rounded here too; of so many cells none is beyond 5.
  assert float(above[:SILENT].max()) < 5 * np.sqrt(2) * rounding


@pytest.mark.slow
def test_samples_and_bins_that_a_mask_or_a_band_leaves_stay(masking):
  mask = (jnp.arange(TIME)[None] < jnp.array([[800], [400], [TIME], [9]])) * 1.0
  adv = examples_of('pgd', problem_of(masking, mask))[1]
  np.testing.assert_array_equal(adv[mask == 0], CLIPS[mask == 0])
  assert (excess_db(masking, adv - CLIPS)[:SILENT] <= TOLERANCE_DB).all()
  assert (adv != CLIPS)[:SILENT].any(-1).all()
  band = attacks.band_weights(TIME, 1000, 3000, 16_000)
  adv = examples_of('pgd', problem_of(masking, band=band))[1]
  moved = (adv - CLIPS)[:2]  # bounds leave their own traces in the third
  outside = jnp.linalg.norm(moved - constraints.in_band(moved, band))
  assert float(outside) < 1e-3 * float(jnp.linalg.norm(moved))


def test_noise_of_the_same_budget_is_below_the_attacks_loudest_cell(masking):
  attack = 1e-3 * jax.random.normal(jax.random.key(2), CLIPS.shape)
  attack = jnp.stack([attack, 2 * attack]).at[:, SILENT].set(0)
  noise = jax.jit(attacks.random_sign_like)(KEYS, attack, ceiling=masking)
  for made, of in zip(noise, attack, strict=True):
    loudest, allowed = (excess_db(masking, x)[:SILENT] for x in (made, of))
    assert (loudest <= allowed + TOLERANCE_DB).all()
    assert (loudest > allowed - 3).all()
  np.testing.assert_allclose(noise[1], 2 * noise[0], rtol=1e-4, atol=1e-9)
  assert not noise[:, SILENT].any()


def test_what_is_below_the_ceiling_stays_bit_for_bit(masking):
  noise = jax.random.normal(jax.random.key(3), CLIPS.shape)
  radius = jnp.ones(len(CLIPS))

  @jax.jit
  def project(x, radius):
    return ceiling.project(masking, x, radius, lambda x: x)

  once = project(noise, radius)
  np.testing.assert_array_equal(project(once, 1.0001 * radius), once)


@pytest.mark.slow
def test_gradients_are_finite_where_nothing_moves(masking):
  def size(x):
    return ceiling.radius_of(masking, x).sum()

  assert jnp.isfinite(jax.grad(size)(jnp.zeros_like(CLIPS))).all()


def test_a_norm_without_a_ceiling_is_refused(masking):
  for norm, given in (('ceiling', None), ('linf', masking)):
    threat = constraints.Threat(norm, ceiling=given)
    with pytest.raises(ValueError, match='if there is a ceiling and only then'):
      threat.check(CLIPS)


@pytest.mark.slow
def test_the_functions_take_a_ceiling_as_attacks_by_name_do(masking):
  problem = problem_of(masking)
  found = attacks.fgsm(
    problem.loss_fn, CLIPS, 10 ** (jnp.array(OFFSETS_DB) / 20), ceiling=masking
  )
  by_name = examples_of('fgsm', problem)
  np.testing.assert_allclose(found, by_name, atol=1e-3)
