"""What libraries write, into a file beside the console.

Several processes that work together are ended by JAX from C++ when one of them
is gone, with screens of traces and no more of Python's. They go into a file,
and a shell that outlives the process says what happened and where they are.
"""

import atexit
import contextlib
import faulthandler
import os
import subprocess
import sys
import tempfile
import traceback

from launch import ending

# The open end of a pipe, on which the shell waits, and the file.
_pipe: list[int] = []
_path: list[str] = []
# It reads a line if the process ends by itself.
_WATCH = 'read -r _ || printf "%s\\n" "$0" >&2'
AGAIN = 'start all of them again with the same command to go on'


def begin() -> None:
  """Takes what libraries write to the standard error off the console.

  What Python writes there, by `print` and logging, still appears.
  """
  file, path = tempfile.mkstemp(prefix='advspeech-', suffix='.log')
  read, write = os.pipe()
  sentence = (
    'error: this process was killed, or ended by a library, as it is when '
    f'another one that it waited for is gone; {AGAIN}; {path} holds what '
    'libraries wrote'
  )
  subprocess.Popen(
    ['/bin/sh', '-c', _WATCH, sentence],
    stdin=read,
    stdout=subprocess.DEVNULL,
    stderr=sys.stderr.fileno(),
    # Ctrl-C is for this process.
    start_new_session=True,
  )
  os.close(read)
  # Python's own streams have other descriptors, see `console.never_fail`.
  os.dup2(file, 2)
  faulthandler.enable(file)
  _pipe.append(write)
  _path.append(path)
  atexit.register(end)
  ending.clean_up(end)


def tell_of_failure(of_others: bool) -> None:
  """Prints what was raised and is being handled, and what to do.

  Args:
    of_others: Whether it is about another process that is gone: then it goes
      into the file.
  """
  if of_others:
    os.write(2, traceback.format_exc().encode())
    reason = 'another process that this one waited for is gone'
  else:
    traceback.print_exc()
    reason = 'this process failed, or another one that it waited for'
  print(
    f'error: {reason}; {AGAIN}; {_path[0]} holds what libraries wrote',
    file=sys.stderr,
  )
  end(keep=True)


def end(*, keep: bool = False) -> None:
  """Says to the shell that this process ends by itself.

  Args:
    keep: Whether the file is of use.
  """
  while _pipe:
    number = _pipe.pop()
    with contextlib.suppress(OSError):
      os.write(number, b'\n')
      os.close(number)
    if not keep:
      with contextlib.suppress(OSError):
        os.remove(_path[0])
