"""What libraries write beside the console, and the sentence at a crash."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from advspeech import processes

ROOT = pathlib.Path(__file__).parent.parent
PROGRAM = """
import os, sys, time
from launch import aside, console
console.never_fail()
aside.begin()
print('ours', file=sys.stderr)
os.write(2, b'a trace of C++\\n')
{ending}
"""
SENTENCE = (
  r'error: (this process was killed, or ended by a library,|another process '
  r'that this one waited for|this process failed, or another one) .*; start '
  r'all of them again with the same command to go on; (\S*\.log) holds what '
  'libraries wrote\n'
)


def run(ending, tmp_path):
  return subprocess.run(
    [sys.executable, '-c', PROGRAM.format(ending=ending)],
    cwd=ROOT,
    env={**os.environ, 'TMPDIR': str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.parametrize(
  ('ending', 'in_file'),
  [
    ('os.abort()', 'Fatal Python error: Aborted'),
    ('os.kill(os.getpid(), 9)', ''),
    (
      'try: raise ValueError("Gloo: connection closed")\n'
      'except ValueError: aside.tell_of_failure(True)\nos._exit(1)',
      'Gloo: connection closed',
    ),
  ],
)
def test_what_libraries_say_at_a_crash_is_in_a_file_that_is_named(
  tmp_path, ending, in_file
):
  done = run(ending, tmp_path)
  assert done.returncode != 0
  found = re.fullmatch(f'ours\n{SENTENCE}', done.stderr)
  assert found, done.stderr
  said = pathlib.Path(found[2]).read_text()
  assert said.startswith('a trace of C++\n')
  assert in_file in said


def test_a_failure_of_its_own_has_its_traceback_on_the_console(tmp_path):
  done = run(
    'try: raise ValueError("no such layer")\n'
    'except ValueError: aside.tell_of_failure(False)\nos._exit(1)',
    tmp_path,
  )
  found = re.fullmatch(f'ours\nTraceback.*{SENTENCE}', done.stderr, re.DOTALL)
  assert found, done.stderr
  assert 'ValueError: no such layer' in done.stderr


@pytest.mark.parametrize(
  'ending', ['', 'sys.exit(2)', 'aside.end(); os._exit(75)']
)
def test_who_ends_by_itself_leaves_nothing(tmp_path, ending):
  assert run(ending, tmp_path).stderr == 'ours\n'
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('error', 'expected'),
  [
    (ValueError('UNAVAILABLE: [Gloo] Connection closed by peer'), True),
    (RuntimeError('DEADLINE_EXCEEDED: Barrier timed out'), True),
    (ValueError('this layer is unavailable on TPUs'), False),
    (ValueError('the barrier loss must be positive'), False),
    (ValueError('operands could not be broadcast together'), False),
    (OSError('the disk of this machine is full'), False),
  ],
)
def test_failures_of_others_are_told_from_those_of_this_process(
  error, expected
):
  outer = RuntimeError('a save failed')
  outer.__cause__ = error
  assert processes.is_of_others(outer) == expected
