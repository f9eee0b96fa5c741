"""Programs go by the platform of the mesh they are for, not this machine's."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_subjects
import tiny
from jax import sharding

from advspeech import (
  checkpoint,
  models,
  over_clips,
  parallel,
  sweep,
  training,
)
from advspeech.studies.gradients import analysis
from advspeech.sweep import judging
from advspeech.sweep import settings as settings_lib

ROOT = pathlib.Path(__file__).parent.parent
NUM_CLIPS = 4


def fake_mesh(platform):
  """Two devices of a kind that this machine need not have."""
  return sharding.AbstractMesh(
    (2, 1),
    ('data', 'epsilon'),
    axis_types=(sharding.AxisType.Auto,) * 2,
    abstract_device=sharding.AbstractDevice(platform, None, platform),
  )


def make_model():
  return models.create_model(
    'wavernn', 2, features=2, hidden_features=3, norm_axis='data'
  )


def make_variables(model):
  init = functools.partial(model.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, tiny.TIME)))


def arrays(*names):
  shapes = {
    'audio': ((NUM_CLIPS, tiny.TIME), np.float32),
    'mask': ((NUM_CLIPS, tiny.TIME), np.float32),
    'label': ((NUM_CLIPS,), np.int32),
    'valid': ((NUM_CLIPS,), np.float32),
  }
  return {name: jax.ShapeDtypeStruct(*shapes[name]) for name in names}


def evaluation(mesh):
  model = make_model()
  step = training.make_eval_step(model, mesh)
  batch = arrays('audio', 'label', 'valid')
  return step.trace(make_variables(model), batch)


def gradients(mesh):
  model = make_model()
  step = over_clips.compiled(analysis.statistics_fn((model,), 'start'), mesh)
  batch = over_clips.abstract_batch(NUM_CLIPS, tiny.TIME, mesh)
  seed = jax.ShapeDtypeStruct((), np.uint32)
  return step.trace((make_variables(model),), seed, batch, {})


def judged(mesh):
  model = make_model()
  classifier = checkpoint.Classifier(model, make_variables(model), {}, 0)
  members = [sweep.Member('wavernn', 0, classifier, np.zeros(0, np.int32))]
  planned = sweep_subjects.make_planned()
  program = judging.program_of(
    planned,
    members,
    tiny.TIME,
    sweep_subjects.make_attack('fgsm'),
    sweep_subjects.make_settings(mesh=mesh),
  )
  arguments = judging.abstract_arguments(program, planned, members, tiny.TIME)
  return judging.compiled(program).trace(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize('trace', [evaluation, gradients, judged])
def test_a_program_has_the_convolutions_of_the_platform_it_is_for(trace):
  on_tpu, here = (
    str(trace(fake_mesh(p)).jaxpr).count('conv_general_dilated')
    for p in ('tpu', 'cpu')
  )
  # Toeplitz and spectral forms alone, of products.
  assert here == 0
  assert on_tpu > 0


@pytest.mark.parametrize(('platform', 'clips'), [('cpu', 40), ('tpu', 100)])
def test_clips_at_once_go_by_the_mesh(platform, clips):
  model = models.create_model('wavernn', 2, features=8, input_pool=2)
  mesh = fake_mesh(platform)
  assert models.clips_at_once(model, 100, 25_600, mesh) == clips


def test_chunks_go_by_the_mesh():
  def chunks(platform):
    settings = sweep_subjects.make_settings(20, fake_mesh(platform))
    return settings_lib.chunks([make_model()], tiny.TIME, 6, 11, settings)

  assert chunks('cpu') == (8, 1, 1)
  assert chunks('tpu') == (20, 11, 6)


def test_where_no_mesh_is_named_the_default_device_is_meant():
  assert parallel.platform() == 'cpu'
  assert parallel.platform(parallel.make_mesh()) == 'cpu'
  assert parallel.platform(fake_mesh('gpu')) == 'gpu'
  assert not parallel.is_host(fake_mesh('gpu'))


def test_one_place_alone_asks_for_the_default_backend():
  asking = [
    path.name
    for folder in ('advspeech', 'launch')
    for path in (ROOT / folder).rglob('*.py')
    if 'default_backend' in path.read_text()
  ]
  assert asking == ['parallel.py']
