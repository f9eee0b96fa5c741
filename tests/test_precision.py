"""Training in bfloat16 learns what training in float32 learns."""

import json
import os
import subprocess
import sys

import devices
import pytest

from advspeech import statistics


@pytest.mark.slow
def test_bfloat16_reaches_the_accuracy_of_float32(espeak_dir, tmp_path):
  intervals = {}
  for precision in ('float32', 'bfloat16'):
    folder = tmp_path / precision
    # With XLA's optimisations: here it is computing that takes the time.
    done = subprocess.run(
      [
        *(sys.executable, '-m', 'launch.train', f'--workdir={folder}'),
        *('--model=wavecnn', '--seed=0', f'--config.data_dir={espeak_dir}'),
        f'--config.training.precision={precision}',
        '--config.clip_s=0.8',
        '--config.training.learning_rate=0.004',
      ],
      env={
        **os.environ,
        'XLA_FLAGS': os.environ.get(devices.OWN_FLAGS, ''),
        'JAX_PLATFORMS': 'cpu',
      },
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / 'wavecnn-seed0/summary.json').read_text())
    test = summary['test']
    correct = round(test['accuracy'] * test['num_clips'])
    intervals[precision] = statistics.wilson_interval(
      correct, test['num_clips'], 0.95
    )
    print(precision, test['accuracy'], intervals[precision])
  assert intervals['bfloat16'][0] > 0.85
  assert intervals['bfloat16'][1] >= intervals['float32'][0]
  assert intervals['float32'][1] >= intervals['bfloat16'][0]
