"""The benchmark counts what Table 1 costs, and every section measures."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from advspeech import benchmark
from configs import paper

TINY = {'features': 4, 'hidden_features': 4}


@pytest.fixture(scope='module')
def tiny_config():
  config = paper.get_config()
  config.clip_s = 0.2
  config.model.update(TINY)
  return config


def test_wavecnn_takes_8_gflop_a_clip_forward():
  # 40 taps, 32 maps: 150 frames of 640 + 32 * (320 + ... + 5) samples, and
  # 32 * (450 + 225 + 113 + 57 + 29 + 15) behind them.
  inside = 640 + 32 * (320 + 160 + 80 + 40 + 20 + 10 + 5)
  behind = 32 * (450 + 225 + 113 + 57 + 29 + 15)
  expected = 2 * 40 * 32 * (150 * inside + behind)
  flops = benchmark.direct_flops(paper.get_config(), 'wavecnn')
  assert flops == expected
  assert 8.0e9 < flops < 8.2e9


@pytest.mark.slow
def test_computations_are_timed_against_the_matrix_product(tiny_config):
  results = benchmark.measure_models(
    tiny_config,
    num_clips=2,
    rounds=1,
    extra={'nothing extra': lambda: 0, 'Foolbox forward': lambda: 0},
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
  assert rows['Foolbox forward'][flops] == rows['wavecnn forward'][flops]
  assert 'wavernn FGSM sweep' in benchmark.format_models(results)


@pytest.mark.slow
def test_the_sweep_timed_is_one_gradient_and_a_forward_an_epsilon(tiny_config):
  subject = benchmark.make_subject(tiny_config, 'wavecnn', 3)
  variables, clips, label = subject.variables, subject.clips, subject.label
  epsilons = benchmark.epsilon_grid(4)
  predictions = benchmark.fgsm_sweep(subject, variables, clips, label, epsilons)
  direction = np.sign(
    benchmark.input_gradient(subject, variables, clips, label)
  )
  for e, epsilon in enumerate(epsilons):
    perturbed = np.clip(clips + epsilon * direction, 0, 1)
    logits = benchmark.forward(subject, variables, perturbed)
    np.testing.assert_array_equal(predictions[:, e], logits.argmax(-1))


@pytest.mark.slow
def test_every_form_of_every_layer_is_timed(tiny_config):
  rows = benchmark.measure_convolutions(tiny_config, rounds=1)
  assert {row['length'] for row in rows} == {640, 320, 160, 80, 40, 20, 10, 5}
  assert all(row['both gradients'] > 0 for row in rows)
  assert len(benchmark.format_rows(rows).splitlines()) == len(rows) + 1


@pytest.mark.slow
def test_feeding_and_evaluating_are_measured(tiny_config):
  results = benchmark.measure_training(tiny_config, num_clips=2, num_steps=2)
  assert results['evaluation_over_forward'] > 0
  assert 0 <= results['host_waited_share'] <= 1
  assert results['lstm_share_of_forward'] < 1


@pytest.mark.slow
def test_the_three_sources_are_measured_against_training(tiny_config):
  results = benchmark.measure_input(tiny_config, 2, rounds=1, num_stored=12)
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
      '-m',
      'launch.benchmark',
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
  assert 0 < results['start']['import'] < 5
  assert results['jax'] == jax.__version__
  assert '== memory' in done.stdout


def test_peers_are_timed_only_when_their_answers_are_ours(tiny_config):
  for module in ('art', 'foolbox', 'torchattacks'):
    pytest.importorskip(module)
  from advspeech import peers

  calls = peers.make_calls(tiny_config, 2)
  assert {name.split(' FGSM')[0] for name in calls if 'FGSM' in name} == {
    'PyTorch by hand',
    'Foolbox',
    'torchattacks',
    'ART',
  }
