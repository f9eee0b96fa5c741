"""When, where and from which code a part of a run was made."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from advspeech import parallel, storage

FILE = 'provenance.json'
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'librosa')


@contextlib.contextmanager
def recorded(folder: str, device: Mapping[str, Any]) -> Iterator[None]:
  """Adds a session to `folder`/provenance.json, with its end if it gets there.

  What was stopped and gone on with has several sessions, perhaps of different
  commits; the one that was killed has no `finished`.

  On process 0 alone, where there are several.

  Args:
    folder: Of what is made; there already.
    device: As by `parallel.device_summary`.
  """
  if not parallel.is_lead():
    yield
    return
  path = os.path.join(folder, FILE)
  sessions = read(folder)
  session = {
    'started': _now(),
    'finished': None,
    **code(),
    'versions': versions(),
    'device': dict(device),
  }
  storage.write_json(path, [*sessions, session])
  yield
  session['finished'] = _now()
  storage.write_json(path, [*sessions, session])


def read(folder: str) -> list[dict[str, Any]]:
  """Returns the sessions that made a folder; none where none was recorded."""
  path = os.path.join(folder, FILE)
  return storage.read_json(path, kind=list) if storage.exists(path) else []


def code() -> dict[str, Any]:
  """Returns `commit` of this checkout and whether it was `changed` since.

  The commit is '' where this is no checkout, or there is no git.
  """
  try:
    # Inside another repository, as in its .venv, git would tell of that one.
    if os.path.realpath(_git('rev-parse', '--show-toplevel')) != ROOT:
      return {'commit': '', 'changed': False}
    return {
      'commit': _git('rev-parse', 'HEAD'),
      'changed': bool(_git('status', '--porcelain', '--untracked-files=no')),
    }
  except (OSError, subprocess.CalledProcessError):
    return {'commit': '', 'changed': False}


def versions() -> dict[str, str]:
  """Returns the versions of Python and of what decides about the numbers."""
  return {
    'Python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def _git(*arguments):
  # A hook's or a submodule's say where another repository is.
  environment = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith('GIT_') or key.startswith('GIT_CONFIG_')
  }
  done = subprocess.run(
    ['git', '-C', ROOT, *arguments],
    check=True,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  return done.stdout.strip()


def _now():
  now = datetime.datetime.now(datetime.UTC)
  return now.isoformat(timespec='seconds')
