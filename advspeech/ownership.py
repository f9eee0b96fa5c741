"""One program at a time writes a folder: the one whose name is in it.

A lock of the file system would do on one machine; what several machines share
(NFS, Lustre, a bucket) often has none that works. So the owner's name lies in
the folder and beats: whoever finds it waits to see whether it does. No clocks
are compared.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from typing import Any

from advspeech import errors, parallel, preemption, storage

logger = logging.getLogger(__name__)

FILE = '.owner.json'
# Seconds between two beats, and how long none is waited for. A file system
# shared by machines may show a change some seconds late.
BEAT_S, DEAD_AFTER_S = 5.0, 30.0
EXIT_LOST = 1


@contextlib.contextmanager
def owned(folder: str) -> Iterator[None]:
  """Holds a folder for this program while the context lasts.

  An owner that was killed on this machine is found out at once, one elsewhere
  after `DEAD_AFTER_S` without a beat; the folder is then taken over.

  On process 0 alone, where there are several; the others wait for it.

  Args:
    folder: There already.

  Raises:
    errors.InputError: If another program holds it.
  """
  beats = _Beats(os.path.join(folder, FILE))
  parallel.on_lead(beats.start, f'{folder} belongs to this program')
  try:
    yield
  finally:
    beats.stop()


class _Beats:
  """The owner's file, written again and again from a thread."""

  def __init__(self, path):
    self._path = path
    self._record = {**this_program(), 'token': uuid.uuid4().hex}
    self._ended = threading.Event()
    self._thread = None

  def start(self):
    """Takes the folder and begins to beat."""
    while not self._taken():
      _await_death(self._path)
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._thread.start()

  def _taken(self):
    """Creates the file; returns whether nobody else had."""
    return storage.create(self._path, json.dumps({**self._record, 'beat': 0}))

  def _beat(self):
    number = 0
    while not self._ended.wait(BEAT_S):
      number += 1
      found = _read(self._path)
      if found and found['token'] != self._record['token']:
        logger.error(
          '%s was taken over by %s: this program gave no sign of life for '
          '%.0f s, and ends without saving',
          os.path.dirname(self._path),
          _name(found),
          DEAD_AFTER_S,
        )
        os._exit(EXIT_LOST)
      # A full disk must not end the beats, nor a bucket that is out of reach
      # for a moment: the next one may get through.
      with contextlib.suppress(OSError):
        storage.write_json(self._path, {**self._record, 'beat': number})

  def stop(self):
    """Ends the beats and lets go of the folder."""
    if self._thread is None:
      return
    self._ended.set()
    self._thread.join()
    found = _read(self._path)
    if found and found['token'] == self._record['token']:
      storage.remove(self._path)


def this_program() -> dict[str, Any]:
  """Returns what tells this program from others, here and elsewhere."""
  return {
    'host': socket.gethostname(),
    'pid': os.getpid(),
    'began': _began(os.getpid()),
    # Containers of one host name each have a process 1.
    'pid_namespace': _pid_namespace(),
  }


def _began(pid):
  """Returns when a process began, in ticks since the boot; None if unknown."""
  try:
    with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
      return int(file.read().rpartition(')')[2].split()[19])
  except (OSError, ValueError, IndexError):
    return None


def _pid_namespace():
  try:
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as file:
      return f'{file.read().strip()} {os.readlink("/proc/self/ns/pid")}'
  except OSError:
    return None


def _read(path):
  """Returns who owns a folder; None if nobody does, or is about to."""
  try:
    with storage.opened(path) as file:
      return json.load(file)
  except (OSError, ValueError):
    return None


def _name(record):
  return f'process {record["pid"]} on {record["host"]}'


def _await_death(path: str) -> None:
  """Removes the file of an owner that is dead.

  Raises:
    errors.InputError: If the owner lives.
  """
  folder, first = os.path.dirname(path), _read(path)
  lives = _lives(first) if first else None
  if lives is None:
    logger.warning(
      '%s is held by %s; waiting up to %.0f s for a sign of life',
      folder,
      _name(first) if first else 'a program that is starting or was killed',
      DEAD_AFTER_S,
    )
    found, waited_s = first, 0.0
    while found == first and waited_s < DEAD_AFTER_S:
      preemption.sleep(BEAT_S)
      waited_s += BEAT_S
      found = _read(path)
    lives, first = found is not None and found != first, found
  if lives:
    raise errors.InputError(
      f'{folder} is being written by {_name(first)}; wait for it, stop it, or '
      'use another --workdir'
    )
  # Not what somebody else who waited has put in its place.
  if _read(path) == first:
    storage.remove(path)


def _lives(record):
  """Returns whether a process of this machine lives; None if it is not here."""
  ours = this_program()
  if record['pid_namespace'] is None or (
    record['pid_namespace'] != ours['pid_namespace']
  ):
    return None
  began = _began(record['pid'])
  return began is not None and began == record['began']
