"""SIGTERM, SIGHUP, Ctrl-C: a flag that loops ask, and an end that comes anyway.

No handler raises: an exception may come up in somebody's callback, which
swallows it. Loops call `check()` where their state is whole. Where none can
ask (imports, compilation, other people's loops) a thread ends the program
`PATIENCE_S` after the signal, unless there is work to be saved.

Several processes stop at the same check, by an agreement of their own. JAX has
one too, of which Orbax asks with numbers of its own: whoever asks with another
number may be past the agreed one, and never stop.
"""

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# From a signal to the end, where no loop asks and nothing is to be saved.
PATIENCE_S = 5.0
_POLL_S = 0.05
# Between processes: how long a notice is waited for at a time, and how long
# the others have to say where they are.
_NOTICE_MS, _ANSWER_MS = 3_600_000, 60_000
# How long a notice may still be waited for once the processes part.
_PARTING_S = 10.0


class Stopped(BaseException):
  """The program was asked to stop (a BaseException, as KeyboardInterrupt is).

  Attributes:
    signal: signal.SIGTERM, signal.SIGHUP or signal.SIGINT.
  """

  def __init__(self, number: signal.Signals):
    super().__init__(f'stopped by {number.name}')
    self.signal = number


class Signals:
  """What came first, and who has work to save; signals are the process's."""

  def __init__(self):
    self.came: signal.Signals | None = None
    self.patience_s = 0.0
    self.num_unsaved = 0
    self.lock = threading.Lock()  # of the number above
    self.agreement: Agreement | None = None
    self.pipe: int | None = None

  def handle(self, number, frame):
    """Notes a signal; what `signal.signal` calls."""
    del frame
    self.note(number)

  def note(self, number):
    """Notes a signal, if it is the first."""
    if self.came is None:
      self.came = signal.Signals(number)


signals = Signals()


def install(leave: Callable[[signal.Signals], Any]) -> None:
  """Takes SIGINT, SIGTERM and SIGHUP over; to be called by the main thread.

  SIGHUP (a closed terminal) is ignored where `nohup` has it so. Until
  `loops_ask` is called a signal ends the program at once.

  Args:
    leave: Ends the process, from a thread; given what came.
  """
  read, write = os.pipe()
  os.set_blocking(write, False)
  signals.pipe = write
  # Written to as the signal comes, whatever the main thread is busy with.
  signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  threading.Thread(
    target=_watch, args=(signals, read, leave), name='signals', daemon=True
  ).start()
  for number in NUMBERS:
    if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
      signal.signal(number, signals.handle)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def _watch(signals, pipe, leave):
  """Ends the process, some time after a signal came."""
  number = None
  while number not in NUMBERS:
    number = os.read(pipe, 1)[0]
  signals.note(number)
  if signals.agreement:
    # In a thread: who is to pass it on may not answer.
    threading.Thread(
      target=signals.agreement.notify, args=(signals.came,), daemon=True
    ).start()
  began = time.monotonic()
  while signals.num_unsaved or time.monotonic() - began < signals.patience_s:
    time.sleep(_POLL_S)
  leave(signals.came)


def loops_ask() -> None:
  """Gives loops `PATIENCE_S` to end the program themselves, from now on."""
  signals.patience_s = PATIENCE_S


def ignore() -> None:
  """Ignores signals from now on: all is done.

  Raises:
    Stopped: If one came before.
  """
  for number in NUMBERS:
    signal.signal(number, signal.SIG_IGN)
  check_alone()


@contextlib.contextmanager
def unsaved() -> Iterator[None]:
  """Waits for loops as long as it takes them, while the context lasts.

  For work that is saved when a loop has asked.
  """
  with signals.lock:
    signals.num_unsaved += 1
  try:
    yield
  finally:
    with signals.lock:
      signals.num_unsaved -= 1


def came() -> signal.Signals | None:
  """Returns the signal that came first, None if none did."""
  return signals.came


def check() -> None:
  """Raises Stopped if a signal came; at the same call on every process.

  All processes have to call it equally often; what some of them do alone asks
  `check_alone`.
  """
  if signals.agreement is None:
    check_alone()
  elif signals.agreement.reached():
    raise Stopped(signals.came)


def check_alone() -> None:
  """Raises Stopped if a signal came, here or at another process.

  The others end by themselves, where they wait for this one.
  """
  if signals.came:
    raise Stopped(signals.came)


def sleep(seconds: float) -> None:
  """Sleeps; raises Stopped if a signal comes meanwhile."""
  end = time.monotonic() + seconds
  while (left := end - time.monotonic()) > 0:
    check_alone()
    time.sleep(min(_POLL_S, left))
  check_alone()


def agree_through(
  client: Any, process_id: int, num_processes: int, part: Callable[[], None]
) -> None:
  """Lets several processes stop at the same check.

  Args:
    client: JAX's of its coordination service.
    process_id: Of this process.
    num_processes: How many there are.
    part: Closes the client; called where the interpreter exits by itself.
  """
  if num_processes > 1:
    signals.agreement = Agreement(client, process_id)
    listening = signals.agreement.listen()

    def leave():
      # A thread that comes back from C++ to an interpreter that is gone aborts
      # the process.
      try:
        part()
      finally:
        listening.join(_PARTING_S)

    atexit.register(leave)


class Agreement:
  """The check at which all processes stop: the one after all they have made."""

  _NOTICE, _CHECKS = 'advspeech/stop', 'advspeech/checks'

  def __init__(self, client, process_id):
    self._client = client
    self._id = process_id
    self._lock = threading.Lock()
    self._num_checks = 0
    # The last check that is passed; None before anything was agreed on.
    self.last: int | None = None

  def notify(self, number):
    """Notifies all processes of a signal; the first one counts."""
    # It is not the first, or nobody is there any more.
    with contextlib.suppress(Exception):
      self._client.key_value_set(self._NOTICE, str(int(number)))

  def listen(self):
    """Waits for a notice, in a thread, which is returned."""
    thread = threading.Thread(
      target=self._listen, name='stop notice', daemon=True
    )
    thread.start()
    return thread

  def _listen(self):
    while True:
      try:
        notice = self._client.blocking_key_value_get(self._NOTICE, _NOTICE_MS)
        break
      except Exception as e:
        if 'DEADLINE_EXCEEDED' not in str(e):
          return  # the processes part
    number = signal.Signals(int(notice))
    # No check is passed until all have reported where they are.
    with self._lock:
      signals.note(number)
      try:
        self._client.key_value_set(
          f'{self._CHECKS}/{self._id}', str(self._num_checks)
        )
        self._client.wait_at_barrier(self._CHECKS, _ANSWER_MS)
        found = self._client.key_value_dir_get(f'{self._CHECKS}/')
        self.last = 1 + max(int(value) for _, value in found)
      except Exception:  # one is gone: there is nothing left to agree on
        self.last = 0
    if signals.pipe is not None:
      os.write(signals.pipe, bytes([number]))

  def reached(self):
    """Counts a check; returns whether it is the last one."""
    # Counted whether or not a signal came: the number agreed on is one that no
    # process has passed, and each comes to it by itself.
    with self._lock:
      self._num_checks += 1
      return self.last is not None and self._num_checks >= self.last
