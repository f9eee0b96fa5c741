"""Gradients over a split: the same rows whatever batch, order and devices."""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from advspeech import (
  attacks,
  audio,
  checkpoint,
  errors,
  gradients,
  input_pipeline,
  models,
  parallel,
  progress,
  storage,
)
from advspeech import figures as house
from advspeech.models import wavernn
from advspeech.studies.gradients import (
  analysis,
  figures,
  growth,
  parts,
  precision,
  recurrence,
)

pytestmark = pytest.mark.usefixtures('shallow_networks')

TIME = 2 * 16_000
NUM_CLIPS = 6
SIZES = {'features': 3, 'hidden_features': 4, 'input_pool': 2}


@pytest.fixture(scope='module')
def split():
  rng = np.random.default_rng(0)
  num_samples = rng.integers(TIME // 2, TIME, NUM_CLIPS)
  pcm = rng.integers(-9000, 9000, (NUM_CLIPS, TIME)).astype(np.int16)
  pcm[np.arange(TIME) >= num_samples[:, None]] = 0
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(NUM_CLIPS)]),
    pcm=pcm,
    num_samples=num_samples,
    labels=rng.integers(0, 2, NUM_CLIPS).astype(np.int32),
  )


@pytest.fixture(scope='module')
def classifiers():
  result = {}
  for name in models.NAMES:
    model = models.create_model(name, 2, **SIZES)
    init = functools.partial(model.init, train=False)
    variables = jax.jit(init)(jax.random.key(1), jnp.zeros((1, TIME)))
    metadata = {
      'model': {'name': name, 'num_classes': 2, **SIZES},
      'classes': ['a', 'b'],
    }
    result[f'{name}-seed0'] = checkpoint.Classifier(
      model, variables, metadata, 1
    )
  return result


def rows_of(split, order):
  return input_pipeline.Split(
    *(getattr(split, field.name)[order] for field in dataclasses.fields(split))
  )


@pytest.fixture(scope='module')
def statistics(classifiers, split):
  return analysis.clip_statistics(classifiers, split)


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_rows_are_identical_in_another_order(classifiers, split, statistics):
  order = np.array([3, 0, 5, 1, 4, 2])
  shuffled = analysis.clip_statistics(classifiers, rows_of(split, order))
  assert_same(shuffled, jax.tree.map(lambda x: x[order], statistics))


@pytest.mark.slow
def test_rows_are_identical_on_one_device(
  classifiers, split, statistics, monkeypatch
):
  one_device = parallel.make_mesh(devices=jax.devices()[:1])
  monkeypatch.setattr(parallel, 'make_mesh', lambda: one_device)
  on_one = {
    name: dataclasses.replace(
      c, variables=jax.device_put(c.variables, parallel.replicated(one_device))
    )
    for name, c in classifiers.items()
  }
  one = analysis.clip_statistics(on_one, split)
  assert_same(one, statistics)


def test_statistics_are_those_of_the_gradients(classifiers, split, statistics):
  whole = analysis.whole_gradients(classifiers, split)
  assert whole.shape == (NUM_CLIPS, 2, TIME)
  for m, classifier in enumerate(classifiers.values()):
    clips = audio.from_pcm(jnp.asarray(split.pcm))

    def loss_fn(x, classifier=classifier):
      return attacks.cross_entropy(classifier.logits_fn(x), split.labels)

    expected = jax.jit(functools.partial(gradients.input_gradient, loss_fn))(
      clips
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(whole[:, m], expected, atol=1e-4 * scale)
  magnitude = np.abs(whole).astype(np.float64)
  np.testing.assert_allclose(
    statistics['all']['l1'], magnitude.sum(-1), rtol=1e-4
  )
  np.testing.assert_allclose(
    statistics['profile'],
    magnitude.reshape(NUM_CLIPS, 2, -1, 640).mean(-1),
    rtol=1e-4,
  )
  mask = np.arange(TIME) < split.num_samples[:, None]
  energy = (magnitude**2).sum(-1)
  on_padding = (magnitude**2 * ~mask[:, None]).sum(-1) / energy
  np.testing.assert_allclose(
    statistics['all']['outside_energy'], on_padding, rtol=1e-3
  )
  level = np.abs(split.pcm.reshape(NUM_CLIPS, -1, 640)).mean(-1)
  for i in range(NUM_CLIPS):
    frames = split.num_samples[i] // 640
    for m in range(2):
      np.testing.assert_allclose(
        statistics['recorded']['speech_correlation'][i, m],
        stats.spearmanr(
          statistics['profile'][i, m, :frames], level[i, :frames]
        )[0],
        atol=1e-5,
      )
  recorded = (magnitude * mask[:, None]).sum(-1)
  np.testing.assert_allclose(statistics['recorded']['l1'], recorded, rtol=1e-4)
  signs = (np.sign(whole[:, 0]) == np.sign(whole[:, 1])).mean(-1)
  np.testing.assert_allclose(
    statistics['pairs']['sign_agreement'][:, 0], signs, rtol=1e-6
  )


@pytest.mark.slow
def test_recordings_can_lie_at_the_end(classifiers, split):
  moved = analysis.clip_statistics(classifiers, split, alignment='end')
  rolled = dataclasses.replace(
    split,
    pcm=np.stack(
      [
        np.roll(clip, TIME - n)
        for clip, n in zip(split.pcm, split.num_samples, strict=True)
      ]
    ),
    num_samples=np.full(NUM_CLIPS, TIME),
  )
  plain = analysis.clip_statistics(classifiers, rolled)
  np.testing.assert_array_equal(moved['profile'], plain['profile'])
  np.testing.assert_array_equal(
    moved['recorded']['num_samples'][:, 0], split.num_samples
  )


@pytest.mark.slow
def test_recordings_are_aligned_wherever_they_were_padded(split, classifiers):
  spare = TIME - split.num_samples
  starts = np.where(np.arange(NUM_CLIPS) % 2, spare, spare // 2)  # or center
  elsewhere = dataclasses.replace(
    split,
    pcm=np.stack(
      [np.roll(x, n) for x, n in zip(split.pcm, starts, strict=True)]
    ),
    starts=starts,
  )
  for alignment in analysis.ALIGNMENTS:
    found, expected = (
      analysis.clip_statistics(classifiers, clips, alignment=alignment)
      for clips in (elsewhere, split)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_dither_leaves_no_ties_in_digital_silence():
  clips = jnp.full((2, 4096), audio.SILENCE)
  keys = jax.random.split(jax.random.key(0), 2)
  noise = np.asarray(precision.dithered(clips, keys) - clips)
  assert noise.dtype == np.float32
  assert np.abs(noise).max() < 1 / audio.LSB_PER_UNIT
  assert abs(noise.mean()) < 0.02 / audio.LSB_PER_UNIT
  # As equal as numbers drawn from those that float32 has there may be.
  assert (np.diff(noise) == 0).mean() < 0.02
  np.testing.assert_array_equal(
    noise[1:], precision.dithered(clips[1:], keys[1:]) - clips[1:]
  )
  assert (noise[0] != noise[1]).mean() > 0.98


@pytest.mark.slow
@pytest.mark.parametrize('name', models.NAMES)
def test_silence_changes_the_loss_as_predicted_where_nothing_ties(
  classifiers, split, name, monkeypatch
):
  """Of networks whose maps are not zero in padding, as trained ones are."""
  rng = np.random.default_rng(0)
  c = classifiers[f'{name}-seed0']
  params = jax.tree.map(
    lambda x: x + 0.2 * jnp.asarray(rng.normal(size=x.shape), x.dtype),
    c.variables['params'],
  )
  moved = dataclasses.replace(c, variables={**c.variables, 'params': params})
  half = rows_of(split, np.array([0, 1]))
  half.pcm[:, TIME // 2 :] = 0

  def met():
    along = growth.accumulation(moved, half)['epsilon']
    return along['measured'][:, 0] / along['predicted'][:, 0]

  assert (np.abs(met() - 1) < 0.1).all()
  monkeypatch.setattr(precision, 'dithered', lambda clips, keys: clips)
  assert (met() < 0.8).all()


@pytest.mark.slow
def test_float64_is_the_reference_and_float16_underflows(classifiers, split):
  # A loss that small has gradients below what float16 holds.
  name = 'wavernn-seed0'
  part = precision.fidelity(classifiers[name], split, (0.0, 0.01))
  of = dict(zip(precision.ARITHMETICS, range(4), strict=True))
  agreement = part['signs']['sign_agreement']
  assert (agreement[:, of['float64']] == 1).all()
  assert (agreement[:, of['float32']] > 0.999).all()
  assert (
    agreement[:, of['bfloat16']].mean() < agreement[:, of['float32']].mean()
  )
  zeros = part['signs']['zero_share']
  assert zeros[:, of['float16']].mean() > 0.1
  # In each clip: how many samples no maximum passes on, in any arithmetic,
  # differs from clip to clip by more (7 to 48 %) on so shallow a network.
  assert (zeros[:, of['float64']] + 0.2 < zeros[:, of['float16']]).all()
  assert part['predictions'].shape == (NUM_CLIPS, 5, 2)
  # As many classes as there may be.
  assert part['predictions'].dtype == part['clean'].dtype == np.int32
  for d in range(5):
    np.testing.assert_array_equal(part['predictions'][:, d, 0], part['clean'])


@pytest.mark.slow
def test_the_recurrent_part_alone_is_the_models(classifiers, split):
  for name in ('wavernn', 'wavernn_tanh'):
    model = models.create_model(name, 2, **SIZES)
    init = functools.partial(model.init, train=False)
    clips = audio.from_pcm(jnp.asarray(split.pcm[:1, : 3 * 640]))
    variables = jax.jit(init)(jax.random.key(0), clips)
    trace = wavernn.recurrence(model, variables, clips[0])
    state, cells = trace.initial, []
    for x in trace.inputs:
      if trace.forget_fn:
        cells.append((state[:4], trace.forget_fn(state, x)))
      state = trace.step_fn(state, x)
    dense = variables['params']['logits']
    logits = state[-4:] @ dense['kernel'] + dense['bias']
    expected = model.apply(variables, clips, train=False)[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)
    if trace.forget_fn:
      # The derivative of the next cell to this one, hidden state held.
      cell, gate = cells[-1]
      last = jnp.concatenate([cell, state[4:] * 0])
      slope = jax.jacobian(trace.step_fn)(last, trace.inputs[-1])[:4, :4]
      np.testing.assert_allclose(
        np.diag(slope),
        trace.forget_fn(last, trace.inputs[-1]),
        rtol=1e-4,
      )
      assert gate.shape == (4,)


@pytest.mark.slow
def test_the_whole_study_is_written_once_and_drawn(
  classifiers, split, tmp_path, monkeypatch, caplog
):
  monkeypatch.setattr(progress, 'EVERY_S', 0)
  caplog.set_level(logging.INFO, 'advspeech')
  monkeypatch.setattr(growth, 'EPSILONS', (1e-6, 1e-3))
  monkeypatch.setattr(recurrence, 'NUM_ITERATIONS', 3)
  # So that predictions are of the gradients in clips.csv.
  monkeypatch.setattr(precision, 'dithered', lambda clips, keys: clips)

  def write(**changes):
    parts.write(
      str(tmp_path),
      classifiers,
      split,
      **{
        'origin': {'split': 'test'},
        'epsilons': (0.0, 0.01),
        'clip_to_range': True,
        'confidence': 0.95,
        'num_studied': 3,
        'examples': ('clip-2',),
        **changes,
      },
    )
    for name, draw in figures.plans(str(tmp_path)).items():
      if not (tmp_path / f'{name}.svg').exists():
        house.save(draw(), str(tmp_path / name))

  write()
  lines = [line for line in caplog.messages if 'study of gradients' in line]
  assert lines[0].startswith('study of gradients: 1 of 11 parts, ')
  assert lines[-1] == 'study of gradients: 11 of 11 parts, 0 s left'
  rows = storage.read_table(str(tmp_path / 'clips.csv'))
  assert len(rows) == NUM_CLIPS * 2 * 2 * 2
  assert {row['id'] for row in rows} == set(split.ids)
  assert len(storage.read_table(str(tmp_path / 'pairs.csv'))) == NUM_CLIPS * 2
  signs = storage.read_table(str(tmp_path / 'fidelity.csv'))
  assert len(signs) == 2 * 4 * NUM_CLIPS
  assert len(storage.read_table(str(tmp_path / 'fgsm.csv'))) == 2 * 5 * 2
  points = storage.read_table(str(tmp_path / 'accumulation.csv'))
  # Spread over the split, and each prediction is of its own clip's gradient.
  assert {row['id'] for row in points} == {'clip-0', 'clip-2', 'clip-5'}
  norms = {
    (row['id'], row['model']): row['l1']
    for row in rows
    if (row['alignment'], row['region']) == ('start', 'all')
  }
  for row in points:
    if row['varied'] == 'epsilon':
      assert row['predicted'] / row['epsilon'] == pytest.approx(
        norms[row['id'], row['model']], rel=1e-3
      )
  small = [
    row['measured'] / row['predicted']
    for row in points
    if row['epsilon'] == 1e-6 and row['varied'] == 'epsilon'
  ]
  np.testing.assert_allclose(small, 1, rtol=0.01)
  cut = {row['model'] for row in points if row['varied'] == 'length_cut'}
  assert cut == {'wavernn-seed0'}
  summary = storage.read_table(str(tmp_path / 'summary.csv'))
  known = [row for row in summary if row['num_clips'] > 1]
  assert len(known) > 100
  for row in known:
    assert not row['ci_low'] > row['estimate'] + 1e-6
  for name in (
    'figure5-0',
    'profile-start',
    'profile-end',
    'comparison',
    'jacobians',
    'accumulation',
    'arithmetics',
  ):
    for suffix in ('png', 'svg'):
      assert (tmp_path / f'{name}.{suffix}').stat().st_size > 5000

  before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
  table = (tmp_path / 'clips.csv').read_bytes()
  write()
  assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
  (tmp_path / 'summary.csv').unlink()
  write()
  assert (tmp_path / 'clips.csv').read_bytes() == table
  with pytest.raises(errors.InputError, match=r'another study \(confidence'):
    write(confidence=0.9)
  with pytest.raises(errors.InputError, match='got clip-x; ids'):
    write(examples=('clip-x',))
