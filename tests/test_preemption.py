"""Signals: at once outside, at the next check inside."""

import os
import signal
import subprocess
import sys

import pytest

from advspeech import preemption

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
  monkeypatch.setattr(preemption, '_signals', preemption._Signals())
  before = {n: signal.getsignal(n) for n in NUMBERS}
  preemption.install()
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize('number', NUMBERS)
def test_outside_a_signal_ends_the_program_at_once(number):
  with pytest.raises(preemption.Stopped) as caught:
    signal.raise_signal(number)
  assert caught.value.signal == number


@pytest.mark.parametrize('number', NUMBERS)
def test_inside_it_waits_for_the_check(number):
  with preemption.deferred():
    preemption.check()
    signal.raise_signal(number)
    with pytest.raises(preemption.Stopped) as caught:
      preemption.check()
  assert caught.value.signal == number


def test_what_nohup_ignores_stays_ignored():
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  preemption.install()
  signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize(
  ('number', 'code'),
  [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)],
)
def test_while_a_program_starts_a_signal_ends_it_with_its_code(number, code):
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      'import os, sys\n'
      'from launch import command\n'
      'command._end_on_signals()\n'
      'os.kill(os.getpid(), int(sys.argv[1]))\n',
      str(int(number)),
    ],
    cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == code, done.stderr
  assert done.stderr == f'stopped by {number.name}, with nothing to save yet\n'
