"""What is found here is told; what would fail a run is refused."""

import os
import re
import subprocess
import sys
import types

import devices
import pytest

from advspeech import doctor, errors, parallel
from configs import quickstart


def config_of(tmp_path):
  config = quickstart.get_config()
  config.data_dir = str(tmp_path / 'data')
  return config


def test_a_machine_is_described(tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '/cache')
  found = dict(doctor.examine(config_of(tmp_path), str(tmp_path / 'run')))
  assert found['processes'] == 'this one alone'
  assert found['devices'].startswith('4 cpu (cpu), 4 of them here')
  assert re.fullmatch(
    r'.*/run: can be written to, seen by all of 1, (no )?locks, \d+ GB free',
    found['--workdir'],
  )
  assert found['compiled'] == 'programs are kept in /cache'
  assert 'FLAC' in found['sound files']
  assert found['corpus'] == 'espeak: not prepared yet, synthesised then'
  assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.parametrize(
  ('variable', 'told'),
  [
    ('SLURM_JOB_ID', 'Slurm: .* on 75'),
    ('SKYPILOT_NODE_RANK', 'SkyPilot: a managed job'),
    ('', 'nobody: start the same command again'),
  ],
)
def test_who_starts_a_program_again_is_reported(
  tmp_path, monkeypatch, variable, told
):
  for name, _ in doctor._RESTARTS:
    monkeypatch.delenv(name, raising=False)
  if variable:
    monkeypatch.setenv(variable, '1')
  found = dict(doctor.examine(config_of(tmp_path), str(tmp_path / 'run')))
  assert re.match(told, found['restarted by'])


def test_what_would_fail_a_run_is_refused(tmp_path, monkeypatch):
  config = config_of(tmp_path)
  (tmp_path / 'file').touch()
  with pytest.raises(errors.InputError, match=r'file.* cannot be'):
    doctor.examine(config, str(tmp_path / 'file' / 'run'))
  config.training.batch_size = 30
  config.training.side_by_side = False
  with pytest.raises(errors.InputError, match='multiple of the device count'):
    doctor.examine(config, str(tmp_path / 'run'))
  config.training.batch_size = 32
  # As if the second of two processes had a disk of its own.
  monkeypatch.setattr(parallel, 'gather', lambda sees: [sees, 0])
  with pytest.raises(
    errors.InputError, match=r'process 1 does not see what process 0 writes to'
  ):
    doctor.examine(config, str(tmp_path / 'run'))


@pytest.mark.parametrize(
  ('chips', 'gpu', 'told'),
  [
    (4, False, r"has 4 TPU chips, but .* '.\[tpu\]'"),
    (0, True, r"has an NVIDIA GPU, but .* '.\[cuda\]'"),
  ],
)
def test_devices_that_would_stand_idle_are_told_of(
  tmp_path, monkeypatch, chips, gpu, told
):
  monkeypatch.setattr(
    doctor,
    'hardware_utils',
    types.SimpleNamespace(
      num_available_tpu_chips_and_device_id=lambda: (chips, None),
      has_visible_nvidia_gpu=lambda: gpu,
    ),
  )
  config, workdir = config_of(tmp_path), str(tmp_path / 'run')
  doctor.examine(config, workdir)  # here JAX_PLATFORMS says so
  monkeypatch.delenv('JAX_PLATFORMS')
  with pytest.raises(errors.InputError, match=told):
    doctor.examine(config, workdir)


def test_recordings_that_are_not_there_are_missed_before_a_run(tmp_path):
  config = config_of(tmp_path)
  config.corpus.name = 'ravdess'
  with pytest.raises(errors.InputError, match='say where it is with --config'):
    doctor.examine(config, str(tmp_path / 'run'))
  config.corpus.folder = str(tmp_path / 'recordings')
  with pytest.raises(errors.InputError, match='recordings is not a folder'):
    doctor.examine(config, str(tmp_path / 'run'))
  (tmp_path / 'recordings').mkdir()
  found = dict(doctor.examine(config, str(tmp_path / 'run')))
  assert found['corpus'].startswith('ravdess: not prepared yet, from ')


def test_a_prepared_corpus_needs_no_recordings(tmp_path, espeak_dir):
  config = config_of(tmp_path)
  config.data_dir = str(espeak_dir)
  found = dict(doctor.examine(config, str(tmp_path / 'run')))
  assert found['corpus'].startswith('espeak: prepared, ')


@pytest.mark.slow
def test_two_processes_see_one_disk(tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'launch.local', '--num_processes=2', '--'),
      *('launch.doctor', f'--workdir={tmp_path / "run"}'),
      f'--config.data_dir={tmp_path / "data"}',
    ],
    capture_output=True,
    text=True,
    env={**os.environ, **devices.environment()},
    check=True,
  )
  assert 'process 0 of 2, which meet at 127.0.0.1:' in done.stdout
  assert done.stdout.count('seen by all of 2') == 2
