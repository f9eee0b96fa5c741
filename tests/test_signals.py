"""SIGTERM, SIGINT and SIGHUP at random moments of every program.

ADVSPEECH_SIGNALS=200 python -m pytest -n 0 -m slow tests/test_signals.py -s
"""

import collections
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import devices
import numpy as np
import pytest
import shallow
import tiny

from advspeech import audio

ROOT = pathlib.Path(__file__).parent.parent
NUM_SIGNALS = int(os.environ.get('ADVSPEECH_SIGNALS', '12'))
# Of programs, separated by commas; all if it is not given.
ONLY = os.environ.get('ADVSPEECH_SIGNALS_ONLY', '')
CODES = {signal.SIGTERM: 75, signal.SIGHUP: 75, signal.SIGINT: 130}
# A program that has not ended by then hangs.
HANGS_AFTER_S = 120
FIRST_GUESS_S = 8.0
TINY = (
  '--config.clip_s=0.4',
  f"--config.models=('{tiny.MODEL}',)",
  f'--config.source={tiny.MODEL}',
  # The benchmark's networks are those of the paper.
  '--config.model.features=2',
  '--config.model.hidden_features=4',
  '--config.seeds=(0,)',
  '--config.training.batch_size=64',
  '--config.sweep.batch_size=32',
  '--config.sweep.epsilons=(0.0, 0.01, 0.02)',
  '--config.gradients.num_clips=8',
  '--config.gradients.num_studied=2',
  '--config.sweep.num_clips=32',
  '--config.features.num_clips=2',
)
PROGRAMS = {
  'prepare': ('prepare',),
  'train': ('train', '--config.training.num_epochs=8'),
  'two trainings': (
    *('local', '--num_processes=2', '--', 'launch.train'),
    '--config.training.num_epochs=6',
  ),
  'search_lr': (
    *('search_lr', f'--model={tiny.MODEL}', '--config.lr_search.num_epochs=1'),
    '--config.lr_search.num_rounds=1',
  ),
  'attack': ('attack',),
  'two attacks': ('local', '--num_processes=2', '--', 'launch.attack'),
  'recording': ('attack', '--attack=pgd', '--epsilons=0.01,0.02'),
  'gradients': ('study', 'gradients'),
  'features': ('study', 'features'),
  'report': ('report',),
  'benchmark': ('benchmark', '--only=models', '--rounds=1', '--clips=1'),
  'plan': ('plan', '--devices=1', '--only=evaluation'),
  'doctor': ('doctor',),
}
# What cannot be resumed; who is stopped before it works says neither.
ANEW = ('prepare', 'recording', 'report', 'benchmark', 'plan', 'doctor')
# What each finds done.
STAGES = {
  'train': (),
  'two trainings': (),
  'search_lr': (),
  'report': ('attack', 'studies'),
}


@pytest.fixture(scope='module')
def run(espeak_dir, tmp_path_factory):
  """A folder that went through every stage, and a recording."""
  folder = tmp_path_factory.mktemp('run')
  process = start(('reproduce',), folder / 'run', espeak_dir)
  _, told = process.communicate()
  assert process.returncode == 0, told
  pcm = np.random.default_rng(0).normal(0, 0.1, 6400) / 2 + 0.5
  audio.save(str(folder / 'noise.wav'), pcm.astype(np.float32), 'PCM_16')
  return folder


def start(program, workdir, data_dir):
  name, *rest = program
  way = shallow.__file__ if name == 'benchmark' else '-m'
  return subprocess.Popen(
    [
      *(sys.executable, way, f'launch.{name}', *rest, *TINY),
      f'--config.data_dir={data_dir}',
      f'--workdir={workdir}',
    ],
    cwd=ROOT,
    env=devices.environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def begin(name, run, espeak_dir, folder):
  """Returns a program that works in a folder of its own."""
  folder.mkdir(parents=True)
  workdir, data_dir, more = folder / 'run', espeak_dir, ()
  done = STAGES.get(name, ())
  if name == 'prepare':
    data_dir = folder / 'data'
  elif done or name not in STAGES:
    kept = {'attack', 'studies', 'report'} - {*done}
    shutil.copytree(run / 'run', workdir, ignore=lambda *_: kept)
  if name == 'recording':
    more = (
      f'--audio={run / "noise.wav"}',
      f'--checkpoint={run / "run" / "tinymodel-seed0"}',
      f'--output={folder / "attacked"}',
    )
  return start((*PROGRAMS[name], *more), workdir, data_dir)


def is_prepared_for_signals(process):
  """Returns whether a program of Python's has got as far as our first line."""
  status = pathlib.Path(f'/proc/{process.pid}/status')
  try:
    caught = int(status.read_text().partition('SigCgt:')[2].split()[0], 16)
  except (OSError, IndexError):
    return True  # it has ended
  return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='no /proc')
def test_whenever_a_signal_comes_the_program_ends_with_a_sentence(
  run, espeak_dir, tmp_path
):
  names = ONLY.split(',') if ONLY else list(PROGRAMS)
  rng = random.Random(NUM_SIGNALS)
  # At first a guess, then how long the program took that no signal met.
  lengths_s = collections.defaultdict(lambda: FIRST_GUESS_S)
  seconds, wrong = collections.defaultdict(list), []
  for i in range(NUM_SIGNALS):
    name = names[i % len(names)]
    number = rng.choice(list(CODES))
    process = begin(name, run, espeak_dir, tmp_path / f'stopped-{i}')
    while not is_prepared_for_signals(process):
      time.sleep(0.001)
    moment_s = rng.uniform(0, lengths_s[name])
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < moment_s:
      time.sleep(0.01)
    sent = time.monotonic()
    if process.poll() is not None:
      lengths_s[name] = sent - began
    # Twice to some, and to some with all that they have started.
    for _ in range(rng.choice((1, 1, 2))):
      if process.poll() is None:
        whom = rng.choice((os.kill, os.killpg))
        whom(process.pid, number)
    try:
      output, told = process.communicate(timeout=HANGS_AFTER_S)
      took_s = time.monotonic() - sent
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      output, told = process.communicate()
      took_s = HANGS_AFTER_S
    ended = process.returncode == 0
    if not ended:
      seconds[name].append(took_s)
    right = process.returncode == CODES[number] and (
      told.count('stopped by') == 1 or name.startswith('two')
    )
    right &= ('goes on' if name in ANEW else 'begins anew') not in told
    if 'Traceback' in told + output or not (right or ended):
      wrong.append((name, number.name, moment_s, process.returncode, told))
    print(
      f'{i + 1}: {name} {number.name} at {moment_s:.1f} of '
      f'{lengths_s[name]:.1f} s: {process.returncode} after {took_s:.1f} s',
      '' if right or ended else f'WRONG\n{told}',
      flush=True,
    )
    shutil.rmtree(tmp_path / f'stopped-{i}')
  for name, took in seconds.items():
    print(f'{name}: {len(took)} stopped, after {max(took):.1f} s at most')
  assert not wrong
