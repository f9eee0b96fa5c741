"""What programs say: results, errors in a sentence, help; it never raises."""

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from absl import flags

EXIT_BAD_INPUT = 2
_HELP = ('-?', '-h', '-help', '--help', '--helpshort', '--helpfull')


class _Unfailing(io.TextIOWrapper):
  """A console that may go away, fill up or know no umlauts.

  A terminal is closed, a pipe's reader ends, a log's disk is full: work that
  goes on must not fail for it.
  """

  def write(self, text: str) -> int:
    """Writes text, or drops it."""
    self._try(super().write, text)
    return len(text)

  def flush(self) -> None:
    """Flushes what was written, or drops it."""
    self._try(super().flush)

  def _try(self, call, *args):
    try:
      call(*args)
    except OSError as e:
      # What is buffered goes there too, instead of failing again at the end.
      null = os.open(os.devnull, os.O_WRONLY)
      os.dup2(null, self.fileno())
      os.close(null)
      if self is sys.stdout and e.errno != errno.EPIPE:
        print(f'the output cannot be written ({e.strerror})', file=sys.stderr)


def never_fail() -> None:
  """Makes print and logging safe on any console, or none.

  They write through descriptors of their own: what libraries write to 1 and 2
  may go elsewhere, see `aside`.
  """
  for name in ('stdout', 'stderr'):
    stream: TextIO | None = getattr(sys, name)
    unfailing = _Unfailing(
      open(os.dup(stream.fileno()) if stream else os.devnull, 'wb'),  # noqa: SIM115
      encoding=stream.encoding if stream else 'utf-8',
      errors='backslashreplace',
      line_buffering=(
        stream.line_buffering or stream.write_through if stream else True
      ),
    )
    setattr(sys, name, unfailing)


def harmless(text: str) -> str:
  """Returns text in which names cannot command the terminal.

  Classes and files may be named with escape codes; only line breaks and tabs
  are left of what is not printed.

  Args:
    text: Of any lines.
  """
  return ''.join(
    c if c.isprintable() or c in '\n\t' else c.encode('unicode_escape').decode()
    for c in text
  )


class HarmlessFormatter(logging.Formatter):
  """Formats log records as lines without escape codes."""

  def format(self, record: logging.LogRecord) -> str:
    """Returns the record's line."""
    return harmless(super().format(record))


def fail(sentence: str, code: int | None = EXIT_BAD_INPUT) -> None:
  """Prints an error and exits, unless the code is None."""
  with contextlib.suppress(OSError):
    # One line, whatever line breaks a file's name has.
    line = harmless(sentence).replace('\n', '\\n')
    print('error:', line, file=sys.stderr)
  if code is not None:
    sys.exit(code)


def wants_help(argv: Sequence[str]) -> bool:
  """Returns whether help is asked for, before a `--` if there is one."""
  own = [*argv[1:], '--']
  return any(arg in _HELP for arg in own[: own.index('--')])


def print_help(*modules: str) -> None:
  """Prints the program's docstring and the flags of some modules, and exits.

  Args:
    *modules: Names of modules that define flags; '__main__' comes first.
  """
  print((sys.modules['__main__'].__doc__ or '').strip())
  for module in (sys.argv[0], *modules):
    print(flags.FLAGS.module_help(module))
  sys.exit(0)
