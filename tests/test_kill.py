"""Kill -9 at random moments: the end is the same, bit for bit.

ADVSPEECH_KILLS=50 python -m pytest -m slow tests/test_kill.py -s
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

import devices
import pytest
import tiny

NUM_KILLS = int(os.environ.get('ADVSPEECH_KILLS', '4'))
# Long enough that most kills hit training, and saves at every moment.
OVERRIDES = ('training.num_epochs=40', 'training.save_every_s=1')


def start(workdir):
  return subprocess.Popen(
    [sys.executable, tiny.__file__, str(workdir), *OVERRIDES],
    env=devices.environment(2),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  output, _ = process.communicate()
  assert process.returncode == 0, output


def start_and_wait_for_steps(workdir):
  """Returns a process that has begun to train, or has ended."""
  process = start(workdir)
  for line in process.stdout:
    if 'training step ready' in line:
      break
  return process


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path):
  straight = tmp_path / 'straight'
  process = start_and_wait_for_steps(straight)
  started = time.monotonic()
  finish(process)
  length_s = time.monotonic() - started
  rng = random.Random(0)
  kills, run, in_saves = 0, 0, 0
  while kills < NUM_KILLS:
    workdir = tmp_path / f'killed-{run}'
    run += 1
    while not (workdir / 'summary.json').exists():
      process = start_and_wait_for_steps(workdir)
      if kills < NUM_KILLS:
        time.sleep(rng.uniform(0, length_s / 3))
      else:
        process.wait()
      if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        checkpoints = workdir / 'checkpoints'
        names = [p.name for p in checkpoints.iterdir()]
        unfinished = [
          n for n in names if not (checkpoints / n / 'digests.json').exists()
        ]
        in_saves += bool(unfinished)
        assert all(re.match(r'\d+', n) for n in unfinished), names
      else:
        assert process.returncode == 0, process.stdout.read()
      process.stdout.close()
    tiny.assert_same_bits(straight, workdir)
  print(
    f'{kills} kills in {run} runs of {length_s:.1f} s, {in_saves} in a save'
  )
