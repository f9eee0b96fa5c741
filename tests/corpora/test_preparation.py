"""Preparation: the same bytes each time, whole or not there, from anywhere."""

import errno
import fcntl
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing

import fsspec
import numpy as np
import pytest
import stand_ins
from etils.epath import backend
from fsspec.implementations import memory
from fsspec.registry import known_implementations
from tensorflow_datasets.core import shuffle

from advspeech import audio, corpora, errors, input_pipeline, tasks
from advspeech.corpora import builder, shards, stored

ROOT = pathlib.Path(__file__).parent.parent.parent
NUM_CLIPS = 40
# Prepares one data set, then another so slowly that it can be killed.
PROGRAM = """
import sys, time
from advspeech import audio, corpora
folder, whole, killed, delay_s = sys.argv[1:]
corpora.prepare('folder', folder=folder, data_dir=whole)
load = audio.load
def slowly(*args):
  time.sleep(float(delay_s))
  return load(*args)
audio.load = slowly
print('ready', flush=True)
corpora.prepare('folder', folder=folder, data_dir=killed)
"""


@pytest.fixture
def folder(tmp_path):
  for i in range(NUM_CLIPS):
    name = f'{"ab"[i % 2]}/{i}'
    stand_ins.write(tmp_path / 'folder' / f'{name}.wav', name)
  return tmp_path / 'folder'


def start(folder, tmp_path, delay_s):
  """Returns a process that has begun with its second data set."""
  process = subprocess.Popen(
    [
      sys.executable,
      *('-c', PROGRAM, folder, tmp_path / 'whole', tmp_path / 'killed'),
      str(delay_s),
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  assert process.stdout.readline() == 'ready\n'
  return process


def contents(data_dir):
  """Returns the bytes of every file of a data set."""
  found = {
    str(path.relative_to(data_dir)): path.read_bytes()
    for path in data_dir.rglob('*')
    if path.is_file() and path.name != '.lock'
  }
  assert len(found) >= 4
  return found


def left_over(data_dir):
  return list((data_dir / 'folder').glob('incomplete.*'))


def assert_finished_by_starting_again(folder, tmp_path):
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'killed')}
  corpora.prepare('folder', **where)
  assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')
  assert not left_over(tmp_path / 'killed')


def test_a_killed_preparation_is_no_data_set_and_ends_with_the_same_bytes(
  folder, tmp_path
):
  process = start(folder, tmp_path, 0.5)
  while not left_over(tmp_path / 'killed'):
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert left_over(tmp_path / 'killed')
  with pytest.raises(errors.InputError, match='holds no prepared folder corp'):
    corpora.read('folder', num_samples=10, data_dir=str(tmp_path / 'killed'))
  # By another process than the one that wrote `whole`.
  assert_finished_by_starting_again(folder, tmp_path)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(folder, tmp_path):
  for _ in range(10):
    process = start(folder, tmp_path, 0.01)
    time.sleep(random.uniform(0, 0.6))
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert_finished_by_starting_again(folder, tmp_path)


def test_two_at_a_time_do_not_disturb_each_other(folder, tmp_path):
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}
  paths = []
  threads = [
    threading.Thread(
      target=lambda: paths.append(corpora.prepare('folder', **where))
    )
    for _ in range(3)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(paths) == 3
  assert len(corpora.read('folder', num_samples=10, **where).ids) == NUM_CLIPS


@pytest.fixture
def where(folder, tmp_path):
  return {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}


def replace(path, name):
  """Puts another recording of the same size in a file's place, later."""
  before = path.stat()
  stand_ins.write(path, name)
  assert path.stat().st_size == before.st_size
  os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def test_a_replaced_recording_of_the_same_size_is_read_anew(
  folder, tmp_path, where
):
  corpora.prepare('folder', **where)
  replace(folder / 'a' / '0.wav', 'another')
  with pytest.raises(
    errors.InputError, match=r'replaced or copied since .*run'
  ):
    corpora.read('folder', num_samples=1600, **where)
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=1600, **where)
  (row,) = np.flatnonzero(corpus.ids == 'a__0')
  np.testing.assert_array_equal(corpus.pcm[[row]][0], stand_ins.tone('another'))
  other = {**where, 'data_dir': str(tmp_path / 'other')}
  corpora.prepare('folder', **other)
  assert contents(tmp_path / 'data') == contents(tmp_path / 'other')


def test_a_copy_is_prepared_again_and_a_moved_folder_is_not(
  folder, tmp_path, where
):
  (folder / 'a' / 'bad.wav').write_bytes(b'RIFF')
  stand_ins.write(folder / 'lost.wav', 'lost')
  corpora.prepare('folder', skip_bad=True, **where)
  (record,) = (tmp_path / 'data').rglob('preparation.json')
  first = record.read_bytes()
  clips = [p.read_bytes() for p in record.parent.glob('*array_record*')]
  moved = {**where, 'folder': str(tmp_path / 'moved')}
  folder.rename(tmp_path / 'moved')
  corpora.prepare('folder', skip_bad=True, **moved)
  assert record.read_bytes() == first
  copied = {**where, 'folder': str(tmp_path / 'copied')}
  shutil.copytree(
    tmp_path / 'moved', tmp_path / 'copied', copy_function=shutil.copyfile
  )
  corpora.prepare('folder', skip_bad=True, **copied)
  assert json.loads(record.read_bytes())['folder'] == copied['folder']
  assert clips == [p.read_bytes() for p in record.parent.glob('*array_record*')]
  assert not left_over(tmp_path / 'data')


def test_a_recording_of_the_same_name_elsewhere_is_another(folder, where):
  stand_ins.write(folder / 'b' / '0.wav', 'other')
  digests = set()
  for sub in 'ab':
    (folder / 'manifest.csv').write_text(f'path,label,id\n{sub}/0.wav,x,id\n')
    digests.add(
      corpora.Source('folder', **where).builder().source()['source_digest']
    )
  assert len(digests) == 2


def test_the_record_has_a_hash_of_the_ids(where):
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=10, **where)
  names = sorted(f'{"ab"[i % 2]}__{i}' for i in range(NUM_CLIPS))
  digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()
  assert corpus.metadata['ids_sha256'] == digest
  assert corpus.metadata['num_clips'] == NUM_CLIPS


def test_a_large_corpus_is_written_as_it_comes_in_several_files(
  where, tmp_path, monkeypatch
):
  corpora.prepare('folder', **where)
  expected = corpora.read('folder', num_samples=2000, **where)
  # Four clips of 1,600 samples; TFDS's own writer holds so many bytes in
  # memory and asks for TensorFlow where there are more.
  monkeypatch.setattr(shards, 'FILE_BYTES', 12_000)
  monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 10_000)
  where['data_dir'] = str(tmp_path / 'several')
  path = pathlib.Path(corpora.prepare('folder', **where))
  names = [f'folder-clips.array_record-{i:05d}-of-00010' for i in range(10)]
  assert sorted(p.name for p in path.glob('*array_record*')) == names
  found = corpora.read('folder', num_samples=2000, **where)
  np.testing.assert_array_equal(found.ids, expected.ids)
  np.testing.assert_array_equal(found.pcm[:], expected.pcm[:])


@pytest.fixture
def rows_read(where, monkeypatch):
  """Rows of the data set that were read, as they are read."""
  source = type(
    corpora.Source('folder', **where).builder().as_data_source(builder.SPLIT)
  )
  rows, get = [], source.__getitem__

  def noted(self, row):
    rows.append(row)
    return get(self, row)

  monkeypatch.setattr(source, '__getitem__', noted)
  return rows


def test_no_clip_is_read_but_those_of_the_task(folder, where, request):
  for i in range(NUM_CLIPS):
    stand_ins.write(folder / 'c' / f'{i}.wav', f'c/{i}')
  stand_ins.write(folder / 'a' / 'long.wav', 'long', num_samples=5000)
  corpora.prepare('folder', **where)
  rows = request.getfixturevalue('rows_read')
  corpus = corpora.read('folder', num_samples=2000, pad='front', **where)
  assert set(corpus.num_samples) == {1600, 2000}
  columns = {key: getattr(corpus, key) for key in tasks.GROUPS}
  task = tasks.select('label', ('a', 'b'), **columns)
  splits = input_pipeline.make_splits(corpus, task, 'stratified', 0)
  num_bytes = (NUM_CLIPS + 1) * 2000 * 2
  on_disk = input_pipeline.read(splits, num_bytes - 1)
  assert not rows
  in_memory = input_pipeline.read(splits, num_bytes)
  assert len(rows) == len(set(rows)) == NUM_CLIPS + 1
  for name, split in in_memory.items():
    assert isinstance(split.pcm, np.ndarray)
    assert isinstance(on_disk[name].pcm, stored.StoredClips)
    assert on_disk[name].pcm.nbytes == split.pcm.nbytes
    np.testing.assert_array_equal(on_disk[name].pcm[:], split.pcm)
    for id_, pcm, start in zip(split.ids, split.pcm, split.starts, strict=True):
      if id_ != 'a__long':
        assert start == 400
        np.testing.assert_array_equal(
          pcm[400:], stand_ins.tone(id_.replace('__', '/'))
        )


@pytest.mark.parametrize(
  ('name', 'num_bytes'),
  [
    ('preparation.json', 300),
    ('preparation.json', 0),
    ('clips.npz', 300),
    ('clips.npz', 0),
    ('folder-clips.array_record-00000-of-00001', 65_536),
    ('folder-clips.array_record-00000-of-00001', 100),
  ],
)
def test_a_damaged_data_set_is_named_and_can_be_made_again(
  where, name, num_bytes
):
  path = pathlib.Path(corpora.prepare('folder', **where))
  data = (path / name).read_bytes()
  (path / name).write_bytes(data[:num_bytes])
  with pytest.raises(
    errors.InputError, match=rf'the data set {path} is damaged .*; remove it'
  ):
    corpora.read('folder', num_samples=10, **where).pcm[:]
  shutil.rmtree(path)
  corpora.prepare('folder', **where)
  assert (path / name).read_bytes() == data


def test_a_data_set_that_cannot_be_read_now_is_not_called_damaged(
  where, monkeypatch
):
  corpora.prepare('folder', **where)

  def load(file, **_):
    raise PermissionError(errno.EACCES, 'Permission denied', file.name)

  monkeypatch.setattr(np, 'load', load)
  with pytest.raises(PermissionError, match=r'clips\.npz'):
    corpora.read('folder', num_samples=10, **where)


def test_without_its_record_a_data_set_is_made_again(where):
  path = pathlib.Path(corpora.prepare('folder', **where))
  data = (path / 'preparation.json').read_bytes()
  (path / 'preparation.json').unlink()
  corpora.prepare('folder', **where)
  assert (path / 'preparation.json').read_bytes() == data


def test_a_place_where_nothing_can_be_written_is_named(tmp_path, where):
  (tmp_path / 'file').write_text('')
  for place in (f'{tmp_path}/file/data', '/proc/none/data'):
    with pytest.raises(
      errors.InputError, match=rf'{place}/folder cannot be written to \('
    ):
      corpora.prepare('folder', **{**where, 'data_dir': place})


def test_without_locks_it_goes_on_and_removes_nothing_of_others(
  tmp_path, where, monkeypatch, caplog
):
  def flock(*_):
    raise OSError(errno.ENOSYS, 'Function not implemented')

  monkeypatch.setattr(fcntl, 'flock', flock)
  work = tmp_path / 'data' / 'folder' / 'incomplete.by-another'
  work.mkdir(parents=True)
  corpora.prepare('folder', **where)
  assert len(corpora.read('folder', num_samples=10, **where).ids) == NUM_CLIPS
  assert work.is_dir()
  (said,) = (m for m in caplog.messages if 'without locks' in m)
  assert 'Function not implemented' in said


def test_a_file_that_looks_like_a_left_over_is_left_alone(tmp_path, where):
  stray = tmp_path / 'data' / 'folder' / 'incomplete.txt'
  stray.parent.mkdir(parents=True)
  stray.write_text('a note')
  corpora.prepare('folder', **where)
  assert stray.read_text() == 'a note'


@pytest.mark.parametrize(
  ('folder', 'package'), [('gs://b/x', 'gcsfs'), ('s3://b/x', 's3fs')]
)
def test_a_bucket_without_its_package_is_told_which(
  folder, package, tmp_path, monkeypatch
):
  # Not sys.modules: where the package is there and a test before has used it,
  # fsspec has its class already.
  def missing(protocol, **_):
    raise ImportError(known_implementations[protocol]['err'])

  monkeypatch.setattr(fsspec, 'filesystem', missing)
  backend.fsspec_backend._get_filesystem.cache_clear()
  with pytest.raises(
    errors.InputError,
    match=rf'{folder} cannot be read without another .*nstall {package} ',
  ):
    corpora.prepare('folder', folder=folder, data_dir=str(tmp_path / 'data'))


@pytest.fixture
def bucket(monkeypatch):
  """S3 as fsspec sees it, in memory."""

  class Bucket(memory.MemoryFileSystem):
    protocol = 's3'
    store: typing.ClassVar = {}
    pseudo_dirs: typing.ClassVar = ['']

    @classmethod
    def _strip_protocol(cls, path):
      return memory.MemoryFileSystem._strip_protocol(path.removeprefix('s3:/'))

  files = Bucket()
  monkeypatch.setattr(fsspec, 'filesystem', lambda name: files)
  backend.fsspec_backend._get_filesystem.cache_clear()
  yield files
  backend.fsspec_backend._get_filesystem.cache_clear()


def test_recordings_are_read_from_a_bucket(bucket, folder, tmp_path):
  for path in folder.rglob('*.wav'):
    bucket.pipe(f's3://speech/{path.relative_to(folder)}', path.read_bytes())
  where = {'folder': 's3://speech', 'data_dir': str(tmp_path / 'data')}
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=1600, **where)
  assert corpus.metadata['folder'] == 's3://speech'
  assert len(corpus.ids) == NUM_CLIPS
  for id_, pcm in zip(corpus.ids, corpus.pcm[:], strict=True):
    np.testing.assert_array_equal(pcm, stand_ins.tone(id_.replace('__', '/')))


@pytest.mark.parametrize('of', ['data_dir', 'environment'])
def test_a_data_set_at_another_url_than_a_buckets_is_refused(
  folder, monkeypatch, of
):
  where = {'folder': str(folder)}
  if of == 'data_dir':
    where[of] = 'az://b'
  else:
    monkeypatch.setenv('TFDS_DATA_DIR', 'az://b')
  with pytest.raises(errors.InputError, match=r'a mounted file system.*az://b'):
    corpora.prepare('folder', **where)


@pytest.mark.parametrize('pad', audio.PADS)
@pytest.mark.parametrize('cut', audio.CUTS)
@pytest.mark.parametrize('normalize', audio.NORMALIZATIONS)
def test_clips_are_read_as_asked_in_memory_and_from_disk(
  pad, cut, normalize, tmp_path
):
  rng = np.random.default_rng(0)
  lengths = [1, 5, 8, 9, 20]
  source = [
    {'pcm': rng.integers(-300, 300, n).astype(np.int16)} for n in lengths
  ]
  shape = audio.ClipShape(8, pad, cut, normalize)
  clips = stored.StoredClips(source, shape, np.arange(5))[:]
  for example, length, clip in zip(source, lengths, clips, strict=True):
    pcm = example['pcm']
    if normalize == 'peak':
      pcm = np.rint(pcm * (32767 / np.abs(pcm).max()))
    start, count = shape.span(length)
    first = (length - count) // 2 if cut == 'center' else 0
    np.testing.assert_array_equal(
      clip[start : start + count], pcm[first : first + count]
    )
    assert not clip[:start].any()
    assert not clip[start + count :].any()
    before = {'end': 0, 'center': (8 - count) // 2, 'front': 8 - count}
    assert start == before[pad]
  np.testing.assert_array_equal(
    stored.StoredClips(source, shape, np.arange(5)).subset(np.array([3, 1]))[
      np.array([1, 0, 1])
    ],
    clips[[1, 3, 1]],
  )
