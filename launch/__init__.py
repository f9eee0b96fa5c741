"""The programs; python -m launch lists them."""

import importlib.util
import sys

# Of what setup.py asks for, what the programs import first.
_NEEDED = ('absl', 'ml_collections', 'jax')


def _check_python():
  """Ends the program with a sentence where this Python is another one."""
  missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
  if sys.version_info >= (3, 11) and not missing:
    return
  found = f'Python {sys.version_info[0]}.{sys.version_info[1]}'
  if missing:
    found += f' without {", ".join(missing)}'
  print(
    'error: advspeech needs Python 3.11 or newer and what setup.py names, got '
    f'{found} ({sys.executable}); activate the environment that it was '
    'installed in, or install it into this one: python -m pip install -e .',
    file=sys.stderr,
  )
  sys.exit(2)


# A program of this package is being started, by the name of its module: a
# signal must find it prepared, however long it is still to import.
if sys.argv[:1] == ['-m']:
  _check_python()
  from launch import ending

  ending.prepare()
