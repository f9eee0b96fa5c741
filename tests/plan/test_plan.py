"""Plans: the programs of real runs, compiled for devices that are not here."""

import importlib.util
import json
import logging
import os
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import tiny

from advspeech import errors, experiment, input_pipeline, parallel, plan
from advspeech.plan import chips, costs, programs, text

ROOT = pathlib.Path(__file__).parent.parent.parent
V5E = chips.CHIPS['v5e']
GIB = 2**30
OWN = 'tests.tiny_models:TinyModel'


def make_config(**training):
  config = tiny.get_config()
  config.models = ('wavernn',)
  config.source = 'wavernn'
  config.seeds = (0,)
  config.training.side_by_side = False
  config.training.update(training)
  return config


def make_run(config, devices=None):
  return programs.Run(config, devices or jax.devices(), 2)


@pytest.mark.slow
def test_the_training_step_is_the_one_that_a_run_compiles():
  mesh = parallel.make_mesh()
  program = programs.training(make_run(make_config()), 'wavernn')
  steps = programs.training_steps(make_run(make_config()), 'wavernn', mesh)
  state = steps.init(jax.random.key(0))
  batch = next(input_pipeline.batches(tiny.SPLITS['train'], 8, mesh))
  real = steps.train.lower(
    state, input_pipeline.step_arrays(batch), np.float32(1e-3)
  )
  planned = program.function.lower(*program.arguments)
  assert planned.as_text() == real.as_text()


def test_a_model_of_ones_own_is_planned_by_what_it_computes():
  config = make_config()
  config.models = (OWN,)
  config.source = OWN
  program = programs.training(make_run(config), OWN)
  # Of 8 maps: a tap of 16 at every 8th sample, forward, and twice as much back.
  products = 2 * (tiny.TIME // 8) * 16 * 8
  assert 3 * products < program.flops_per_clip < 3 * products * 1.5
  assert program.function.lower(*program.arguments)


def test_several_hosts_train_together_and_one_side_by_side():
  config = make_config(side_by_side=True)
  config.seeds = (0, 1)
  assert [m.size for m in make_run(config).training_meshes] == [2, 2]


def test_a_batch_that_the_chips_cannot_share_is_filled_up_and_said():
  program = programs.training(make_run(make_config(batch_size=6)), 'wavernn')
  assert (program.num_clips, program.asked_clips) == (8, 6)
  assert '8, 2 a chip (the config asks for 6' in text.clips_a_step(
    {
      'num_clips': 8,
      'asked_clips': 6,
      'clips_a_chip': 2.0,
      'num_chips': 4,
    }
  )


@pytest.mark.slow
def test_of_processors_it_says_memory_and_collectives_and_no_time(
  tmp_path, caplog
):
  config, said = make_config(), []
  with caplog.at_level(logging.INFO, 'advspeech'):
    results = plan.make(
      config,
      num_devices=4,
      parts=('evaluation', 'gradients'),
      output=str(tmp_path / 'plan.json'),
      report=said.append,
    )
  # Beforehand: it is long in coming.
  assert caplog.messages[0] == 'wavernn, evaluation step: being compiled'
  assert len(caplog.messages) == 2
  assert json.loads((tmp_path / 'plan.json').read_text()) == json.loads(
    json.dumps(results)
  )
  evaluation, gradients = results['programs']
  assert evaluation['collectives']['all-reduce']['num'] == 1
  assert gradients['collectives'] == {}
  assert evaluation['memory_bytes'] > 8 * tiny.TIME * 4 / 4
  for row in results['programs']:
    assert not [key for key in row if key.startswith('estimated')]
  heading, first, second = said
  assert 'estimates no times' in heading
  assert '== wavernn, evaluation step' in first
  assert 'collectives a step      none' in second


def test_the_hours_of_a_sweep_say_what_part_of_it_they_are():
  config = make_config()
  config.models = ('wavecnn', 'wavernn')
  config.seeds = (0, 1)
  config.sweep.attacks = ('fgsm', 'pgd')
  config.sweep.masks = ('all', 'recorded')
  config.sweep.transforms = ('lowpass4000',)
  config.sweep.sources = ('wavernn', 'wavecnn')
  run, corpus = make_run(config), costs.corpus_of(config, 1000)
  compiled = types.SimpleNamespace(compile=lambda: Compiled(GIB))
  function = types.SimpleNamespace(lower=lambda *_: compiled)
  for name, attacks in (
    # Of each seed two attacks, the other mask and a transform known or not.
    ('wavernn', 2 * (2 + 1 + 2)),
    ('wavecnn', 2 * 2),
  ):
    program = programs.attack(run, name)
    row = costs.cost(program._replace(function=function), V5E, corpus, config)
    assert row['work'].startswith(
      f'200 test clips in one of {attacks} attacks on this source'
    )


def tilt(audio):
  return audio[:, :2]


def test_what_is_no_model_of_the_run_is_said_to_be_left_out(monkeypatch):
  config, said = make_config(), []
  config.sweep.checkpoints = ('runs/a/wavecnn-seed0',)
  config.sweep.sources = ('wavernn', 'runs/a/wavecnn-seed0')
  config.sweep.victims = ('test_plan:tilt',)
  monkeypatch.setattr(
    costs, 'cost', lambda program, *_: {'part': '', 'program': program.name}
  )
  monkeypatch.setattr(text, 'table', lambda row, _: row['program'])
  plan.make(config, num_devices=4, parts=('sweep',), report=said.append)
  heading, *programs_told = said
  assert (
    'What is no model of this run, runs/a/wavecnn-seed0, test_plan:tilt '
    '(config.sweep.checkpoints and .victims), is left out,\nas source and as '
    'judge.'
  ) in heading
  assert len(programs_told) == 1
  assert programs_told[0].startswith('fgsm on wavernn')


def test_where_the_plan_goes_is_tried_before_anything_is_compiled(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(costs, 'cost', lambda *_: pytest.fail('compiled'))
  for output, told in (
    (tmp_path, 'output must be a file, got the folder'),
    ('/proc/no/plan.json', 'No such file'),
  ):
    with pytest.raises(errors.InputError, match=told):
      plan.make(make_config(), num_devices=4, output=str(output))


def test_where_to_compile_for_must_be_said_once():
  for given in ({}, {'topology': 'v5e:2x2', 'num_devices': 4}):
    with pytest.raises(errors.InputError, match='one of --topology and'):
      plan.make(make_config(), **given)


class Compiled:
  """A program with some memory, sums over devices and estimated cycles."""

  def __init__(self, num_bytes):
    self._num_bytes = num_bytes

  def memory_analysis(self):
    return types.SimpleNamespace(
      argument_size_in_bytes=3000,
      output_size_in_bytes=2000,
      alias_size_in_bytes=1000,
      temp_size_in_bytes=self._num_bytes - 5000,
      generated_code_size_in_bytes=1000,
    )

  def as_text(self):
    return (
      'ENTRY %main (p: f32[8]) -> f32[8] {\n'
      '  %x = f32[8]{0} all-reduce(%p), to_apply=%add\n'
      '  ROOT %y = f32[8]{0} copy(%x), "estimated_cycles":"3000000"\n'
      '}\n'
    )


def make_program(num_clips, compile_fn, part='training'):
  lowered = types.SimpleNamespace(compile=compile_fn)
  return programs.Program(
    name='wavernn, training step',
    part=part,
    model='wavernn',
    function=types.SimpleNamespace(lower=lambda: lowered),
    arguments=(),
    num_devices=4,
    num_clips=num_clips,
    flops_per_clip=10**9,
    asked_clips=num_clips,
  )


# As libtpu 0.0.50.1 and older ones say it.
NO_ROOM = (
  'RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the '
  'total memory required for HLO temporaries ({:.2f}G) exceeds available HBM '
  '(15.75G). HLO module: jit__train_step.\nSee https://openxla.org/xla/errors',
  'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in '
  'memory space hbm. Used {:.2f}G of 15.75G hbm. Exceeded hbm capacity.',
)


def no_room(used, message=NO_ROOM[0]):
  raise jax.errors.JaxRuntimeError(message.format(used))


def test_estimates_follow_from_cycles_clock_and_peak():
  program = make_program(32, lambda: Compiled(2 * GIB))
  corpus = costs.corpus_of(make_config(), 12_800)
  row = costs.cost(program, V5E, corpus, make_config())
  assert row['memory_bytes'] == 2 * GIB
  assert row['collectives'] == {'all-reduce': {'num': 1, 'num_bytes': 32}}
  # Three million cycles at 1.5 GHz, for 32 clips, 8 of them on a chip.
  assert row['estimated_step_ms'] == pytest.approx(2.0)
  assert row['estimated_clips_per_s'] == pytest.approx(16_000)
  assert row['estimated_share_of_peak'] == pytest.approx(8e9 / 2e-3 / 197e12)
  # Three epochs of 9,600 clips.
  assert row['num_steps'] == 3 * 300
  assert row['estimated_hours'] == pytest.approx(900 * 2e-3 / 3600)
  said = text.table(row, {'chip': V5E._asdict()})
  assert said.count("compiler's estimate") == 4
  assert '2 GiB of 16 GiB, 12.5%' in said
  assert 'in all                  1.8 s for 3 epochs' in said


@pytest.mark.parametrize('message', NO_ROOM)
def test_a_batch_that_does_not_fit_is_one_sentence(message):
  program = make_program(400, lambda: no_room(31.5, message))
  corpus = costs.corpus_of(make_config(), 100)
  with pytest.raises(errors.InputError, match='GiB a chip') as e:
    costs.cost(program, V5E, corpus, make_config())
  assert '31.5 GiB a chip for 100 clips' in str(e.value)
  assert 'config.training.batch_size, to 200 or less' in str(e.value)


@pytest.mark.parametrize(
  'message',
  [
    'INTERNAL: something else',
    'RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem. Used 20.00M '
    'of 16.00M vmem, something else',
  ],
)
def test_another_failure_of_the_compiler_is_a_defect(message):
  def fail():
    raise jax.errors.JaxRuntimeError(message)

  with pytest.raises(jax.errors.JaxRuntimeError, match='something else'):
    costs.cost(make_program(8, fail), V5E, None, None)


@pytest.mark.parametrize(
  ('gib_a_clip', 'room', 'num_clips', 'clips'),
  [
    (0.5, 16, 1000, 24),  # (16 - 3) / 0.5 = 26 clips, of whole tiles
    (0.5, 14, 1000, 16),  # it takes more than was foreseen: a step back
    (4, 16, 1000, 2),  # not even eight fit
    (0.01, 16, 250, 64),  # all there are to train on
  ],
)
def test_the_largest_batch_is_foreseen_and_compiled(
  monkeypatch, gib_a_clip, room, num_clips, clips
):
  compiled = []

  def training(run, name, batch_size):
    del run, name

    def compile_fn():
      gib = 3 + gib_a_clip * batch_size / 4
      compiled.append(batch_size)
      return Compiled(int(gib * GIB)) if gib <= room else no_room(gib)

    return make_program(batch_size, compile_fn)

  monkeypatch.setattr(programs, 'training', training)
  row = {
    'model': 'wavernn',
    'num_chips': 4,
    'clips_a_chip': 2.0,
    'memory_bytes': (3 + 2 * gib_a_clip) * GIB,
  }
  found = costs.largest_batch(None, row, V5E, num_clips)
  assert (found['clips_a_chip'], found['num_clips']) == (clips, 4 * clips)
  assert found['memory_bytes'] == int((3 + clips * gib_a_clip) * GIB)
  said = text.largest_batch(
    {'program': 'a', 'largest_batch': found}, {'chip': V5E._asdict()}
  )
  assert f'{4 * clips:,} clips, {clips} a chip' in said
  assert len(compiled) <= 4


def test_the_corpus_is_the_papers_the_users_or_the_prepared_one(monkeypatch):
  config = make_config()
  counts = {'train': 900, 'validation': 60, 'test': 240}
  monkeypatch.setattr(experiment, 'is_prepared', lambda config: False)
  monkeypatch.setattr(experiment, 'count_clips', lambda config: (3, counts))
  assert costs.corpus_of(config).num_clips == {
    'train': 7529,
    'validation': 502,
    'test': 2008,
  }
  assert costs.corpus_of(config, 100).num_clips['train'] == 75
  monkeypatch.setattr(experiment, 'is_prepared', lambda config: True)
  assert costs.corpus_of(config) == ('corpus espeak', counts, 3)
  # What the user says goes first.
  assert costs.corpus_of(config, 100).num_clips['test'] == 20


def launch(*args):
  environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
  return subprocess.run(
    [sys.executable, '-m', 'launch.plan', *args],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow
def test_the_command_plans_for_as_many_devices_as_it_is_asked_for():
  done = launch(
    '--devices=3',
    '--only=evaluation',
    "--config.models=('wavernn',)",
    '--config.source=wavernn',
    '--config.training.side_by_side=False',
    '--config.model.features=2',
    '--config.clip_s=0.08',
    '--num_clips=100',
  )
  assert done.returncode == 0, done.stderr
  assert 'chips                   3\n' in done.stdout
  assert '102, 34 a chip (the config asks for 100' in done.stdout


@pytest.mark.slow
def test_a_slice_that_does_not_exist_ends_with_two():
  done = launch('--topology=v5e:3x3')
  assert done.returncode == 2
  assert done.stderr.startswith('error: --topology: slices of v5e are 1x1')
  assert done.stderr.count('\n') == 1
  assert not done.stdout


needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="libtpu is not installed: pip install -e '.[plan]'",
)


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize(
  'topology', ['v4:2x2x1', 'v5p:2x2x1', 'v5e:2x2', 'v6e:2x2']
)
def test_the_tpus_compiler_tells_memory_collectives_and_time(topology):
  config = make_config(precision='bfloat16')
  said = []
  results = plan.make(
    config,
    topology=topology,
    parts=('training',),
    report=said.append,
  )
  [row] = results['programs']
  assert row['num_chips'] == 4
  # Gradients, and of each batch norm its statistics and their gradients.
  num_layers = 8
  num = sum(found['num'] for found in row['collectives'].values())
  assert 1 < num <= 1 + 2 * num_layers
  assert 0 < row['memory_bytes'] < 2**27
  assert 0.01 < row['estimated_step_ms'] < 100
  assert 0 < row['estimated_share_of_peak'] < 1
  assert "compiler's estimate" in said[1]
