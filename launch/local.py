"""Runs a launcher as several processes of this machine.

  python -m launch.local --num_processes=2 -- launch.train --config=...

For trials of what a cluster does, and for tests: JAX's own runtime joins the
processes (gloo on CPUs). Process 0 speaks on this console, the others in
`<output_dir>/process-<i>.log`. When one fails, or this is stopped, the others
are told with SIGTERM and, after `--grace_s`, killed; on Linux they are told too
when this is killed.
"""

import collections
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from advspeech import preemption
from launch import console, ending, path_flags

_NUM_PROCESSES = flags.DEFINE_integer(
  'num_processes', 2, 'How many processes.', lower_bound=1
)
_DEVICES = flags.DEFINE_integer(
  'devices_per_process',
  None,
  'CPU devices that each process pretends to have.',
  lower_bound=1,
)
_GRACE_S = flags.DEFINE_float(
  'grace_s', 60.0, 'Seconds from SIGTERM to SIGKILL.', lower_bound=0
)
_OUTPUT_DIR = path_flags.define(
  'output_dir',
  'Where processes but the first write; a new folder if none.',
  in_bucket=False,
)
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Only print what would run.')
_POLL_S = 0.1


def main(argv):
  """Starts the processes and waits for them."""
  if len(argv) < 2:
    console.fail('no launcher was named; put it after --: -- launch.train')
  address = f'127.0.0.1:{_free_port()}'
  commands = [
    [
      sys.executable,
      '-m',
      *argv[1:],
      f'--coordinator_address={address}',
      f'--num_processes={_NUM_PROCESSES.value}',
      f'--process_id={i}',
    ]
    for i in range(_NUM_PROCESSES.value)
  ]
  if _DRY_RUN.value:
    print('\n'.join(shlex.join(command) for command in commands))
    return
  # Who kills this process stops the others.
  environment = {**os.environ, ending.PARENT: str(os.getpid())}
  if _DEVICES.value:
    environment['JAX_PLATFORMS'] = 'cpu'
    environment['XLA_FLAGS'] = (
      f'{environment.get("XLA_FLAGS", "")} '
      f'--xla_force_host_platform_device_count={_DEVICES.value}'
    )
  folder = _OUTPUT_DIR.value or tempfile.mkdtemp(prefix='advspeech-')
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError as e:
    console.fail(f'--output_dir={folder} cannot be made ({e.strerror})')
  # Its end is that of the processes.
  with preemption.unsaved():
    ending.at_once(_run(commands, environment, folder))


def _run(commands, environment, folder):
  """Starts the processes; returns the exit code when all have ended."""
  print(f'processes 1 and up write to {folder}', file=sys.stderr)
  processes = []
  for i, command in enumerate(commands):
    log = None
    if i:
      log = open(os.path.join(folder, f'process-{i}.log'), 'ab')  # noqa: SIM115
    # A session of its own: Ctrl-C reaches them through this process alone.
    processes.append(
      subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
      )
    )
  return _wait(processes, folder)


def _free_port():
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def _wait(processes, folder):
  """Returns the exit code when all have ended; the first failure's if any."""
  failed, deadline = None, None
  while any(p.poll() is None for p in processes):
    time.sleep(_POLL_S)
    for i, process in enumerate(processes):
      if failed is None and process.poll():
        failed = i
    if deadline is None and (preemption.came() or failed is not None):
      deadline = time.monotonic() + _GRACE_S.value
      for process in processes:
        if process.poll() is None:
          process.send_signal(signal.SIGTERM)
    if deadline is not None and time.monotonic() > deadline:
      for process in processes:
        if process.poll() is None:
          process.kill()
  codes = [p.wait() for p in processes]
  if preemption.came():
    return _code_of_stopped(codes, preemption.came())
  first = next((c for c in (codes[failed or 0], *codes) if c), 0)
  if failed is not None:
    log = os.path.join(folder, f'process-{failed}.log')
    where = _where(log) if failed else ''
    print(f'error: process {failed} ended with {first}{where}', file=sys.stderr)
  return _shell_code(first)


def _where(log):
  """Returns the place of a log and its last line, which says why."""
  with open(log, encoding='utf-8', errors='replace') as file:
    last = collections.deque(filter(str.strip, file), 1)
  return f'; see {log}' + (f', which ends: {last[0].strip()}' if last else '')


def _code_of_stopped(codes, number):
  """Returns the exit code of processes that were asked to stop by a signal."""
  # SIGTERM ends a process that Python is still starting up in.
  stopped = (ending.EXIT_STOPPED, -signal.SIGTERM)
  if fault := next((c for c in codes if c and c not in stopped), 0):
    return _shell_code(fault)
  if not any(codes):
    return 0
  interrupted = number == signal.SIGINT
  return ending.EXIT_INTERRUPTED if interrupted else ending.EXIT_STOPPED


def _shell_code(code):
  """Returns a process's code as a shell reports it: 128 + a signal's number."""
  return code if code >= 0 else 128 - code


def _parse_flags(argv):
  try:
    return flags.FLAGS(argv)
  except flags.Error as e:
    console.fail(str(e))


if __name__ == '__main__':
  console.never_fail()
  ending.prepare()
  if console.wants_help(sys.argv):
    console.print_help()
  app.run(main, flags_parser=_parse_flags)
