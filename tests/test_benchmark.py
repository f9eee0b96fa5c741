"""The benchmark counts what Table 1 costs, and every section measures."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import shallow

from advspeech.benchmark import (
  accelerator,
  computations,
  duration,
  host,
  stages,
)
from configs import paper

# Each kind of layer is there.
pytestmark = pytest.mark.usefixtures('shallow_networks')
TINY = {'features': 4, 'hidden_features': 4}


@pytest.fixture(scope='module')
def tiny_config():
  config = paper.get_config()
  config.clip_s = 0.2
  config.model.update(TINY)
  return config


@pytest.mark.usefixtures('papers_depth')
def test_wavecnn_takes_8_gflop_a_clip_forward():
  # 40 taps, 32 maps: 150 frames of 640 + 32 * (320 + ... + 5) samples, and
  # 32 * (450 + 225 + 113 + 57 + 29 + 15) behind them.
  inside = 640 + 32 * (320 + 160 + 80 + 40 + 20 + 10 + 5)
  behind = 32 * (450 + 225 + 113 + 57 + 29 + 15)
  expected = 2 * 40 * 32 * (150 * inside + behind)
  flops = computations.direct_flops(paper.get_config(), 'wavecnn')
  assert flops == expected
  assert 8.0e9 < flops < 8.2e9


@pytest.mark.slow
def test_computations_are_timed_against_the_matrix_product(tiny_config):
  results = host.measure_models(
    tiny_config,
    num_clips=2,
    rounds=1,
    extra={'nothing extra': lambda: 0, 'Foolbox WaveCNN forward': lambda: 0},
  )
  rows = results['computations']
  peak = results['matmul_gflop_per_s']
  for model in ('wavecnn', 'wavernn'):
    for what in (
      'forward',
      'input gradient',
      'gradient statistics',
      'training step',
      'FGSM sweep',
    ):
      row = rows[f'{model} {what}']
      assert row['seconds_per_clip'] <= row['median_seconds_per_clip']
      np.testing.assert_allclose(
        row['ratio_to_roofline'], peak / row['gflop_per_s'], rtol=1e-6
      )
  assert 'ratio_to_roofline' not in rows['nothing extra']
  # Other tools are given our WaveCNN.
  flops = 'direct_gflop_per_clip'
  assert (
    rows['Foolbox WaveCNN forward'][flops] == rows['wavecnn forward'][flops]
  )
  assert 'wavernn FGSM sweep' in host.format_models(results)


@pytest.mark.slow
def test_the_sweep_timed_is_one_gradient_and_a_forward_an_epsilon(tiny_config):
  subject = computations.make_subject(tiny_config, 'wavecnn', 3)
  variables, clips, label = subject.variables, subject.clips, subject.label
  epsilons = computations.epsilon_grid(4)
  predictions = computations.fgsm_sweep(
    subject, variables, clips, label, epsilons
  )
  direction = np.sign(
    computations.input_gradient(subject, variables, clips, label)
  )
  for e, epsilon in enumerate(epsilons):
    perturbed = np.clip(clips + epsilon * direction, 0, 1)
    logits = computations.forward(subject, variables, perturbed)
    np.testing.assert_array_equal(predictions[:, e], logits.argmax(-1))


@pytest.mark.slow
@pytest.mark.usefixtures('papers_depth')
def test_every_form_of_every_layer_is_timed(tiny_config):
  rows = host.measure_convolutions(tiny_config, rounds=1)
  assert {row['length'] for row in rows} == {640, 320, 160, 80, 40, 20, 10, 5}
  assert all(row['both gradients'] > 0 for row in rows)
  assert len(host.format_rows(rows).splitlines()) == len(rows) + 1


@pytest.mark.slow
def test_feeding_and_evaluating_are_measured(tiny_config):
  results = stages.measure_training(tiny_config, num_clips=2, num_steps=2)
  assert results['evaluation_over_forward'] > 0
  assert 0 <= results['host_waited_share'] <= 1
  assert results['lstm_share_of_forward'] < 1


@pytest.mark.slow
def test_the_three_sources_are_measured_against_training(tiny_config):
  results = stages.measure_input(tiny_config, 2, rounds=1, num_stored=12)
  assert set(results['ratio']) == {'memory', 'device', 'disk'}
  for name, rate in results['clips_per_s'].items():
    ratio = results['ratio'][name] * results['training_clips_per_s']
    np.testing.assert_allclose(rate, ratio)


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path):
  output = tmp_path / 'results.json'
  done = subprocess.run(
    [
      sys.executable,
      *(shallow.__file__, 'launch.benchmark'),
      '--only=memory',
      '--only=start',
      '--clips=1',
      '--batch_size=2',
      '--config.clip_s=0.2',
      '--config.model.features=4',
      f'--output={output}',
    ],
    capture_output=True,
    text=True,
    check=True,
  )
  results = json.loads(output.read_text())
  memory = results['memory']
  assert memory['wavecnn training step, batch 2'] > 0
  assert results['start']['import'] > 0
  assert results['jax'] == jax.__version__
  assert '== memory' in done.stdout


@pytest.mark.usefixtures('papers_depth')
def test_peers_are_timed_only_when_their_answers_are_ours(tiny_config):
  for module in ('art', 'foolbox', 'torchattacks'):
    pytest.importorskip(module)
  from advspeech.benchmark import peers

  calls = peers.make_calls(tiny_config, 2)
  ours = ' WaveCNN FGSM sweep'
  assert {name.removesuffix(ours) for name in calls} == {
    'PyTorch WaveCNN forward',
    'PyTorch WaveCNN input gradient',
    'PyTorch by hand',
    'Foolbox',
    'torchattacks',
    'ART',
  }


def test_the_estimate_counts_what_other_tools_are_called_for(tiny_config):
  what = {'num_clips': 3, 'rounds': 4, 'flop_per_s': 1e9}
  alone, beside = (
    duration.estimate_s(tiny_config, 'models', peers=peers, **what)
    for peers in (False, True)
  )
  # Compiled or warmed up once, asked for their answers once, timed four times.
  forward_s = computations.direct_flops(tiny_config, 'wavecnn') / 1e9
  np.testing.assert_allclose(beside - alone, 3 * 660 * 6 * forward_s)
  assert alone > 13 * 3


@pytest.fixture
def session(tiny_config):
  """A session of a minute, and the rows written by section."""
  written = {}
  return accelerator.Session(
    tiny_config,
    accelerator.SCALES['tiny'],
    60.0,
    write=lambda section, rows: written.update({section: list(rows)}),
    log=lambda line: None,
  ), written


def test_a_section_that_fails_is_a_row_and_the_next_one_runs(session):
  session, written = session

  def fails(session):
    session.add(what='first')
    raise RuntimeError('no such\nkernel')

  session.run(
    {
      'peaks': accelerator.Section(1, fails),
      'answers': accelerator.Section(1, lambda s: s.add(what='next')),
    }
  )
  assert written == {
    'peaks': [{'what': 'first'}, {'failed': 'RuntimeError: no such kernel'}],
    'answers': [{'what': 'next'}],
  }


def test_what_does_not_fit_into_a_section_is_named(session):
  session, written = session
  # A second of the minute is too short for a step.
  session.run(
    {
      'training': dataclasses.replace(
        accelerator.SECTIONS['training'], seconds=1
      ),
      'answers': accelerator.Section(59, lambda session: None),
    }
  )
  assert written['training'] == [
    {'not_measured': 'batch 4, float32'},
    {'not_measured': 'batch 4, bfloat16'},
    {'not_measured': 'batch 4, tf32'},
  ]


def test_sections_share_the_time_that_is_left(session):
  session, _ = session
  shares = []
  session.run(
    {
      name: dataclasses.replace(
        section, measure=lambda s: shares.append(s.left_s())
      )
      for name, section in accelerator.SECTIONS.items()
    }
  )
  assert all(0 < share < 60 for share in shares)
  np.testing.assert_allclose(shares[-1], 60, atol=1)


def test_peaks_report_what_each_precision_rounds_away(session):
  session, written = session
  session.run({'peaks': accelerator.SECTIONS['peaks']})
  errors = {
    row['precision']: row['relative_error']
    for row in written['peaks']
    if row['what'] == 'matrix product'
  }
  assert errors['float32'] < 1e-6
  assert 1e-3 < errors['bfloat16'] < 1e-2
  assert all(row.get('tflop_per_s', 1) > 0 for row in written['peaks'])


@pytest.mark.slow
def test_short_maps_are_convolved_in_forms_of_their_own(
  tiny_config, monkeypatch
):
  """Shallow networks, as the whole session has them here, have none."""
  monkeypatch.setattr(computations, 'layer_shapes', lambda *_: [(40, 4, 2)])
  written = {}
  accelerator.Session(
    tiny_config,
    accelerator.SCALES['tiny'],
    900.0,
    write=lambda section, rows: written.update({section: list(rows)}),
    log=lambda line: None,
  ).run({'convolutions': accelerator.SECTIONS['convolutions']})
  rows = written['convolutions']
  assert not [row for row in rows if 'failed' in row]
  assert {(row['precision'], row['form']) for row in rows} == {
    (precision, form)
    for precision in ('tf32', 'float32', 'bfloat16')
    for form in ('direct', 'toeplitz', 'space to depth 4', 'spectral')
  }


@pytest.mark.slow
def test_the_session_with_an_accelerator_runs_on_a_cpu(tmp_path):
  output = tmp_path / 'accelerator.json'
  subprocess.run(
    [
      sys.executable,
      *(shallow.__file__, 'launch.benchmark'),
      '--accelerator',
      '--scale=tiny',
      '--minutes=15',
      '--config.clip_s=0.2',
      '--config.model.features=4',
      '--config.sweep.epsilons=(0.0, 0.01)',
      f'--output={output}',
    ],
    check=True,
  )
  results = json.loads(output.read_text())
  assert set(accelerator.SECTIONS) < set(results)
  for section in accelerator.SECTIONS:
    rows = results[section]
    assert rows
    assert not [r for r in rows if 'failed' in r or 'not_measured' in r]
  for row in results['answers']:
    if row['precision'] == 'float32':
      assert row['gradient_error'] < 1e-4
      assert row['same_classes']
  for row in results['resume']:
    assert row['same_bits_resumed']
