"""A training of seconds, and an end of it where a test wants one."""

import signal

import pytest
import tiny

from advspeech import preemption


@pytest.fixture
def config():
  return tiny.get_config()


@pytest.fixture
def stop_at(monkeypatch):
  """Returns a function: training stops at the n-th check of signals."""

  def set_to(number):
    calls = iter(range(1, 10**6))

    def check():
      if next(calls) == number:
        raise preemption.Stopped(signal.SIGTERM)

    monkeypatch.setattr(preemption, 'check', check)

  return set_to
