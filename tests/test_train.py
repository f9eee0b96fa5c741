"""Training: exact resume, sharding, the last batch, a loss that explodes."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from tensorboard.backend.event_processing import event_accumulator

from advspeech import (
  checkpoint,
  errors,
  input_pipeline,
  models,
  parallel,
  train,
)
from configs import paper

TIME = 2 * 640
CLASSES = ('low', 'high')


@pytest.fixture
def config():
  config = paper.get_config()
  config.clip_s = TIME / 16_000
  config.model.features = 3
  config.model.hidden_features = 4
  config.training.update(
    ml_collections.ConfigDict(
      {'batch_size': 8, 'num_epochs': 3, 'learning_rate': 3e-3}
    )
  )
  return config


def tones(num_clips, seed):
  """Clips of a low or a high tone: a task a tiny model can learn."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 2, num_clips).astype(np.int32)
  time_s = np.arange(TIME) / 16_000
  hz = np.where(labels, 2000, 200) * rng.uniform(0.9, 1.1, num_clips)
  wave = np.sin(
    2 * np.pi * hz[:, None] * time_s + rng.uniform(0, 6, (num_clips, 1))
  )
  return input_pipeline.Split(
    ids=np.array([f'{seed}-{i}' for i in range(num_clips)]),
    pcm=np.rint(8000 * wave).astype(np.int16),
    num_samples=np.full(num_clips, TIME),
    labels=labels,
  )


SPLITS = {
  'train': tones(43, 0),  # not a multiple of the batch size
  'validation': tones(10, 1),
  'test': tones(21, 2),
}


def run(config, workdir, model_name='wavecnn'):
  workdir.mkdir(exist_ok=True)
  return train.train_and_evaluate(
    config,
    str(workdir),
    model_name=model_name,
    seed=0,
    splits=SPLITS,
    classes=CLASSES,
  )


def final_trees(config, workdir, epoch):
  """Returns every array saved at an epoch, the optimiser's too."""
  mesh = parallel.make_mesh()
  with checkpoint.Checkpoints(str(workdir)) as checkpoints:
    metadata = checkpoints.metadata(epoch)
    description = metadata['model']
    tx = optax.adam(train.learning_rate(config.training, 1))
    steps = train.make_steps(models.create_model(**description), tx, TIME, mesh)
    like = parallel.abstract_replicated(
      functools.partial(steps.init, jax.random.key(0)), mesh
    )
    trees = checkpoints.restore(epoch, metadata, **train._trees(like))
  return jax.tree.map(np.asarray, trees)


@pytest.mark.parametrize('model_name', models.NAMES)
def test_an_interrupted_run_ends_with_the_same_bits(
  tmp_path, config, monkeypatch, model_name
):
  straight = run(config, tmp_path / 'straight', model_name)

  class Killed(BaseException):
    pass

  original = train._Records.write

  def dies_in_epoch_3(self, epoch, step, metrics):
    original(self, epoch, step, metrics)
    if epoch == 3:
      raise Killed

  with monkeypatch.context() as patched:
    patched.setattr(train._Records, 'write', dies_in_epoch_3)
    with pytest.raises(Killed):
      run(config, tmp_path / 'stopped', model_name)
  with checkpoint.Checkpoints(str(tmp_path / 'stopped')) as checkpoints:
    assert checkpoints.latest_epoch == 2
  resumed = run(config, tmp_path / 'stopped', model_name)

  a = final_trees(config, tmp_path / 'straight', 3)
  b = final_trees(config, tmp_path / 'stopped', 3)
  jax.tree.map(np.testing.assert_array_equal, a, b)
  assert straight == resumed
  records = [
    [json.loads(line) for line in (tmp_path / d / 'metrics.jsonl').open()]
    for d in ('straight', 'stopped')
  ]
  for x, y in zip(*records, strict=True):
    x.pop('clips_per_s')
    y.pop('clips_per_s')
    assert x == y


def test_learns_what_can_be_learnt_and_says_what_it_did(tmp_path, config):
  config.training.num_epochs = 24
  config.training.learning_rate = 1e-2
  config.model.norm_momentum = 0.5
  summary = run(config, tmp_path)
  assert summary['test']['accuracy'] >= 0.9
  assert summary['test']['num_clips'] == 21
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
  assert classifier.metadata['classes'] == list(CLASSES)
  clips = SPLITS['test'].pcm / 65536.0 + 0.5
  predictions = jnp.argmax(classifier.logits_fn(jnp.asarray(clips)), -1)
  accuracy = float((predictions == SPLITS['test'].labels).mean())
  assert accuracy == pytest.approx(summary['test']['accuracy'])


def test_tensorboard_reads_the_events(tmp_path, config):
  config.training.num_epochs = 2
  run(config, tmp_path)
  events = event_accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
  events.Reload()
  assert [e.step for e in events.Scalars('loss')] == [1, 2]


def test_four_devices_compute_the_loss_and_gradient_of_one(config):
  batch = next(input_pipeline.batches(SPLITS['train'], 8, parallel.make_mesh()))
  batch = train._arrays(batch)
  model = models.create_model('wavecnn', 2, features=3, hidden_features=4)
  # Plain gradient descent with rate 1: the step is the gradient.
  results = []
  for devices in (jax.devices(), jax.devices()[:1]):
    mesh = jax.make_mesh(
      (len(devices),),
      ('data',),
      devices=devices,
      axis_types=(jax.sharding.AxisType.Auto,),
    )
    steps = train.make_steps(model, optax.sgd(1.0), TIME, mesh)
    state = steps.init(jax.random.key(0))
    before = jax.tree.map(np.asarray, state.variables)
    placed = parallel.shard_batch(jax.tree.map(np.asarray, batch), mesh)
    state, sums = steps.train(state, placed)
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
  model = models.create_model('wavecnn', 2, features=3, hidden_features=4)
  steps = train.make_steps(model, optax.sgd(1.0), TIME, mesh)
  batch = next(input_pipeline.batches(SPLITS['train'], 4, mesh))
  batch = jax.tree.map(np.asarray, train._arrays(batch))
  filled = {
    'audio': np.concatenate([batch['audio'], np.full((4, TIME), 0.9)]),
    'label': np.concatenate([batch['label'], np.ones(4)]),
    'valid': np.array([1, 1, 1, 1, 0, 0, 0, 0]),
  }
  filled = {k: v.astype(batch[k].dtype) for k, v in filled.items()}
  results = [
    steps.train(steps.init(jax.random.key(0)), parallel.shard_batch(rows, mesh))
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
  steps = train.make_steps(model, optax.sgd(1.0), TIME, mesh)
  variables = steps.init(jax.random.key(0)).variables
  split = SPLITS['test']
  whole = train.evaluate(steps.evaluate, variables, split, 24, mesh)
  parts = train.evaluate(steps.evaluate, variables, split, 8, mesh)
  logits = model.apply(
    variables, jnp.asarray(split.pcm / 65536.0 + 0.5), train=False
  )
  expected = float((jnp.argmax(logits, -1) == split.labels).mean())
  for result in (whole, parts):
    assert result['num_clips'] == 21
    assert result['accuracy'] == pytest.approx(expected)
  assert whole['loss'] == pytest.approx(parts['loss'], rel=1e-5)


def test_a_loss_that_is_not_finite_names_the_step_and_the_rate(
  tmp_path, config
):
  config.model.norm = 'none'
  config.training.learning_rate = 1e30
  with pytest.raises(
    errors.InputError,
    match=r'loss became (nan|inf) at step \d+ with learning rate .*e\+',
  ):
    run(config, tmp_path)


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path, config):
  config.training.num_epochs = 1
  run(config, tmp_path / 'a')
  config.training.num_epochs = 2
  config.model.hidden_features = 5
  shutil.rmtree(tmp_path / 'a' / 'tensorboard')
  with pytest.raises(
    errors.InputError, match='hidden_features=4 where 5 is expected'
  ):
    run(config, tmp_path / 'a')


def test_a_batch_that_does_not_fit_the_devices_is_refused(tmp_path, config):
  config.training.batch_size = 6
  with pytest.raises(errors.InputError, match='got 6 and 4; use 4 or 8'):
    run(config, tmp_path)
