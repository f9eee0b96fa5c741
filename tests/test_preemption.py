"""Signals: at once outside, at the next check inside."""

import signal

import pytest

from advspeech import preemption


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
  monkeypatch.setattr(preemption, '_signals', preemption._Signals())
  before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
  preemption.install()
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_outside_a_signal_ends_the_program_at_once(number):
  with pytest.raises(preemption.Stopped) as caught:
    signal.raise_signal(number)
  assert caught.value.signal == number


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_inside_it_waits_for_the_check(number):
  with preemption.deferred():
    preemption.check()
    signal.raise_signal(number)
    with pytest.raises(preemption.Stopped) as caught:
      preemption.check()
  assert caught.value.signal == number
