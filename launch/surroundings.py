"""What a program finds around it, made fit before libraries look at it."""

import contextlib
import importlib
import os
import resource
import sys
import tempfile

from launch import console

# Removed when the program ends.
_temporary: list[tempfile.TemporaryDirectory] = []
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What the least of programs takes of what a shell may limit: on two cores a
# training of a tiny model ran with 4 GB of addresses and 40 open files. With
# 2 GB a thread of a library could not start, for which another one waited for
# good. Each core brings threads, each with a stack and a heap of its own.
_OPEN_FILES = 128
_ADDRESSES_GIB, _ADDRESSES_GIB_A_CORE = 3, 0.5


def check_limits() -> None:
  """Ends the program with a sentence where it may not open or map enough.

  Libraries do not fail in words where a thread of theirs cannot start, but
  wait, or abort.
  """
  files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
  if files != resource.RLIM_INFINITY and files < _OPEN_FILES:
    console.fail(
      f'a program may open {files} files here (ulimit -n) and needs '
      f'{_OPEN_FILES}; raise it, as with ulimit -n 1024'
    )
  addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
  gib = _ADDRESSES_GIB + _ADDRESSES_GIB_A_CORE * (os.cpu_count() or 1)
  if addresses != resource.RLIM_INFINITY and addresses < gib * 2**30:
    console.fail(
      f'a program may use {addresses / 2**30:.1f} GiB of addresses here '
      f'(ulimit -v) and needs {gib:.1f} on {os.cpu_count()} cores, most of '
      'which it never fills; raise it, or lift it with ulimit -v unlimited'
    )


def prepare() -> list[str]:
  """Sets what libraries read from the environment; returns what to log."""
  # A notebook's, which Matplotlib would look for; nothing here has a window.
  os.environ['MPLBACKEND'] = 'agg'
  _take_configs_from_here()
  return _find_caches()


def leave() -> None:
  """Removes what `prepare` made for this program alone."""
  while _temporary:
    _temporary.pop().cleanup()


def _take_configs_from_here() -> None:
  """Imports this repository's `configs`, whatever the current folder has.

  Configs import each other from it; one of the user's own may import its
  neighbours in another `configs` too.
  """
  sys.path.insert(0, ROOT)
  try:
    configs = importlib.import_module('configs')
  finally:
    sys.path.remove(ROOT)
  configs.__path__.append(os.path.abspath('configs'))


def _find_caches() -> list[str]:
  """Points the caches of libraries at folders that can be written to."""
  caches = _home('XDG_CACHE_HOME', '.cache')
  settings = _home('XDG_CONFIG_HOME', '.config')
  messages = []
  if caches:
    # What was compiled once is not compiled again, in this run or the next.
    os.environ.setdefault(
      'JAX_COMPILATION_CACHE_DIR', os.path.join(caches, 'advspeech', 'xla')
    )
  elif 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    messages.append(
      'no home folder that can be written to: what is compiled is compiled '
      'again by the next program, unless JAX_COMPILATION_CACHE_DIR names one'
    )
  for variable, found in (
    ('NUMBA_CACHE_DIR', caches),
    ('MPLCONFIGDIR', caches and settings),
  ):
    given = os.environ.get(variable)
    if not (_is_writable(given) if given else found):
      _temporary.append(tempfile.TemporaryDirectory(prefix='advspeech-'))
      os.environ[variable] = _temporary[-1].name
  return messages


def _home(variable: str, name: str) -> str:
  """Returns a folder of the user's own, '' where there is none to write to."""
  folder = os.environ.get(variable) or os.path.expanduser(f'~/{name}')
  return folder if os.path.isabs(folder) and _is_writable(folder) else ''


def _is_writable(folder: str) -> bool:
  with contextlib.suppress(OSError):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      return True
  return False
