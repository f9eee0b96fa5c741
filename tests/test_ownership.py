"""Two programs, one folder: the second is told, the dead one's is taken."""

import errno
import json
import os
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from advspeech import errors, experiment, input_pipeline, ownership
from configs import quickstart

TASK = types.SimpleNamespace(classes=('female', 'male'))

HOLDER = """
import sys
from advspeech import ownership
with ownership.owned(sys.argv[1]):
  print('held', flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def holder_of():
  """Starts another program that holds a folder until it is killed."""
  processes = []

  def start(folder):
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
      [sys.executable, '-c', HOLDER, str(folder)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    processes.append(process)
    assert process.stdout.readline() == 'held\n'
    return process

  yield start
  for process in processes:
    process.kill()
    process.wait()


def attack_first(config, workdir):
  experiment.attack(experiment.Run.open(config, workdir))


def train_first(config, workdir):
  config.training.side_by_side = False
  experiment.train(experiment.Run.open(config, workdir))


def test_a_second_program_is_told_who_writes_and_a_dead_ones_place_is_free(
  tmp_path, holder_of
):
  holder = holder_of(tmp_path)
  with (
    pytest.raises(
      errors.InputError, match=rf'written by process {holder.pid} on \S+; wait'
    ),
    ownership.owned(str(tmp_path)),
  ):
    pass
  assert (tmp_path / ownership.FILE).exists()
  holder.kill()
  holder.wait()
  with ownership.owned(str(tmp_path)):
    found = json.loads((tmp_path / ownership.FILE).read_text())
    assert found['pid'] == os.getpid()
  assert not (tmp_path / ownership.FILE).exists()


@pytest.mark.parametrize(
  ('stage', 'part'),
  [(attack_first, 'attack'), (train_first, 'wavecnn-seed0')],
)
def test_every_stage_holds_what_it_writes(
  tmp_path, monkeypatch, holder_of, stage, part
):
  split = input_pipeline.Split(
    np.array(['a']),
    np.zeros((1, 640), np.int16),
    np.array([9]),
    np.zeros(1, np.int32),
  )
  data = types.SimpleNamespace(task=TASK, splits={'train': split})
  monkeypatch.setattr(experiment.Run, 'data', data)
  holder_of(tmp_path / part)
  with pytest.raises(errors.InputError, match=rf'{part} is being written by'):
    stage(quickstart.get_config(), str(tmp_path))


def elsewhere(path, **changes):
  """Leaves the file of a program on another machine."""
  record = {
    'host': 'node7',
    'pid': 1,
    'began': 5,
    'pid_namespace': 'another',
    'token': 'x',
    'beat': 3,
    **changes,
  }
  path.write_text(json.dumps(record))


def test_a_program_elsewhere_lives_while_it_beats(tmp_path, monkeypatch):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.01)
  path = tmp_path / ownership.FILE
  elsewhere(path)
  ended = threading.Event()

  def beat():
    number = 3
    while not ended.wait(0.005):
      number += 1
      elsewhere(tmp_path / 'next', beat=number)
      os.replace(tmp_path / 'next', path)

  thread = threading.Thread(target=beat)
  thread.start()
  try:
    with (
      pytest.raises(errors.InputError, match='written by process 1 on node7;'),
      ownership.owned(str(tmp_path)),
    ):
      pass
  finally:
    ended.set()
    thread.join()


@pytest.mark.parametrize('left', ['{"token": "x"', None])
def test_who_does_not_beat_is_dead(tmp_path, monkeypatch, caplog, left):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.01)
  monkeypatch.setattr(ownership, 'DEAD_AFTER_S', 0.05)
  path = tmp_path / ownership.FILE
  if left:
    path.write_text(left)
  else:
    elsewhere(path)
  with ownership.owned(str(tmp_path)):
    assert json.loads(path.read_text())['pid'] == os.getpid()
  who = 'a program that is starting' if left else 'process 1 on node7'
  assert f'is held by {who}' in caplog.text


def test_a_process_number_used_again_is_another_process(tmp_path):
  record = {**ownership.this_program(), 'token': 'x', 'beat': 0}
  record['began'] -= 1
  (tmp_path / ownership.FILE).write_text(json.dumps(record))
  with ownership.owned(str(tmp_path)):
    found = json.loads((tmp_path / ownership.FILE).read_text())
    assert found['token'] != 'x'


def test_beats_go_on_and_end(tmp_path, monkeypatch):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.01)
  path = tmp_path / ownership.FILE
  wrote = threading.Event()
  write = ownership.storage.write_json

  def noticed(*args):
    write(*args)
    wrote.set()

  monkeypatch.setattr(ownership.storage, 'write_json', noticed)
  with ownership.owned(str(tmp_path)):
    assert wrote.wait(60)
    assert json.loads(path.read_text())['beat'] > 0
  assert not path.exists()


def test_beats_go_on_when_a_full_disk_has_room_again(tmp_path, monkeypatch):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.01)
  write, tries, wrote = ownership.storage.write_json, [], threading.Event()

  def fail_first(*args):
    tries.append(args)
    if len(tries) == 1:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    write(*args)
    wrote.set()

  monkeypatch.setattr(ownership.storage, 'write_json', fail_first)
  with ownership.owned(str(tmp_path)):
    assert wrote.wait(60)


@pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnhandledThreadExceptionWarning'
)
def test_who_was_taken_over_ends(tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.01)
  codes, ended = [], threading.Event()

  def end(code):
    codes.append(code)
    ended.set()
    raise SystemExit

  monkeypatch.setattr(ownership.os, '_exit', end)
  with ownership.owned(str(tmp_path)):
    elsewhere(tmp_path / 'other')
    os.replace(tmp_path / 'other', tmp_path / ownership.FILE)
    assert ended.wait(60)
  assert codes[0] == ownership.EXIT_LOST
  assert 'taken over by process 1 on node7' in caplog.text
  left = json.loads((tmp_path / ownership.FILE).read_text())
  assert left['host'] == 'node7'
