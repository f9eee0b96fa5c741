"""kill -9 in the middle of an attack, and other devices afterwards."""

import shutil
import subprocess
import sys
import time

import devices
import pytest
import tiny

FLAGS = (
  '--config.clip_s=0.4',
  "--config.models=('tests.tiny_models:TinyModel',)",
  '--config.source=tests.tiny_models:TinyModel',
  '--config.seeds=(0,)',
  '--config.training.num_epochs=3',
  '--config.training.batch_size=64',
  '--config.sweep.batch_size=16',
  '--config.sweep.num_clips=64',
  '--config.sweep.epsilons=(0.0, 0.02, "20dbsnr")',
  "--config.sweep.attacks=('fgsm', 'pgd', 'universal')",
  '--config.sweep.iterative.num_steps=2',
  '--config.sweep.universal.num_clips=32',
)
TABLES = ('sweep.csv', 'samples.csv', 'minimal.csv', 'checks.json')


def start(name, workdir, data_dir, num_devices):
  return subprocess.Popen(
    [
      sys.executable,
      *('-m', f'launch.{name}', *FLAGS),
      f'--workdir={workdir}',
      f'--config.data_dir={data_dir}',
    ],
    cwd=tiny.ROOT,
    env=devices.environment(num_devices),
  )


@pytest.mark.slow
def test_killed_on_four_devices_it_ends_with_the_bytes_of_one(
  espeak_dir, tmp_path
):
  one, four = tmp_path / 'one', tmp_path / 'four'
  assert start('train', one, espeak_dir, 1).wait() == 0
  shutil.copytree(one, four)
  assert start('attack', one, espeak_dir, 1).wait() == 0
  num_kills = 0
  for wanted in (1, 6, 11):
    process = start('attack', four, espeak_dir, 4)
    parts = four / 'attack' / 'parts'
    while process.poll() is None and len(list(parts.glob('*.npz'))) < wanted:
      time.sleep(0.02)
    num_kills += process.poll() is None
    process.kill()
    process.wait()
  assert num_kills == 3
  assert start('attack', four, espeak_dir, 4).wait() == 0
  for name in TABLES:
    assert (one / 'attack' / name).read_bytes() == (
      four / 'attack' / name
    ).read_bytes(), name
