"""How programs end: exit codes, signals, and no farewell of libraries."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from advspeech import preemption

EXIT_FAILED = 1
# EX_TEMPFAIL: stopped by SIGTERM or SIGHUP; run it again.
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130
# Names the process without which this one is to stop; Linux sends a signal.
PARENT = 'ADVSPEECH_PARENT'
_PR_SET_PDEATHSIG = 1
# How long processes wait for each other at the end. JAX aborts those that are
# still at work when the first of them, which they meet at, is gone.
_FAREWELL_S, _FAREWELL_STOPPED_S, _FAREWELL_OF_FIRST_S = 40.0, 4.0, 8.0
# A thread that failed while it ended the program may end it otherwise.
_one_end = threading.RLock()
_is_prepared: list[bool] = []
_cleanups: list[Callable[[], None]] = []
_report = ['there was nothing to save yet']


def prepare() -> None:
  """Prepares the program for signals; until it works they end it at once."""
  if _is_prepared:
    return
  _ask_for_huge_pages()
  _is_prepared.append(True)
  preemption.install(stop)
  if PARENT in os.environ:
    _heed_the_end_of(int(os.environ.pop(PARENT)))


def _heed_the_end_of(parent):
  """Lets SIGTERM come when the process that started this one is gone."""
  import ctypes

  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before
      os.kill(os.getpid(), signal.SIGTERM)


def _ask_for_huge_pages() -> None:
  """Starts the program again where glibc has to be asked for huge pages.

  XLA asks for a step's memory anew each time, gigabytes on a CPU, and touching
  it 4 kB at a time cost a fifth to a quarter of a training step (2 cores, JAX
  0.10.2 and 0.12.0.1, 2026-11-24). glibc reads the wish at its start only.
  """
  import platform

  setting = '/sys/kernel/mm/transparent_hugepage/enabled'
  if 'GLIBC_TUNABLES' in os.environ or not os.path.exists(setting):
    return
  with open(setting, encoding='ascii') as file:
    on_request = '[madvise]' in file.read()
  if on_request and platform.libc_ver()[0] == 'glibc':
    # A signal waits for the program that is started.
    signal.pthread_sigmask(signal.SIG_BLOCK, preemption.NUMBERS)
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def let_loops_stop(report: str, is_lead: bool) -> None:
  """Lets loops end the program on a signal from now on.

  Args:
    report: What the same command does after a stop.
    is_lead: Whether this process reports it.
  """
  _report[:] = [report] if is_lead else []
  preemption.loops_ask()


def clean_up(action: Callable[[], None]) -> None:
  """Has something done before the program ends, however it does."""
  _cleanups.append(action)


def stop(number: signal.Signals) -> NoReturn:
  """Ends the program on a signal, with a sentence."""
  _only_one()
  try:
    if _report:
      print(f'{preemption.Stopped(number)}; {_report[0]}', file=sys.stderr)
    _silence_libraries()
    _farewell(_FAREWELL_STOPPED_S, _FAREWELL_OF_FIRST_S)
  finally:  # nobody else ends the program any more
    _exit(EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED)


def _silence_libraries():
  """Drops what libraries still say of a service that is being closed."""
  sys.stderr.flush()
  # Python's own stream has another descriptor, see `console.never_fail`.
  null = os.open(os.devnull, os.O_WRONLY)
  os.dup2(null, 2)
  os.close(null)


def at_once(code: int) -> NoReturn:
  """Ends the program at once; other processes notice that it is gone."""
  _only_one()
  _exit(code)


def finish(sentence: str) -> NoReturn:
  """Ends the program with everything done.

  Raises:
    preemption.Stopped: If a signal came before.
  """
  preemption.ignore()
  _only_one()
  if sentence:
    print(sentence, file=sys.stderr)
  _farewell(_FAREWELL_S, _FAREWELL_S)
  _exit(0)


def _only_one():
  """Waits for the end in all threads but the first that ends the program."""
  _one_end.acquire()


def _farewell(limit_s, limit_of_first_s):
  """Takes leave of other processes, which would think that this one failed."""
  # None too where the signal came while it was imported.
  distributed = sys.modules.get('jax._src.distributed')
  state = getattr(distributed, 'global_state', None)
  if state is None or state.client is None:
    return

  def leave():
    with contextlib.suppress(Exception):  # of those that are gone
      state.shutdown()

  leaving = threading.Thread(target=leave, daemon=True)
  leaving.start()
  is_first = state.service is not None
  leaving.join(limit_of_first_s if is_first else limit_s)


def _exit(code):
  """Exits without destructors: XLA may be computing, or compiling."""
  for action in _cleanups:
    with contextlib.suppress(OSError):
      action()
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError):  # nobody may listen any more
      stream.flush()
  os._exit(code)
