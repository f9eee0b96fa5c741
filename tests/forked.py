"""Launchers in children of one process, which has imported the package.

  python tests/forked.py

reads a line of JSON a program, `["train", "--workdir=..."]`, and whether on
shallow networks (see shallow.py), and answers each with a line: its exit code,
and what it wrote to stdout and stderr. Anew for each program the imports would
take longer than most tests of launchers.
"""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent


class Server:
  """The process, and a way to ask it; a context manager."""

  def __init__(self, environment: dict[str, str]):
    """Starts it."""
    self._process = subprocess.Popen(
      [sys.executable, __file__],
      cwd=ROOT,
      # With it no launcher starts itself anew.
      env={'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1', **environment},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *exc_info):
    """Ends it."""
    self._process.communicate()

  def launch(
    self, name: str, *args: str, is_shallow: bool = False
  ) -> subprocess.CompletedProcess:
    """Runs a launcher to its end."""
    program = [name, *map(str, args)]
    asked = json.dumps([program, is_shallow])
    print(asked, file=self._process.stdin, flush=True)
    answer = json.loads(self._process.stdout.readline())
    return subprocess.CompletedProcess(program, *answer)


def serve():
  """Answers until nothing more is asked; in a child returns its program."""
  for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
      pid = os.fork()
      if not pid:
        for file, number in ((out, 1), (err, 2)):
          os.dup2(file.fileno(), number)
        return json.loads(line)
      code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
      written = [_text(out), _text(err)]
    print(json.dumps([code, *written]), flush=True)
  return None


def _text(file):
  file.seek(0)
  return file.read().decode()


if __name__ == '__main__':
  import flax.linen  # noqa: F401
  import jax  # noqa: F401
  import optax  # noqa: F401
  import orbax.checkpoint  # noqa: F401
  import scipy.stats  # noqa: F401
  import shallow
  import tensorflow_datasets  # noqa: F401

  sys.path[0] = str(ROOT)  # as with python -m
  from advspeech import experiment, sweep  # noqa: F401
  from advspeech.report import page  # noqa: F401

  asked = serve()
  if asked:
    program, is_shallow = asked
    if is_shallow:
      shallow.set_depths()
    sys.argv = program
    runpy.run_module(
      f'launch.{program[0]}', run_name='__main__', alter_sys=True
    )
