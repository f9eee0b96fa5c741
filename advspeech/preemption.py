"""SIGTERM, SIGHUP, Ctrl-C: work in progress is saved before the program ends.

A signal ends the program at once, except inside `deferred()`: there it is
kept until the next `check()`, where the state is whole and can be saved.
"""

import contextlib
import signal

from jax.experimental import multihost_utils

from advspeech import parallel


class Stopped(BaseException):
  """The program was told to stop (a BaseException, as KeyboardInterrupt is).

  Attributes:
    signal: signal.SIGTERM, signal.SIGHUP or signal.SIGINT.
  """

  def __init__(self, number: signal.Signals):
    super().__init__(f'stopped by {number.name}')
    self.signal = number


class _Signals:
  """What came, and whether it may be acted on; signals are the process's."""

  def __init__(self):
    self.came: signal.Signals | None = None
    self.depth = 0
    self.num_checks = 0

  def handle(self, number, frame):
    del frame
    self.came = signal.Signals(number)
    if not self.depth:
      raise Stopped(self.came)
    if parallel.is_distributed() and number != signal.SIGTERM:
      # JAX takes SIGTERM as the notice on which all processes agree.
      signal.raise_signal(signal.SIGTERM)


_signals = _Signals()


def install() -> None:
  """Takes SIGINT, SIGTERM and SIGHUP over; to be called by the main thread.

  SIGTERM stays with JAX where its multi-process runtime is started, and SIGHUP
  (a closed terminal) is ignored where `nohup` has it so.
  """
  signal.signal(signal.SIGINT, _signals.handle)
  if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    signal.signal(signal.SIGHUP, _signals.handle)
  if not parallel.is_distributed():
    signal.signal(signal.SIGTERM, _signals.handle)


@contextlib.contextmanager
def deferred():
  """Keeps signals for `check()` until the context is left."""
  _signals.depth += 1
  try:
    yield
  finally:
    _signals.depth -= 1


def check() -> None:
  """Raises Stopped if a signal came; at the same call on every process.

  All processes have to call it equally often.
  """
  if parallel.is_distributed():
    # JAX agrees on one of contiguous numbers.
    _signals.num_checks += 1
    if multihost_utils.reached_preemption_sync_point(_signals.num_checks):
      raise Stopped(_signals.came or signal.SIGTERM)
  elif _signals.came:
    raise Stopped(_signals.came)
