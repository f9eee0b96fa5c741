"""Training on perturbed clips: what they are, and what comes of it."""

import functools
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  models,
  parallel,
  preemption,
  training,
)
from advspeech.training import defence as defences
from configs import paper

RADIUS = 0.01
STILL = jnp.float32(0)


def settings(**changes):
  found = paper.get_config().training.defence
  found.epsilon = str(RADIUS)
  found.warmup_share = 0.0
  found.update(changes)
  return found


@pytest.fixture(scope='module')
def problem():
  rng = np.random.default_rng(0)
  weights = jnp.asarray(rng.normal(size=(400, 3)), jnp.float32)
  clips = jnp.asarray(rng.uniform(0.2, 0.8, (6, 400)), jnp.float32)
  batch = {'audio': clips, 'label': jnp.array([0, 1, 2, 0, 1, 2])}
  keys = jax.random.split(jax.random.key(0), 6)
  return defences.pose(lambda x: jnp.tanh((x - 0.5) @ weights), batch, keys)


NAMED = [name for name in defences.NAMES if name != 'none']


@pytest.mark.parametrize('name', NAMED)
def test_perturbations_have_the_size_that_their_papers_give_them(name, problem):
  defence = defences.make(settings(name=name), num_steps=10)
  mask = jnp.ones_like(problem.audio)
  clips = defences.perturbed(defence, problem, mask, 0)
  size = np.abs(clips - problem.audio).max(-1)
  # Gaussian noise has no largest value, N-FGSM adds a step to noise of two.
  largest = {'gaussian': 5 * RADIUS, 'n_fgsm': 3 * RADIUS}.get(name, RADIUS)
  assert (size <= largest + 1e-6).all()
  assert (size >= 0.9 * RADIUS).all()
  rises = problem.loss_fn(clips) - problem.loss_fn(problem.audio)
  if name in ('fgsm_rs', 'n_fgsm', 'pgd'):
    assert (rises > 0.1).all()
  if name in ('noise', 'gaussian'):
    rms = np.sqrt(np.square(clips - problem.audio).mean(-1))
    np.testing.assert_allclose(rms, RADIUS, rtol=0.1)
    assert np.abs(rises).mean() < 0.1


def test_trades_draws_answers_apart(problem):
  defence = defences.make(settings(name='trades'), num_steps=10)
  clips = defences.perturbed(defence, problem, jnp.ones_like(problem.audio), 0)
  noise = defences.make(settings(name='noise'), num_steps=10)
  noisy = defences.perturbed(noise, problem, jnp.ones_like(problem.audio), 0)
  clean = problem.logits_fn(problem.audio)
  apart, by_noise = (
    defences.divergence(clean, problem.logits_fn(x)) for x in (clips, noisy)
  )
  assert (apart > 3 * by_noise).all()
  p = jax.nn.softmax(clean)
  q = jax.nn.softmax(problem.logits_fn(clips))
  np.testing.assert_allclose(apart, (p * jnp.log(p / q)).sum(-1), rtol=1e-4)
  assert (defence.beta, noise.beta) == (6.0, 0.0)


def test_the_radius_grows_and_is_in_any_unit(problem):
  defence = defences.make(
    settings(name='noise', epsilon='20dbsnr', warmup_share=0.5), num_steps=8
  )
  mask = jnp.ones_like(problem.audio).at[:, 200:].set(0)
  rms = audio.signal_rms(problem.audio, mask)
  for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (7, 1.0)):
    found = defences.perturbed(defence, problem, mask, step)
    size = np.abs(found - problem.audio).max(-1)
    np.testing.assert_allclose(size, share * rms / 10, rtol=1e-3)


def test_a_share_of_the_clips_stays_clean_by_their_own_keys(problem):
  many = problem._replace(
    audio=jnp.tile(problem.audio, (40, 1)),
    goal=jnp.tile(problem.goal, 40),
    keys=jax.random.split(jax.random.key(1), 240),
  )
  defence = defences.make(settings(name='noise', clean_share=0.25), num_steps=1)
  mask = jnp.ones_like(many.audio)
  found = defences.perturbed(defence, many, mask, 0)
  clean = np.array((found == many.audio).all(-1))
  assert clean.mean() == pytest.approx(0.25, abs=0.08)
  half = many._replace(
    audio=many.audio[:120], goal=many.goal[:120], keys=many.keys[:120]
  )
  alone = defences.perturbed(defence, half, mask[:120], 0)
  np.testing.assert_array_equal(alone, found[:120])


def test_alignment_is_near_one_for_what_is_nearly_linear(problem):
  defence = defences.make(settings(name='pgd', epsilon='1e-5'), num_steps=1)
  mask = jnp.ones_like(problem.audio)
  _, alignment = defences.attacked(defence, problem, mask)
  assert (alignment > 0.99).all()
  flat = problem._replace(logits_fn=lambda x: jnp.zeros((len(x), 3)))
  found, alignment = defences.attacked(defence, flat, mask)
  assert not alignment.any()
  assert np.isfinite(found).all()


def quieter(problem, radii):
  """A defence of one's own."""
  return problem.audio - radii[:, None] * jnp.sign(problem.audio - 0.5)


def test_a_defence_of_ones_own_and_none():
  assert defences.make(settings(), num_steps=1) is None
  own = defences.make(settings(name='test_defence:quieter'), num_steps=1)
  assert own.perturb is quieter
  for changes, match in (
    ({'name': 'distillation'}, 'a defence must be one of none, noise'),
    ({'name': 'pgd', 'epsilon': '3db'}, "epsilon must be .* got '3db'"),
  ):
    with pytest.raises(errors.InputError, match=match):
      defences.make(settings(**changes), num_steps=1)


@pytest.fixture
def defended(config):
  config.training.defence.update(settings(name='fgsm_rs', clean_share=0.2))
  config.training.num_epochs = 2
  return config


@pytest.mark.slow
def test_a_stopped_defended_training_goes_on_to_the_same_bits(
  tmp_path, defended, stop_at, caplog
):
  caplog.set_level(logging.INFO)
  straight = tiny.run(defended, tmp_path / 'straight')
  assert 'under PGD' in caplog.text
  stop_at(4)
  with pytest.raises(preemption.Stopped):
    tiny.run(defended, tmp_path / 'stopped')
  stop_at(0)
  assert straight == tiny.run(defended, tmp_path / 'stopped')
  tiny.assert_same_bits(tmp_path / 'straight', tmp_path / 'stopped')
  lines = (tmp_path / 'straight' / 'metrics.jsonl').read_text().splitlines()
  for metrics in map(json.loads, lines):
    assert 0 <= metrics[checkpoint.ATTACKED_ACCURACY] <= 1
    assert -1 <= metrics['validation_alignment'] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
  'name', ['pgd', pytest.param('trades', marks=pytest.mark.slow)]
)
def test_a_defended_step_is_the_same_on_any_devices_and_sends_one_sum(name):
  model = models.create_model(tiny.MODEL, 2, norm_axis='data')
  defence = defences.make(settings(name=name, num_steps=2), num_steps=1)
  losses, norms = [], []
  for num in (1, 4):
    mesh = parallel.make_mesh(devices=jax.devices()[:num])
    steps = training.make_steps(
      model, optax.identity(), tiny.TIME, mesh, defence=defence
    )
    state = steps.init(jax.random.key(0))
    batch = input_pipeline.step_arrays(
      next(input_pipeline.batches(tiny.SPLITS['test'], 8, mesh))
    )
    text = steps.train.lower(state, batch, STILL).compile().as_text()
    attacked = steps.evaluate_attacked(state.variables, batch)
    _, sums = steps.train(state, batch, STILL)
    losses.append((float(sums['loss']), float(attacked['loss'])))
    norms.append(float(sums['grad_norm']))
  assert text.count('all-reduce(') == 1
  np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
  np.testing.assert_allclose(*norms, rtol=1e-4)
  plain = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
  _, undefended = plain.train(plain.init(jax.random.key(0)), batch, STILL)
  assert float(undefended['grad_norm']) != norms[1]


def test_the_best_epoch_is_that_under_attack():
  clean = {'validation_accuracy': 0.9, 'validation_loss': 0.1}
  strong = {'validation_accuracy': 0.8, 'validation_loss': 0.2}
  assert checkpoint.rank(clean) > checkpoint.rank(strong)
  name = checkpoint.ATTACKED_ACCURACY
  assert checkpoint.rank({**clean, name: 0.3}) < checkpoint.rank(
    {**strong, name: 0.5}
  )
  assert checkpoint.rank({**clean, name: 0.5}) > checkpoint.rank(
    {**strong, name: 0.5}
  )


@pytest.mark.slow
def test_adversarial_training_resists_what_plain_training_does_not(tmp_path):
  """The attack that epochs are judged by, on both; noise is the baseline."""
  config = tiny.get_config()
  config.training.update(num_epochs=5, learning_rate=1e-2)
  found = {}
  for name in ('noise', 'pgd'):
    config.training.defence.update(settings(name=name, epsilon='0.04'))
    tiny.run(config, tmp_path / name)
    lines = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
    found[name] = max(
      json.loads(line)[checkpoint.ATTACKED_ACCURACY] for line in lines
    )
  assert found['pgd'] >= found['noise'] + 0.2


def test_catastrophic_overfitting_is_reported(
  tmp_path, defended, monkeypatch, caplog
):
  """Accuracy under PGD falls while that of training clips does not."""
  under_pgd = iter([0.6, 0.1])
  monkeypatch.setattr(
    'advspeech.training.loop.evaluate_attacked',
    lambda *_: {'accuracy': next(under_pgd), 'alignment': 0.05},
  )
  ended = functools.partial(
    dict, loss=0.1, accuracy=0.99, grad_norm=1.0, clips_per_s=1.0
  )
  monkeypatch.setattr(
    'advspeech.training.metrics.EpochSums.end_epoch', lambda *_: ended()
  )
  tiny.run(defended, tmp_path / 'run')
  (text,) = (m for m in caplog.messages if 'overfitting' in m)
  assert 'in epoch 2: accuracy under PGD is 0.100 where it was 0.600' in text
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  assert summary['best_epoch'] == 1


def test_a_step_from_a_random_start_ends_on_the_ball_as_often_as_it_must(
  problem,
):
  """Of 1.25 radii from anywhere in it: projected in 5 of 8 samples."""
  defence = defences.make(settings(name='fgsm_rs'), num_steps=1)
  clips = defences.perturbed(defence, problem, jnp.ones_like(problem.audio), 0)
  change = np.abs(clips - problem.audio)
  assert (change > 0.999 * RADIUS).mean() == pytest.approx(5 / 8, abs=0.03)
