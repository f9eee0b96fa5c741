"""A signal is a flag that loops ask; where none asks, a thread ends it all."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from advspeech import preemption

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def left():
  """What the thread ends the process with, as it would."""
  return []


@pytest.fixture(autouse=True)
def handlers(monkeypatch, left):
  monkeypatch.setattr(preemption, 'signals', preemption.Signals())
  before = {n: signal.getsignal(n) for n in NUMBERS}
  called = threading.Event()

  def leave(number):
    left.append(number)
    called.set()

  preemption.install(leave)
  yield called
  signal.set_wakeup_fd(-1)
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize('number', NUMBERS)
def test_a_signal_waits_for_the_check(number):
  preemption.loops_ask()
  preemption.check()
  signal.raise_signal(number)
  for check in (preemption.check, preemption.check_alone):
    with pytest.raises(preemption.Stopped) as caught:
      check()
    assert caught.value.signal == number


def test_a_signal_in_a_callback_that_swallows_exceptions_is_not_lost():
  preemption.loops_ask()

  def collect(phase, info):
    signal.raise_signal(signal.SIGTERM)

  gc.callbacks.append(collect)
  try:
    gc.collect()
  finally:
    gc.callbacks.remove(collect)
  with pytest.raises(preemption.Stopped):
    preemption.check()


def test_the_first_of_two_signals_counts():
  preemption.loops_ask()
  signal.raise_signal(signal.SIGINT)
  signal.raise_signal(signal.SIGTERM)
  assert preemption.came() == signal.SIGINT


def test_before_loops_ask_the_thread_ends_the_program(handlers, left):
  signal.raise_signal(signal.SIGHUP)
  assert handlers.wait(60)
  assert left == [signal.SIGHUP]


def test_where_no_loop_asks_the_thread_ends_the_program(
  handlers, left, monkeypatch
):
  monkeypatch.setattr(preemption, 'PATIENCE_S', 0.1)
  preemption.loops_ask()
  signal.raise_signal(signal.SIGTERM)
  assert handlers.wait(60)
  assert left == [signal.SIGTERM]


def test_what_is_unsaved_is_waited_for(handlers, left, monkeypatch):
  monkeypatch.setattr(preemption, 'PATIENCE_S', 0.0)
  preemption.loops_ask()
  with preemption.unsaved():
    signal.raise_signal(signal.SIGTERM)
    assert not handlers.wait(0.5)
  assert handlers.wait(60)


def test_sleep_ends_with_a_signal():
  preemption.loops_ask()
  timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM])
  timer.start()
  with pytest.raises(preemption.Stopped):
    preemption.sleep(600)


def test_what_nohup_ignores_stays_ignored(left):
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  preemption.install(left.append)
  signal.raise_signal(signal.SIGHUP)
  preemption.check()


def test_when_all_is_done_signals_are_ignored():
  preemption.loops_ask()
  preemption.ignore()
  signal.raise_signal(signal.SIGTERM)
  assert preemption.came() is None


def test_what_came_before_the_end_stops_the_program():
  preemption.loops_ask()
  signal.raise_signal(signal.SIGTERM)
  with pytest.raises(preemption.Stopped):
    preemption.ignore()


class Store:
  """JAX's coordination service, as far as it is needed, for threads."""

  def __init__(self, num_processes):
    self.values = {}
    self.changed = threading.Condition()
    self.barrier = threading.Barrier(num_processes)

  def key_value_set(self, key, value):
    with self.changed:
      if key in self.values:
        raise RuntimeError('ALREADY_EXISTS')
      self.values[key] = value
      self.changed.notify_all()

  def blocking_key_value_get(self, key, timeout_ms):
    with self.changed:
      self.changed.wait_for(lambda: key in self.values)
      return self.values[key]

  def key_value_dir_get(self, key):
    return [(k, v) for k, v in self.values.items() if k.startswith(key)]

  def wait_at_barrier(self, name, timeout_ms):
    self.barrier.wait(60)


@pytest.mark.parametrize('notified', [0, 1, 2])
def test_processes_stop_at_the_same_check(notified):
  """However far one is ahead, and whoever is notified."""
  store = Store(3)
  agreements = [preemption.Agreement(store, i) for i in range(3)]
  for i, agreement in enumerate(agreements):
    for _ in range(5 * i):
      assert not agreement.reached()
    agreement.listen()
  agreements[notified].notify(signal.SIGTERM)
  agreements[notified].notify(signal.SIGINT)
  deadline = time.monotonic() + 60
  while any(agreement.last is None for agreement in agreements):
    assert time.monotonic() < deadline
    time.sleep(0.01)
  assert {agreement.last for agreement in agreements} == {11}
  for i, agreement in enumerate(agreements):
    answers = [agreement.reached() for _ in range(11 - 5 * i)]
    assert answers == [False] * (10 - 5 * i) + [True]
  assert preemption.came() == signal.SIGTERM


def test_a_coordinator_that_does_not_answer_is_not_waited_for(handlers, left):
  parted = threading.Event()

  class Silent(Store):
    def key_value_set(self, key, value):
      threading.Event().wait()

    def blocking_key_value_get(self, key, timeout_ms):
      parted.wait()
      raise RuntimeError('CANCELLED')

  preemption.agree_through(Silent(2), 1, 2, part=parted.set)
  signal.raise_signal(signal.SIGTERM)
  assert handlers.wait(30)
  assert left == [signal.SIGTERM]


PROGRAM = """
import os, signal, subprocess, sys, time
from launch import command
def main():
  from advspeech import preemption
  {body}
command.run(main, after_a_stop=lambda: 'SO')
"""
# What it does once it has said that it is there.
READY = "print('ready', flush=True)"
BODIES = {
  # Nothing of Python's runs, and no lock is let go of, for a minute.
  'native code': f'{READY}; import ctypes; ctypes.CDLL(None).sleep(60)',
  'no loop': (
    f'preemption.PATIENCE_S = 0.3; preemption.loops_ask(); {READY}; '
    'time.sleep(60)'
  ),
  'a loop': f'{READY}\n  while True: preemption.check()',
  # As XLA's ptxas, which a signal to the group reaches too.
  'a child': (
    "subprocess.run(['sh', '-c', 'echo ready; exec sleep 60'], check=True)"
  ),
  'an exception': (
    f'{READY}\n  while not preemption.came(): pass\n  raise RuntimeError'
  ),
  # As where the signal comes while another thread imports it.
  'a module half imported': (
    f"sys.modules['jax._src.distributed'] = type(sys)('half')\n  {READY}\n"
    '  while True: preemption.check()'
  ),
}


@pytest.mark.parametrize(
  ('body', 'number', 'code'),
  [
    *((body, signal.SIGTERM, 75) for body in BODIES if body != 'native code'),
    pytest.param('native code', signal.SIGTERM, 75, marks=pytest.mark.slow),
    ('no loop', signal.SIGINT, 130),
  ],
)
def test_whatever_a_program_does_a_signal_ends_it_with_a_sentence(
  body, number, code
):
  process = subprocess.Popen(
    [sys.executable, '-c', PROGRAM.format(body=BODIES[body])],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  assert process.stdout.readline() == 'ready\n'
  os.killpg(process.pid, number)
  os.killpg(process.pid, number)
  _, told = process.communicate(timeout=50)
  assert (process.returncode, told) == (code, f'stopped by {number.name}; SO\n')


@pytest.mark.parametrize(
  'broken',
  [
    'ending._farewell = None',
    "sys.stdout = sys.stderr = open(os.open('/dev/null', os.O_RDONLY), 'w')",
  ],
)
def test_whatever_fails_at_the_end_the_program_ends_with_its_code(broken):
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      'import os, signal, sys\n'
      'from launch import ending\n'
      'ending.prepare()\n'
      f'{broken}\n'
      "sys.stdout.write('unsaid')\n"
      'os.kill(os.getpid(), signal.SIGTERM)\n'
      'signal.pause()\n',
    ],
    cwd=ROOT,
    capture_output=True,
    timeout=50,
    check=False,
  )
  assert done.returncode == 75, done.stderr


@pytest.mark.parametrize(
  ('number', 'code'),
  [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)],
)
def test_while_a_program_starts_a_signal_ends_it_with_its_code(number, code):
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      'import os, signal, sys\n'
      'from launch import ending\n'
      'ending.prepare()\n'
      'os.kill(os.getpid(), int(sys.argv[1]))\n'
      'signal.pause()\n',
      str(int(number)),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == code, done.stderr
  assert (
    done.stderr == f'stopped by {number.name}; there was nothing to save yet\n'
  )
