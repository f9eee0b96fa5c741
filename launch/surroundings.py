"""What a program finds around it, made fit before libraries look at it."""

import contextlib
import importlib
import os
import sys
import tempfile

# Removed when the program ends.
_temporary: list[tempfile.TemporaryDirectory] = []
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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
