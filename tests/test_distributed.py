"""Two processes on one machine: the same results, and no one left waiting."""

import itertools
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import devices
import feature_subjects
import numpy as np
import pytest
import tiny

ROOT = pathlib.Path(__file__).parent.parent
TINY = (
  '--config.clip_s=0.4',
  '--config.seeds=(0,)',
  "--config.models=('tests.tiny_models:TinyModel',)",
  '--config.source=tests.tiny_models:TinyModel',
  '--config.training.batch_size=64',
  '--config.sweep.batch_size=64',
  '--config.sweep.epsilons=(0.0, 0.02, 0.04)',
)
ONE_MODEL = ('launch.train', *TINY)
LONG = ('--config.training.num_epochs=200', '--config.training.save_every_s=2')
# Ends the training of process 1 with an exception.
FAILING = """
import sys
from advspeech import preemption
from launch import command
from launch import train as launcher
check, calls = preemption.check, []
def fail():
  calls.append(None)
  if '--process_id=1' in sys.argv and len(calls) == 30:
    raise OSError('the disk of this machine is full')
  check()
preemption.check = fail
command.run(launcher.main)
"""


def start_pair(args, tmp_path, program=None):
  """Returns two processes that work together, and their output files."""
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{s.getsockname()[1]}'
  start = ['-c', program] if program else ['-m', args[0]]
  pair = []
  for i in (0, 1):
    path = tmp_path / f'output-{i}'
    with open(path, 'w') as output:
      process = subprocess.Popen(
        [
          sys.executable,
          *start,
          *map(str, args[1:]),
          f'--coordinator_address={address}',
          '--num_processes=2',
          f'--process_id={i}',
        ],
        cwd=ROOT,
        env=devices.environment(),
        stdout=output,
        stderr=output,
      )
    pair.append((process, path))
  return pair


def wait_for(pair, pattern, timeout_s=120):
  """Waits until process 0 has written what the pattern describes."""
  deadline = time.monotonic() + timeout_s
  while not re.search(pattern, pair[0][1].read_text()):
    assert time.monotonic() < deadline, pair[0][1].read_text()
    assert pair[0][0].poll() is None, pair[0][1].read_text()
    time.sleep(0.05)


def end(pair, timeout_s):
  """Returns both exit codes; kills and fails if one does not end in time."""
  try:
    return [process.wait(timeout_s) for process, _ in pair]
  finally:
    for process, _ in pair:
      process.kill()


@pytest.mark.slow
def test_two_processes_end_with_the_tables_of_one(espeak_dir, tmp_path):
  args = (
    *(*TINY, '--config.training.num_epochs=1'),
    '--config.sweep.num_clips=72',
    '--config.gradients.num_clips=8',
    '--config.gradients.num_studied=2',
    # Whose directions examples need too, which one process writes alone.
    "--config.sweep.attacks=('fgsm', 'universal')",
    '--config.sweep.universal.num_clips=64',
    '--config.sweep.universal.num_passes=1',
  )
  data = f'--config.data_dir={espeak_dir}'
  for folder, command in (
    ('one', ['-m', 'launch.reproduce']),
    (
      'two',
      ['-m', 'launch.local', '--num_processes=2', '--', 'launch.reproduce'],
    ),
  ):
    done = subprocess.run(
      [
        sys.executable,
        *command,
        *args,
        data,
        '--config.training.side_by_side=False',
        f'--workdir={tmp_path / folder}',
      ],
      cwd=ROOT,
      env=devices.environment(1 if folder == 'two' else 2),
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / folder / 'report' / 'index.html').exists()
  one, two = (
    (tmp_path / folder / 'attack' / 'sweep.csv').read_text()
    for folder in ('one', 'two')
  )
  assert one == two
  for name in ('clips', 'fidelity', 'summary'):
    first, second = (
      (tmp_path / folder / 'studies' / 'gradients' / f'{name}.csv').read_text()
      for folder in ('one', 'two')
    )
    assert first == second, name
  # Its epsilons shared out instead of its clips: nothing else changes.
  again = tmp_path / 'two' / 'attack'
  for stale in (again / 'sweep.csv', *(again / 'parts').glob('*.npz')):
    stale.unlink()
  config = tmp_path / 'two' / 'config.json'
  config.write_text(
    config.read_text().replace('"epsilon_devices": 1', '"epsilon_devices": 2')
  )
  done = subprocess.run(
    [
      sys.executable,
      *('-m', 'launch.local', '--num_processes=2', '--', 'launch.attack'),
      *args,
      data,
      '--config.training.side_by_side=False',
      '--config.sweep.epsilon_devices=2',
      f'--workdir={tmp_path / "two"}',
    ],
    cwd=ROOT,
    env=devices.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert (again / 'sweep.csv').read_text() == one


FEATURES = """
import sys
sys.path.append('tests')
import feature_subjects
feature_subjects.launch()
"""


@pytest.mark.slow
def test_two_processes_study_features_as_one_does(tmp_path):
  pair = start_pair(('', tmp_path / 'two'), tmp_path, FEATURES)
  codes = end(pair, 200)
  assert codes == [0, 0], pair[0][1].read_text()
  feature_subjects.write(str(tmp_path / 'one'))
  for name in ('clips-seed0', 'norms', 'budgets', 'equal_size'):
    one, two = (
      (tmp_path / folder / f'{name}.csv').read_bytes()
      for folder in ('one', 'two')
    )
    assert one == two, name


@pytest.mark.slow
def test_a_notice_to_one_stops_both_and_they_resume_to_the_same_bits(
  espeak_dir, tmp_path
):
  args = (
    *ONE_MODEL,
    '--config.training.num_epochs=20',
    f'--config.data_dir={espeak_dir}',
  )
  straight = (*args, f'--workdir={tmp_path / "straight"}')
  assert end(start_pair(straight, tmp_path), 300) == [0, 0]
  stopped = (*args, f'--workdir={tmp_path / "stopped"}')
  pair = start_pair(stopped, tmp_path)
  wait_for(pair, r'epoch 2/20')
  pair[1][0].send_signal(signal.SIGTERM)
  assert end(pair, 60) == [75, 75]
  assert 'saved at step' in pair[0][1].read_text()
  assert end(start_pair(stopped, tmp_path), 300) == [0, 0]
  assert 'going on from step' in pair[0][1].read_text()
  a, b = (tmp_path / d / 'tinymodel-seed0' for d in ('straight', 'stopped'))
  tiny.assert_same_bits(a, b)


@pytest.mark.slow
def test_a_notice_stops_both_however_often_they_save_and_resume(
  espeak_dir, tmp_path
):
  args = (
    *ONE_MODEL,
    *LONG,
    '--config.training.save_every_s=0.3',
    f'--config.data_dir={espeak_dir}',
    f'--workdir={tmp_path / "run"}',
  )
  for told, number in enumerate((signal.SIGTERM, signal.SIGINT)):
    pair = start_pair(args, tmp_path)
    wait_for(pair, r'epoch \d+/')
    pair[told][0].send_signal(number)
    code = 130 if number == signal.SIGINT else 75
    assert end(pair, 60) == [code, code]
    for _, path in pair:
      assert 'Traceback' not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_when_one_is_killed_the_other_ends_with_a_reason_and_both_resume(
  espeak_dir, tmp_path, victim
):
  args = (
    *ONE_MODEL,
    *LONG,
    f'--config.data_dir={espeak_dir}',
    f'--workdir={tmp_path / "run"}',
  )
  pair = start_pair(args, tmp_path)
  wait_for(pair, r'epoch 6/')
  pair[victim][0].kill()
  codes = end(pair, 60)
  assert codes[victim] == -signal.SIGKILL
  assert codes[1 - victim] != 0
  # A shell that outlives the process writes it.
  deadline = time.monotonic() + 20
  while 'error: ' not in (told := pair[1 - victim][1].read_text()):
    assert time.monotonic() < deadline, told
    time.sleep(0.05)
  assert not re.search('Traceback|stack trace|Fatal Python error', told)
  *_, last = told.splitlines()
  assert re.fullmatch(
    r'error: (this process was killed, or ended by a library|another process '
    r'that this one waited for is gone).*; \S*\.log holds what libraries wrote',
    last,
  )
  pair = start_pair(args, tmp_path)
  wait_for(pair, r'going on from step \d+')
  pair[0][0].send_signal(signal.SIGTERM)
  assert end(pair, 60) == [75, 75]


# Stopped at once, but the second of two has something else to do meanwhile.
SLOW_TO_LEAVE = """
import signal, sys, time
from advspeech import processes
from launch import ending
number = int(sys.argv[3].partition('=')[2])
processes.start('on', sys.argv[1].partition('=')[2], 2, number)
time.sleep(6 * number)
ending.stop(signal.SIGTERM)
"""


@pytest.mark.slow
def test_the_first_to_leave_waits_for_who_would_be_aborted(tmp_path):
  pair = start_pair((), tmp_path, SLOW_TO_LEAVE)
  assert end(pair, 60) == [75, 75], pair[1][1].read_text()


@pytest.mark.slow
def test_when_one_raises_the_other_ends_with_a_reason(espeak_dir, tmp_path):
  args = (
    *ONE_MODEL,
    *LONG,
    f'--config.data_dir={espeak_dir}',
    f'--workdir={tmp_path / "run"}',
  )
  pair = start_pair(args, tmp_path, FAILING)
  codes = end(pair, 120)
  assert codes[1] == 1
  assert codes[0] != 0
  assert 'the disk of this machine is full' in pair[1][1].read_text()
  told = pair[0][1].read_text()
  assert 'that this one waited for' in told or 'that it waited for' in told
  assert 'Traceback' not in told


# Looks for the digests of a checkpoint, which process 0 is slow to write.
SLOW_TO_SEAL = """
import os, sys, time
import numpy as np
from advspeech import checkpoint, parallel, processes
from advspeech.checkpoint import damage
address, number, folder = sys.argv[1:]
processes.start('on', address, 2, int(number))
write = damage.write_digests
damage.write_digests = lambda path: (time.sleep(3), write(path))
tree = parallel.replicate({'a': np.ones(3, np.float32)}, parallel.make_mesh())
with checkpoint.Checkpoints(folder) as checkpoints:
  checkpoints.save(1, {'model': {}}, {}, None, variables=tree)
sys.exit(not os.path.exists(f'{folder}/checkpoints/1/digests.json'))
"""


@pytest.mark.slow
def test_a_checkpoint_is_whole_for_every_process_that_closes_it(tmp_path):
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{s.getsockname()[1]}'
  pair = [
    subprocess.Popen(
      [sys.executable, '-c', SLOW_TO_SEAL, address, str(i), str(tmp_path)],
      cwd=ROOT,
      env=devices.environment(),
    )
    for i in range(2)
  ]
  assert [process.wait(120) for process in pair] == [0, 0]


# Each process writes which clips it read, and its part of every batch; for
# every number of processes some, forked where the libraries are imported.
READING = """
import os, socket, sys
import numpy as np
from advspeech import input_pipeline, parallel, processes
def read(source, path):
  class Clips:
    shape, nbytes, read = (200, 64), 200 * 128, []
    def __getitem__(self, rows):
      self.read.extend(np.arange(200)[rows].tolist())
      return np.repeat(np.arange(200, dtype=np.int16)[rows, None], 64, 1)
  split = input_pipeline.Split(
    ids=np.array([f'u{i}' for i in range(200)]),
    pcm=Clips(),
    num_samples=np.full(200, 64),
    labels=np.arange(200, dtype=np.int32),
  )
  mesh = parallel.make_mesh()
  if source == 'device':
    split = input_pipeline.put_on_devices(split, mesh)
  order, parts = input_pipeline.epoch_order(200, 5, 1), {}
  for step, batch in enumerate(input_pipeline.batches(split, 84, mesh, order)):
    (audio,), (label,) = (
      [shard.data for shard in batch[key].addressable_shards]
      for key in ('audio', 'label')
    )
    parts[f'audio {step}'], parts[f'label {step}'] = audio[:, 0], label
  np.savez(path, read=np.array(Clips.read), **parts)
for num in map(int, sys.argv[2:]):
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{s.getsockname()[1]}'
  pids = []
  for i in range(num):
    pid = os.fork()
    if not pid:
      processes.start('on', address, num, i)
      for source in ('host', 'device'):
        read(source, f'{sys.argv[1]}/{source}-{num}-{i}.npz')
      sys.exit()
    pids.append(pid)
  assert not any(os.waitpid(pid, 0)[1] for pid in pids)
"""
SHARED_BY = (1, 2, 3, 4, 7)


@pytest.fixture(scope='module')
def shared_out(tmp_path_factory):
  """What so many processes read together."""
  folder = tmp_path_factory.mktemp('read')
  subprocess.run(
    [sys.executable, '-c', READING, str(folder), *map(str, SHARED_BY)],
    cwd=ROOT,
    env=devices.environment(),
    check=True,
  )
  return folder


@pytest.mark.slow
@pytest.mark.parametrize('source', ['host', 'device'])
def test_processes_read_their_share_and_together_every_clip(shared_out, source):
  epochs = []
  for num in SHARED_BY:
    parts = [
      dict(np.load(shared_out / f'{source}-{num}-{i}.npz')) for i in range(num)
    ]
    read = [part.pop('read').tolist() for part in parts]
    if source == 'host':
      together = itertools.chain.from_iterable(read)
      assert sorted(together) == list(range(200))
      assert max(map(len, read)) <= 3 * 84 // num
    epochs.append(
      {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    )
  for epoch in epochs:
    for key, whole in epochs[0].items():
      np.testing.assert_array_equal(epoch[key], whole)
  labels = np.concatenate([epochs[0][f'label {step}'] for step in range(3)])
  assert sorted(labels[:200]) == list(range(200))
  for step in range(2):
    np.testing.assert_array_equal(
      epochs[0][f'audio {step}'], epochs[0][f'label {step}'] / 65536 + 0.5
    )
