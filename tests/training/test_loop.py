"""Training: exact resume, sharding, the last batch, a loss that explodes."""

import collections
import dataclasses
import functools
import json
import logging
import re
import shutil
import signal
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from tensorboard.backend.event_processing import event_accumulator

from advspeech import (
  checkpoint,
  class_errors,
  errors,
  input_pipeline,
  models,
  parallel,
  preemption,
  training,
)
from advspeech.training import log, loop, metrics, saving, side_by_side
from advspeech.training import summary as summary_lib

pytestmark = pytest.mark.usefixtures('shallow_networks')


# Of plain gradient descent the step is then the gradient.
RATE, STILL = np.float32(1.0), np.float32(0.0)


@pytest.mark.parametrize(
  'model_name',
  # WaveRNN is killed in test_kill.py.
  [tiny.MODEL, pytest.param('wavecnn', marks=pytest.mark.slow)],
)
def test_a_stopped_run_ends_with_the_same_bits(
  tmp_path, config, stop_at, model_name
):
  straight = tiny.run(config, tmp_path / 'straight', model_name)
  # An epoch is 6 steps and 2 batches of validation: stopped between steps,
  # before the first, between steps and validation, and within validation.
  for number in (5, 1, 9, 2, 8):
    stop_at(number)
    with pytest.raises(preemption.Stopped):
      tiny.run(config, tmp_path / 'stopped', model_name)
  stop_at(0)
  resumed = tiny.run(config, tmp_path / 'stopped', model_name)
  assert straight == resumed
  tiny.assert_same_bits(tmp_path / 'straight', tmp_path / 'stopped')
  assert [r['epoch'] for r in tiny.records(tmp_path / 'stopped')] == [1, 2, 3]


@pytest.mark.slow
def test_a_model_of_ones_own_resumes_its_dropout_bit_for_bit(
  tmp_path, config, stop_at
):
  with config.unlocked():
    config.model_options = {'tinymodel': {'dropout': 0.5, 'width': 6}}
  straight = tiny.run(config, tmp_path / 'straight')
  stop_at(9)
  with pytest.raises(preemption.Stopped):
    tiny.run(config, tmp_path / 'stopped')
  stop_at(0)
  assert straight == tiny.run(config, tmp_path / 'stopped')
  tiny.assert_same_bits(tmp_path / 'straight', tmp_path / 'stopped')
  loaded = checkpoint.load_classifier(str(tmp_path / 'straight'))
  assert (loaded.model.width, loaded.model.dropout) == (6, 0.5)
  assert loaded.metadata['model']['name'] == tiny.MODEL


def shout(audio, keys, mask):
  """Recorded samples a random bit louder, as loud for a clip on any device."""
  gain = jax.vmap(lambda key: jax.random.uniform(key, (1,)))(keys)
  return audio + mask * gain * 0.1 * (audio - 0.5)


@pytest.mark.slow
def test_an_augmentation_of_ones_own_is_the_same_on_any_devices(
  tmp_path, config, stop_at
):
  config.training.augmentation = 'test_loop:shout'
  config.training.num_epochs = 2
  straight = tiny.run(config, tmp_path / 'straight')
  stop_at(4)
  with pytest.raises(preemption.Stopped):
    tiny.run(config, tmp_path / 'stopped')
  stop_at(0)
  assert straight == tiny.run(config, tmp_path / 'stopped')
  tiny.assert_same_bits(tmp_path / 'straight', tmp_path / 'stopped')
  config.training.augmentation = ''
  assert tiny.run(config, tmp_path / 'plain') != straight
  losses = []
  split = tiny.SPLITS['test']
  model = models.create_model(tiny.MODEL, 2, norm_axis='data')
  for num in (1, 4):
    mesh = parallel.make_mesh(devices=jax.devices()[:num])
    steps = training.make_steps(
      model, optax.identity(), tiny.TIME, mesh, augment=shout
    )
    state = steps.init(jax.random.key(0))
    for _ in range(2):  # weights stay, clips are drawn anew
      batch = next(input_pipeline.batches(split, 8, mesh))
      state, sums = steps.train(
        state, input_pipeline.step_arrays(batch), jnp.float32(0)
      )
      losses.append(float(sums['loss']))
  np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-6)
  assert losses[0] != losses[1]


def test_every_step_and_every_seed_drops_others():
  model = models.create_model(tiny.MODEL, 2, dropout=0.5, norm_axis='data')
  mesh = parallel.make_mesh(devices=jax.devices()[:2])
  steps = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
  batch = input_pipeline.step_arrays(
    next(input_pipeline.batches(tiny.SPLITS['test'], 8, mesh))
  )
  losses = []
  for seed in (0, 0, 1):
    state = steps.init(jax.random.key(seed))
    for _ in range(2):  # the weights stay as they are
      state, sums = steps.train(state, batch, STILL)
      losses.append(float(sums['loss']))
  assert losses[:2] == losses[2:4]
  assert len({*losses}) == 4


class BatchNormed(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, audio, *, train, valid=None):
    x = audio.reshape(len(audio), -1, 64)
    x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
    return nn.Dense(self.num_classes)(x.mean(1))


def test_statistics_of_a_model_of_ones_own_are_those_of_all_devices():
  model = models.create_model('test_loop:BatchNormed', 2, norm_axis='data')
  batches, means = [], []
  for num in (1, 4):
    mesh = parallel.make_mesh(devices=jax.devices()[:num])
    steps = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
    split = tiny.SPLITS['test']
    batches.append(next(input_pipeline.batches(split, 8, mesh)))
    state, _ = steps.train(
      steps.init(jax.random.key(0)),
      input_pipeline.step_arrays(batches[-1]),
      STILL,
    )
    means.append(state.variables['batch_stats']['BatchNorm_0']['mean'])
  np.testing.assert_allclose(means[0], means[1], rtol=1e-5)


def test_clips_kept_on_the_devices_train_the_same_bits(
  tmp_path, config, stop_at, monkeypatch
):
  config.training.num_epochs = 2
  tiny.run(config, tmp_path / 'host')
  monkeypatch.setattr(parallel, 'is_host', lambda mesh: False)
  stop_at(4)
  with pytest.raises(preemption.Stopped):
    tiny.run(config, tmp_path / 'device')
  stop_at(0)
  tiny.run(config, tmp_path / 'device')
  tiny.assert_same_bits(tmp_path / 'host', tmp_path / 'device')


@pytest.mark.slow
def test_saves_as_often_as_asked(tmp_path, config, monkeypatch):
  saved = []
  original = checkpoint.Checkpoints.save

  def save(self, step, *args, **kwargs):
    saved.append(step)
    original(self, step, *args, **kwargs)

  monkeypatch.setattr(checkpoint.Checkpoints, 'save', save)
  config.training.save_every_s = 1e-9  # after the steps that are timed
  tiny.run(config, tmp_path)
  assert saved == list(range(5, 19))
  config.training.save_every_s = 1e9
  saved.clear()
  tiny.run(config, tmp_path / 'rarely')
  assert set(saved) <= {6, 12, 18}
  assert saved[-1] == 18


@pytest.mark.slow
def test_goes_on_with_another_number_of_devices(tmp_path, config, stop_at):
  straight = tiny.run(config, tmp_path / 'straight')
  stop_at(11)
  with pytest.raises(preemption.Stopped):
    tiny.run(config, tmp_path / 'moved')
  stop_at(0)
  mesh = parallel.make_mesh(devices=jax.devices()[:2])
  moved = tiny.run(config, tmp_path / 'moved', mesh=mesh)
  assert moved['device']['num_devices'] == 2
  for a, b in zip(
    tiny.records(tmp_path / 'straight'),
    tiny.records(tmp_path / 'moved'),
    strict=True,
  ):
    # What the README promises.
    assert a['loss'] == pytest.approx(b['loss'], abs=0.02)
  assert straight['num_parameters'] == moved['num_parameters']


@pytest.mark.slow
def test_members_side_by_side_end_with_the_bits_of_one_after_another(
  tmp_path, config
):
  meshes = [
    parallel.make_mesh(devices=jax.devices()[i : i + 2]) for i in (0, 2)
  ]
  summaries = {}
  for name, groups in (('beside', meshes), ('after', meshes[:1])):
    summaries[name] = side_by_side.run(
      lambda seed, mesh, name=name: tiny.run(
        config, tmp_path / name / str(seed), mesh=mesh, seed=seed
      ),
      (0, 1, 2),
      groups,
    )
  assert summaries['beside'] == summaries['after']
  for seed in '012':
    tiny.assert_same_bits(tmp_path / 'beside' / seed, tmp_path / 'after' / seed)


@pytest.mark.slow
def test_a_member_that_fails_leaves_the_others_to_finish(tmp_path, config):
  meshes = [
    parallel.make_mesh(devices=jax.devices()[i : i + 2]) for i in (0, 2)
  ]

  def train(seed, mesh):
    own = config.copy_and_resolve_references()
    if seed == 0:
      own.training.learning_rate = 1e30
    tiny.run(own, tmp_path / str(seed), mesh=mesh, seed=seed)

  with pytest.raises(errors.InputError, match='loss became'):
    side_by_side.run(train, (0, 1), meshes)
  assert (tmp_path / '1' / 'summary.json').exists()


_COMMUNICATION = re.compile(
  r' (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)'
  r'(?:-start)?\('
)


def num_exchanges(model_name, norm):
  mesh = parallel.make_mesh()
  model = models.create_model(
    model_name, 2, features=3, hidden_features=4, norm=norm, norm_axis='data'
  )
  steps = training.make_steps(model, optax.scale_by_adam(), tiny.TIME, mesh)
  batch = next(input_pipeline.batches(tiny.SPLITS['train'], 8, mesh))
  compiled = steps.train.lower(
    steps.init(jax.random.key(0)), input_pipeline.step_arrays(batch), RATE
  ).compile()
  # In a loop, one would be sent at every frame.
  for body in re.findall(r'body=%?([\w.-]+)', compiled.as_text()):
    text = compiled.as_text().split(f'\n%{body} ')[1].split('\n}')[0]
    assert not _COMMUNICATION.search(text)
  return collections.Counter(_COMMUNICATION.findall(compiled.as_text()))


@pytest.mark.parametrize(
  'model_name', ['wavecnn', pytest.param('wavernn', marks=pytest.mark.slow)]
)
def test_a_step_sends_its_gradients_in_one_all_reduce(model_name):
  assert num_exchanges(model_name, 'none') == {'all-reduce': 1}
  layers = {'wavecnn': 3, 'wavernn': 2}[model_name]
  # Mean and variance together: gathered, and their gradients summed.
  assert num_exchanges(model_name, 'batch') == {
    'all-reduce': 1 + layers,
    'all-gather': layers,
  }


@pytest.mark.parametrize(
  'model_name', ['wavernn', pytest.param('wavecnn', marks=pytest.mark.slow)]
)
def test_bfloat16_computes_in_bfloat16_and_keeps_float32(model_name):
  mesh = parallel.make_mesh()
  model = models.create_model(
    model_name,
    2,
    features=3,
    hidden_features=4,
    precision='bfloat16',
    norm_axis='data',
  )
  steps = training.make_steps(model, optax.scale_by_adam(), tiny.TIME, mesh)
  batch = input_pipeline.step_arrays(
    next(input_pipeline.batches(tiny.SPLITS['train'], 8, mesh))
  )
  state = steps.init(jax.random.key(0))
  text = str(jax.make_jaxpr(steps.train)(state, batch, RATE))
  products = re.findall(r':(\w+)\[[^]]*\] = (?:conv_general|dot_gen)', text)
  assert products
  assert set(products) == {'bf16'}
  state, sums = steps.train(state, batch, RATE)
  for x in jax.tree.leaves((state._replace(rng=None), sums)):
    assert x.dtype in (jnp.float32, jnp.int32)


def test_learns_what_can_be_learnt_and_says_what_it_did(tmp_path, config):
  config.training.num_epochs = 24
  config.training.learning_rate = 1e-2
  summary = tiny.run(config, tmp_path)
  assert summary['test']['accuracy'] >= 0.9
  assert summary['test']['num_clips'] == 21
  by_class = summary['test']['errors_by_class']
  wrong, num = map(sum, zip(*by_class.values(), strict=True))
  assert (num, 1 - wrong / num) == (
    21,
    pytest.approx(summary['test']['accuracy']),
  )
  assert sum(summary['validation']['answers_by_class'].values()) == 10
  assert summary['num_clips'] == {'train': 43, 'validation': 10, 'test': 21}
  on_disk = json.loads((tmp_path / 'summary.json').read_text())
  assert on_disk == json.loads(json.dumps(summary))

  records = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').open()]
  assert [r['epoch'] for r in records] == list(range(1, 25))
  assert records[-1]['step'] == 24 * 6
  # The smooth decay, read at the last of 144 steps.
  rate = 1e-2 * 0.1 ** (143 / 144)
  assert records[-1]['learning_rate'] == pytest.approx(rate, rel=1e-4)
  best = max(
    records, key=lambda r: (r['validation_accuracy'], -r['validation_loss'])
  )
  assert summary['best_epoch'] == best['epoch']

  classifier = checkpoint.load_classifier(str(tmp_path))
  assert classifier.metadata['classes'] == list(tiny.CLASSES)
  clips = tiny.SPLITS['test'].pcm / 65536.0 + 0.5
  predictions = jnp.argmax(classifier.logits_fn(jnp.asarray(clips)), -1)
  accuracy = float((predictions == tiny.SPLITS['test'].labels).mean())
  assert accuracy == pytest.approx(summary['test']['accuracy'])


def test_tensorboard_reads_the_events(tmp_path, config):
  config.training.num_epochs = 2
  tiny.run(config, tmp_path)
  events = event_accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
  events.Reload()
  assert [e.step for e in events.Scalars('loss')] == [1, 2]


def test_a_record_that_is_none_is_dropped_on_resuming(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  good = b'{"epoch": 1, "loss": 0.5}\n'
  bad = (b'{"loss": 0.5}', b'5', b'null', b'{"epoch": null}', b'\xff\x00', b'')
  path.write_bytes(good + b'\n'.join(bad) + b'\n{"epoch": 2}\n{"epoch": 1')
  with log.TrainingLog(str(tmp_path), 1) as opened:
    opened.write({'epoch': 2, 'loss': 0.25})
  assert path.read_bytes() == good + b'{"epoch": 2, "loss": 0.25}\n'


def test_four_devices_compute_the_loss_and_gradient_of_one(config):
  batch = next(
    input_pipeline.batches(tiny.SPLITS['train'], 8, parallel.make_mesh())
  )
  batch = input_pipeline.step_arrays(batch)
  model = models.create_model(
    'wavecnn', 2, features=3, hidden_features=4, norm_axis='data'
  )
  results = []
  for devices in (jax.devices(), jax.devices()[:1]):
    mesh = parallel.make_mesh(devices=devices)
    steps = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
    state = steps.init(jax.random.key(0))
    before = jax.tree.map(np.asarray, state.variables)
    placed = parallel.shard_batch(jax.tree.map(np.asarray, batch), mesh)
    state, sums = steps.train(state, placed, RATE)
    change = jax.tree.map(
      lambda a, b: np.asarray(a) - b, state.variables, before
    )
    results.append((change, jax.device_get(sums)))
  (change4, sums4), (change1, sums1) = results
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    change4,
    change1,
  )
  for key in sums1:
    assert sums4[key] == pytest.approx(sums1[key], rel=1e-4)


def test_rows_that_are_not_valid_move_no_parameter():
  mesh = parallel.make_mesh()
  model = models.create_model(
    'wavecnn', 2, features=3, hidden_features=4, norm_axis='data'
  )
  steps = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
  batch = next(input_pipeline.batches(tiny.SPLITS['train'], 4, mesh))
  batch = jax.tree.map(np.asarray, input_pipeline.step_arrays(batch))
  filled = {
    'audio': np.concatenate([batch['audio'], np.full((4, tiny.TIME), 0.9)]),
    'label': np.concatenate([batch['label'], np.ones(4)]),
    'valid': np.array([1, 1, 1, 1, 0, 0, 0, 0]),
  }
  filled = {k: v.astype(batch[k].dtype) for k, v in filled.items()}
  results = [
    steps.train(
      steps.init(jax.random.key(0)), parallel.shard_batch(rows, mesh), RATE
    )
    for rows in (batch, filled)
  ]
  (state, sums), (state_filled, sums_filled) = jax.device_get(results)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    state.variables,
    state_filled.variables,
  )
  for key in sums:
    assert sums_filled[key] == pytest.approx(sums[key], rel=1e-4)


def test_rows_that_are_not_valid_count_for_nothing_in_evaluation():
  mesh = parallel.make_mesh()
  model = models.create_model('wavernn', 2, features=3, hidden_features=4)
  steps = training.make_steps(model, optax.identity(), tiny.TIME, mesh)
  variables = steps.init(jax.random.key(0)).variables
  split = tiny.SPLITS['test']
  whole = training.evaluate(steps.evaluate, variables, split, 24, mesh)
  parts = training.evaluate(steps.evaluate, variables, split, 8, mesh)
  logits = model.apply(
    variables, jnp.asarray(split.pcm / 65536.0 + 0.5), train=False
  )
  expected = float((jnp.argmax(logits, -1) == split.labels).mean())
  for result in (whole, parts):
    assert result['num_clips'] == 21
    assert result['accuracy'] == pytest.approx(expected)
    counts = class_errors.count(np.argmax(logits, -1), split.labels, 2)
    np.testing.assert_array_equal(result['answers'], counts)
  assert whole['loss'] == pytest.approx(parts['loss'], rel=1e-5)


def test_a_loss_that_is_not_finite_names_the_step_and_the_rate(
  tmp_path, config
):
  config.training.learning_rate = 1e30
  with pytest.raises(
    errors.InputError,
    match=r'loss became (nan|inf) at step \d+ with learning rate .*e\+',
  ):
    tiny.run(config, tmp_path)


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path, config):
  config.training.num_epochs = 1
  with config.unlocked():
    config.model_options = {'tinymodel': {'width': 4}}
  tiny.run(config, tmp_path / 'a')
  config.training.num_epochs = 2
  config.model_options.tinymodel.width = 5
  shutil.rmtree(tmp_path / 'a' / 'tensorboard')
  with pytest.raises(errors.InputError, match='width=4 where 5 is expected'):
    tiny.run(config, tmp_path / 'a')


def test_a_batch_that_does_not_fit_the_devices_is_refused(tmp_path, config):
  config.training.batch_size = 6
  with pytest.raises(errors.InputError, match='got 6 and 4; use 4 or 8'):
    tiny.run(config, tmp_path)


def untrained(config, seed=0):
  """A WaveCNN to take the front end of, as it begins."""
  metadata = training.describe(config, 'wavecnn', seed, tiny.CLASSES, tiny.TIME)
  model = models.create_model(**metadata['model'])
  clip = jnp.zeros((1, tiny.TIME))
  variables = model.init(jax.random.key(seed), clip, train=False)
  return checkpoint.Classifier(model, variables, metadata, 1)


@pytest.mark.slow
def test_a_model_on_anothers_front_end_keeps_it_bit_for_bit(tmp_path):
  config = tiny.get_config()
  config.training.num_epochs = 1
  own, folder = untrained(config), tmp_path / 'wavernn_on_wavecnn-seed0'
  summary = tiny.run(config, folder, 'wavernn_on_wavecnn', frontend=own)
  assert summary['model']['name'] == 'wavernn'
  assert summary['frontend_of'] == 'wavecnn'
  taken = checkpoint.load_classifier(str(folder))
  for kind in ('params', 'batch_stats'):
    jax.tree.map(
      np.testing.assert_array_equal,
      taken.variables[kind]['frontend'],
      own.variables[kind]['frontend'],
    )
  # Frozen in training alone: an attack goes through it.
  clips = jnp.asarray(tiny.SPLITS['test'].pcm[:2]) / 65536.0 + 0.5
  gradient = jax.grad(lambda x: taken.logits_fn(x)[:, 0].sum())(clips)
  assert bool((gradient != 0).any())

  # Nor does it go on, if it was stopped, on one that was trained anew.
  with pytest.raises(
    errors.InputError,
    match=r'wavernn_on_wavecnn-seed0 has another front end than wavecnn of '
    r'seed 0, which was trained anew since; remove .*seed0 and train it again',
  ):
    tiny.run(
      config,
      folder,
      'wavernn_on_wavecnn',
      frontend=dataclasses.replace(
        own, variables=untrained(config, 1).variables
      ),
    )


def test_a_front_end_that_is_not_there_is_asked_for(tmp_path):
  with pytest.raises(errors.InputError, match='of a trained wavecnn, got none'):
    tiny.run(tiny.get_config(), tmp_path, 'wavernn_on_wavecnn')


def test_a_front_end_whose_training_has_not_ended_is_refused(stopped, tmp_path):
  unfinished = checkpoint.load_classifier(str(stopped / 'wavecnn-seed0'))
  with pytest.raises(
    errors.InputError,
    match='of a trained wavecnn, got one in its epoch 2, whose training has',
  ):
    tiny.run(
      tiny.get_config(), tmp_path, 'wavernn_on_wavecnn', frontend=unfinished
    )


def scripted(monkeypatch, accuracies):
  """Has every validation find the next of some accuracies."""
  found = iter(accuracies)
  for module in (loop, summary_lib):
    monkeypatch.setattr(
      module,
      'evaluate',
      lambda *_: {
        'accuracy': next(found),
        'loss': 1.0,
        'num_clips': 10,
        'answers': np.eye(2, dtype=int),
      },
    )


def damage(workdir, step):
  (workdir / 'checkpoints' / str(step) / 'metrics' / 'metrics').write_text('')


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """Stopped in the last of three epochs; the second was the best so far.

  `first` holds the first epoch's checkpoint, which is no longer there.
  """
  folder = tmp_path_factory.mktemp('stopped')
  workdir = folder / 'wavecnn-seed0'
  config = tiny.get_config()
  with pytest.MonkeyPatch.context() as monkeypatch:
    scripted(monkeypatch, [0.5, 0.9])
    for number, kept in ((8, '6'), (7, None)):
      calls = iter(range(1, 10**6))

      def check(number=number, calls=calls):
        if next(calls) == number:
          raise preemption.Stopped(signal.SIGTERM)

      monkeypatch.setattr(preemption, 'check', check)
      with pytest.raises(preemption.Stopped):
        tiny.run(config, workdir)
      if kept:
        shutil.copytree(workdir / 'checkpoints' / kept, folder / 'first')
  return folder


@pytest.mark.parametrize(
  ('first_is_left', 'last', 'best_epoch', 'told'),
  [
    (False, 0.4, 3, 'epoch, 2, is lost; the best one from here on takes its'),
    (True, 0.4, 1, 'epoch, 2, is lost; epoch 1, the best one left, takes its'),
    (True, 0.7, 3, 'epoch, 2, is lost; epoch 1, the best one left, takes its'),
  ],
)
def test_the_best_that_is_left_is_the_one_to_surpass(
  stopped,
  tmp_path,
  config,
  monkeypatch,
  caplog,
  first_is_left,
  last,
  best_epoch,
  told,
):
  workdir = shutil.copytree(stopped / 'wavecnn-seed0', tmp_path / 'again')
  damage(workdir, 12)
  if first_is_left:
    shutil.copytree(stopped / 'first', workdir / 'checkpoints' / '6')
  scripted(monkeypatch, [last, 0.0, 0.0])
  with caplog.at_level(logging.WARNING, 'advspeech'):
    summary = tiny.run(config, workdir)
  assert told in caplog.text
  assert summary['best_epoch'] == best_epoch
  assert checkpoint.load_classifier(str(workdir)).epoch == best_epoch


def test_a_training_that_ended_and_lost_its_best_takes_the_last(
  stopped, tmp_path, config, monkeypatch, caplog
):
  workdir = shutil.copytree(stopped / 'wavecnn-seed0', tmp_path / 'again')
  scripted(monkeypatch, [0.6])
  with pytest.raises(StopIteration):  # killed before the summary
    tiny.run(config, workdir)
  damage(workdir, 12)
  scripted(monkeypatch, [0.6, 0.6, 0.6])
  with caplog.at_level(logging.WARNING, 'advspeech'):
    summary = tiny.run(config, workdir)
  assert 'is lost; the last one, validated again, takes its' in caplog.text
  assert summary['best_epoch'] == 3
  assert checkpoint.load_classifier(str(workdir)).epoch == 3


def test_the_throughput_is_that_of_training_steps_alone(
  tmp_path, config, monkeypatch
):
  now = [0.0]
  config.training.save_every_s = 4.0  # every second step, from the fifth on
  clock = types.SimpleNamespace(monotonic=lambda: now[0])
  for module in (loop, metrics, saving):
    monkeypatch.setattr(module, 'time', clock)

  def takes(seconds, function):
    def slow(*args, **kwargs):
      now[0] += seconds
      return function(*args, **kwargs)

    return slow

  monkeypatch.setattr(loop, 'evaluate', takes(1000, training.evaluate))
  saved, save = [], takes(1000, checkpoint.Checkpoints.save)
  monkeypatch.setattr(
    checkpoint.Checkpoints,
    'save',
    lambda self, step, *args, **kwargs: (
      saved.append(step),
      save(self, step, *args, **kwargs),
    ),
  )
  compiled = functools.cached_property(
    takes(1000, training.Program.compiled.func)
  )
  compiled.__set_name__(training.Program, 'compiled')
  monkeypatch.setattr(training.Program, 'compiled', compiled)
  # It comes before every step.
  monkeypatch.setattr(preemption, 'check', takes(2, preemption.check))
  tiny.run(config, tmp_path)
  assert [step for step in saved if step % 6]  # within an epoch
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  for line in lines:
    assert json.loads(line)['clips_per_s'] == pytest.approx(43 / (6 * 2))
