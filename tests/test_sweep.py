"""The sweep: against a plain loop, its tables, and what it does not do."""

import dataclasses
import functools
import re
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import (
  attacks,
  audio,
  checkpoint,
  errors,
  input_pipeline,
  models,
  parallel,
  statistics,
  storage,
  sweep,
)
from configs import paper

TIME = 3 * 640
NUM_CLIPS = 10
EPSILONS = (0.0, 0.01, 0.1)


@pytest.fixture(scope='module')
def split():
  rng = np.random.default_rng(0)
  num_samples = rng.integers(TIME // 2, TIME + 1, NUM_CLIPS)
  pcm = rng.integers(-9000, 9000, (NUM_CLIPS, TIME)).astype(np.int16)
  pcm[np.arange(TIME) >= num_samples[:, None]] = 0
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(NUM_CLIPS)]),
    pcm=pcm,
    num_samples=num_samples,
    labels=rng.integers(0, 3, NUM_CLIPS).astype(np.int32),
  )


@pytest.fixture(scope='module')
def classifiers():
  result = {}
  for i, name in enumerate(models.NAMES):
    model = models.create_model(name, 3, features=6, hidden_features=8)
    init = functools.partial(model.init, train=False)
    variables = jax.jit(init)(jax.random.key(i), jnp.zeros((1, TIME)))
    # Wide logits, so that perturbations change answers.
    variables['params']['logits']['kernel'] *= 50
    result[name] = checkpoint.Classifier(model, variables, {}, 1)
  return result


def judge(classifiers, split, epsilons=EPSILONS, **kwargs):
  kwargs = {'seed': 5, 'batch_size': 4, **kwargs}
  return sweep.judge(classifiers, 'wavecnn', split, epsilons, **kwargs)


def test_equals_a_plain_loop_over_clips_epsilons_and_models(classifiers, split):
  result = judge(classifiers, split)
  logits_fns = {k: jax.jit(c.logits_fn) for k, c in classifiers.items()}
  gradient_fn = jax.jit(
    jax.grad(
      lambda x, label: attacks.cross_entropy(
        logits_fns['wavecnn'](x), label
      ).sum()
    )
  )
  base_key = jax.random.key(5)
  num_compared = 0
  for i in range(NUM_CLIPS):
    clip = audio.from_pcm(jnp.asarray(split.pcm[i : i + 1]))
    label = split.labels[i : i + 1]
    gradient = gradient_fn(clip, label)
    key = jax.random.fold_in(base_key, sweep._noise_id(str(split.ids[i])))
    noise = jax.random.rademacher(key, (1, TIME), jnp.float32)
    for e, epsilon in enumerate(EPSILONS):
      for a, direction in enumerate((jnp.sign(gradient), noise)):
        perturbed = jnp.clip(clip + np.float32(epsilon) * direction, 0, 1)
        for t, logits_fn in enumerate(logits_fns.values()):
          logits = np.asarray(logits_fn(perturbed)[0])
          top = np.sort(logits)
          if top[-1] - top[-2] < 1e-3 * np.abs(logits).max():
            continue  # too close for two summation orders to agree
          num_compared += 1
          assert result.predictions[e, a, t, 0, i] == logits.argmax()
  assert num_compared > 0.7 * result.predictions[:, :, :, 0].size


def test_attacked_clips_change_answers_more_with_epsilon(classifiers, split):
  result = judge(classifiers, split)
  flipped = (result.predictions[:, 0, 0, 0] != result.clean[0]).sum(-1)
  assert flipped[0] == 0
  assert flipped[-1] > 0


def test_epsilon_zero_is_the_clean_answer_saved_or_not(classifiers, split):
  result = judge(classifiers, split)
  for a in range(2):
    for t in range(2):
      for f in range(3):
        np.testing.assert_array_equal(
          result.predictions[0, a, t, f], result.clean[t]
        )
  assert (result.snr_db[0] == np.inf).all()


def test_answers_do_not_depend_on_the_batch_size(classifiers, split):
  small, large = (judge(classifiers, split, batch_size=n) for n in (4, 12))
  np.testing.assert_array_equal(small.clean, large.clean)
  np.testing.assert_array_equal(small.predictions, large.predictions)
  np.testing.assert_allclose(small.snr_db, large.snr_db, rtol=1e-4)


def test_new_epsilons_compile_nothing(classifiers, split):
  judge(classifiers, split, (0.0, 0.01))
  step = sweep._judge_step.cache_info().currsize
  before = _num_compilations(classifiers)
  judge(classifiers, split, (0.3, 0.7))
  assert _num_compilations(classifiers) == before
  assert sweep._judge_step.cache_info().currsize == step


def _num_compilations(classifiers):
  return sweep._judge_step(
    tuple(c.model for c in classifiers.values()),
    0,
    True,
    (0.0, 1.0),
    parallel.make_mesh(),
  )._cache_size()


class OffTheGrid(nn.Module):
  """Says 1 for a clip with a sample between two 16-bit steps, else 0.

  Its gradient is positive everywhere, and each one taken is counted.
  """

  # Small enough for all clips at once.
  frontend = types.SimpleNamespace(features=1, input_pool=1)

  def __call__(self, audio, *, train, valid=None):
    fraction = jnp.abs(audio * 65536 - jnp.round(audio * 65536)).max(-1)
    push = _counted(audio.mean(-1))
    never, other = push * 0 - 1, push * 0 + 0.1
    return jnp.stack([other, fraction + push - audio.mean(-1), never], -1)


GRADIENTS = []


@jax.custom_vjp
def _counted(x):
  return x


def _count(residual, cotangent):
  del residual
  jax.debug.callback(lambda: GRADIENTS.append(1))
  return (cotangent,)


_counted.defvjp(lambda x: (x, None), _count)


def off_the_grid():
  return {'wavecnn': checkpoint.Classifier(OffTheGrid(), {}, {}, 1)}


def test_judges_what_each_file_format_gives_back(split):
  # 0.3 of a 16-bit step: gone from a 16-bit file, kept by a float one.
  epsilons = (0.0, 0.3 / 65536, 1 / 65536)
  result = judge(off_the_grid(), split, epsilons)
  memory, float32, int16 = (result.predictions[:, 0, 0, f] for f in range(3))
  for kept in (memory, float32):
    assert (kept[1] == 1).all()
  for whole_steps in (memory[0], float32[0], *int16, memory[2]):
    assert (whole_steps == 0).all()


def test_one_gradient_serves_every_epsilon(split):
  counts = []
  for num_epsilons in (1, 7):
    GRADIENTS.clear()
    judge(off_the_grid(), split, np.linspace(0, 0.1, num_epsilons))
    jax.effects_barrier()
    counts.append(len(GRADIENTS))
  assert counts[0] == counts[1] > 0


def test_one_device_says_what_four_say(classifiers, split, monkeypatch):
  four = judge(classifiers, split)
  one_device = parallel.make_mesh(devices=jax.devices()[:1])
  monkeypatch.setattr(parallel, 'make_mesh', lambda num_epsilon: one_device)
  on_one = {
    name: dataclasses.replace(
      c, variables=jax.device_put(c.variables, parallel.replicated(one_device))
    )
    for name, c in classifiers.items()
  }
  one = judge(on_one, split)
  np.testing.assert_array_equal(one.clean, four.clean)
  np.testing.assert_array_equal(one.predictions, four.predictions)


@pytest.mark.parametrize('epsilon_devices', [2, 4])
def test_sharing_out_the_epsilons_changes_nothing(
  classifiers, split, epsilon_devices
):
  # Three epsilons on two or four devices: the last group is filled up.
  shared = judge(classifiers, split, epsilon_devices=epsilon_devices)
  plain = judge(classifiers, split)
  np.testing.assert_array_equal(shared.clean, plain.clean)
  np.testing.assert_array_equal(shared.predictions, plain.predictions)
  np.testing.assert_allclose(shared.snr_db, plain.snr_db, rtol=1e-5)


@pytest.mark.parametrize('epsilon_devices', [1, 2])
def test_the_attack_sends_nothing_between_devices(
  classifiers, split, epsilon_devices
):
  mesh = parallel.make_mesh(epsilon_devices)
  step = sweep._judge_step(
    tuple(c.model for c in classifiers.values()), 0, True, (0.0, 1.0), mesh
  )
  batch = next(input_pipeline.batches(split, 4, mesh))
  text = (
    step.lower(
      tuple(c.variables for c in classifiers.values()),
      {key: batch[key] for key in ('audio', 'label', 'mask')},
      parallel.shard_batch(np.zeros(4, np.uint32), mesh),
      np.int32(0),
      np.zeros(4, np.float32),
    )
    .compile()
    .as_text()
  )
  assert 'num_partitions=4' in text
  assert not re.search(
    'all-reduce|all-gather|all-to-all|collective|reduce-scatter', text
  )


def test_no_examples_are_written_when_none_are_wanted(
  config, classifiers, split, tmp_path
):
  config.sweep.num_examples = 0
  assert not sweep.write_examples(
    str(tmp_path), classifiers['wavecnn'], split, config
  )


def test_the_snr_is_of_the_recorded_samples(classifiers, split):
  result = judge(classifiers, split)
  clip = split.pcm[3, : split.num_samples[3]] / 65536.0
  expected = 10 * np.log10(np.mean(clip**2) / 0.01**2)
  np.testing.assert_allclose(result.snr_db[1, :, 3], expected, atol=1e-2)


def test_padding_is_left_alone_when_asked(classifiers, split):
  everything = judge(classifiers, split)
  recorded = judge(classifiers, split, attack_padding=False)
  np.testing.assert_array_equal(recorded.clean, everything.clean)
  assert (recorded.predictions != everything.predictions).any()
  np.testing.assert_allclose(recorded.snr_db, everything.snr_db, rtol=1e-4)


def test_a_batch_that_does_not_fit_the_devices_is_refused(classifiers, split):
  with pytest.raises(errors.InputError, match='got 5 and 4'):
    judge(classifiers, split, batch_size=5)


@pytest.fixture
def config():
  config = paper.get_config()
  config.sweep.epsilons = EPSILONS
  return config


def test_rows_count_what_the_judgements_say(
  config, classifiers, split, tmp_path
):
  result = judge(classifiers, split)
  rows = sweep.sweep_rows(config, 5, models.NAMES, split.labels, result)
  assert len(rows) == 2 * 2 * 3
  row = next(
    r
    for r in rows
    if (r['target'], r['attack'], r['epsilon']) == ('wavernn', 'fgsm', 0.1)
  )
  predictions = result.predictions[2, 0, 1]
  assert row['num_errors'] == int((predictions[0] != split.labels).sum())
  assert row['error_rate'] == row['num_errors'] / NUM_CLIPS
  assert (row['ci_low'], row['ci_high']) == statistics.wilson_interval(
    row['num_errors'], NUM_CLIPS
  )
  assert row['flip_rate'] == (predictions[0] != result.clean[1]).mean()
  assert row['error_rate_int16'] == (predictions[2] != split.labels).mean()

  path = str(tmp_path / 'sweep.csv')
  storage.write_table(path, sweep.SWEEP_COLUMNS, rows)
  back = storage.read_table(path)
  assert tuple(back[0]) == sweep.SWEEP_COLUMNS
  for a, b in zip(rows, back, strict=True):
    for key in sweep.SWEEP_COLUMNS:
      same = isinstance(a[key], str)
      assert b[key] == (a[key] if same else pytest.approx(a[key], rel=1e-5))


def test_samples_have_one_row_a_clip_and_point(config, classifiers, split):
  result = judge(classifiers, split)
  classes = ('a', 'b', 'c')
  rows = sweep.sample_rows(config, 5, models.NAMES, split, classes, result)
  assert len(rows) == 2 * 2 * 3 * NUM_CLIPS
  wrong = sum(
    r['prediction'] != r['label']
    for r in rows
    if (r['target'], r['attack'], r['epsilon']) == ('wavecnn', 'fgsm', 0.1)
  )
  assert wrong == int((result.predictions[2, 0, 0, 0] != split.labels).sum())
  assert {r['id'] for r in rows} == set(split.ids)


def test_example_clips_are_written_cut_to_the_recording(
  config, classifiers, split, tmp_path
):
  config.sweep.example_epsilon = 0.05
  entries = sweep.write_examples(
    str(tmp_path), classifiers['wavecnn'], split, config
  )
  assert len(entries) == 2
  original = audio.load(tmp_path / entries[0]['original'])
  adversarial = audio.load(tmp_path / entries[0]['adversarial'])
  end = split.num_samples[0]
  np.testing.assert_array_equal(original, split.pcm[0, :end])
  moved = np.abs(adversarial.astype(int) - original)
  assert set(moved) <= {0, 3276, 3277}
  assert (moved > 0).mean() > 0.9
