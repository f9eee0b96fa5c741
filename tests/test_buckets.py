"""A run in a bucket is the run on disk, killed and resumed; see bucket_servers.

gcsfs, s3fs and two emulators on loopback stand for the clouds.
"""

import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import bucket_servers
import devices
import forked
import fsspec
import numpy as np
import pytest
import soundfile
import tiny

pytest.importorskip('gcp_storage_emulator')
pytest.importorskip('moto')
pytest.importorskip('gcsfs')
pytest.importorskip('s3fs')

from advspeech import (
  audio,
  buckets,
  checkpoint,
  corpora,
  errors,
  ownership,
  storage,
)
from advspeech.training import log

# Servers of two clouds, started and stopped.
pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
SCHEMES = ('gs', 's3')


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  """What a program needs to find both buckets; it is this one's too."""
  with (
    bucket_servers.google() as google,
    bucket_servers.amazon() as amazon,
    pytest.MonkeyPatch.context() as patch,
  ):
    caches = str(tmp_path_factory.mktemp('caches'))
    found = {**google, **amazon, 'XDG_CACHE_HOME': caches}
    for name, value in found.items():
      patch.setenv(name, value)
    yield found


@pytest.fixture(params=SCHEMES)
def bucket(request, environment):
  """An empty place in a bucket."""
  name = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
  return f'{request.param}://bucket/{name}'


def test_what_is_written_is_there_until_it_is_removed(bucket):
  path = f'{bucket}/a/b.json'
  assert not storage.exists(path)
  assert not storage.is_folder(bucket)
  assert storage.names(bucket) == []
  storage.make_folder(f'{bucket}/a')
  storage.write_json(path, [1])
  storage.write_json(path, [2])
  assert storage.read_json(path, kind=object) == [2]
  assert storage.exists(path)
  assert storage.is_folder(f'{bucket}/a')
  assert not storage.is_folder(path)
  assert storage.names(bucket) == ['a']
  assert storage.names(f'{bucket}/a') == ['b.json']
  assert storage.names(path) == []
  storage.remove(path)
  storage.remove(path)
  assert not storage.exists(f'{bucket}/a')
  with pytest.raises(errors.InputError, match=rf'{path} is not there'):
    storage.read_json(path, kind=object)
  storage.check_writable(bucket)
  assert buckets.files(bucket) == []


def test_what_others_write_is_seen_at_once(bucket):
  storage.write_json(f'{bucket}/a', 1)
  assert storage.names(bucket) == ['a']
  scheme = bucket.partition('://')[0]
  others = fsspec.filesystem(scheme, skip_instance_cache=True)
  others.pipe_file(f'{bucket}/b', b'2')
  assert storage.names(bucket) == ['a', 'b']
  assert storage.exists(f'{bucket}/b')
  others.pipe_file(f'{bucket}/a', b'[3, 4, 5]')
  assert storage.read_json(f'{bucket}/a', kind=object) == [3, 4, 5]
  others.rm_file(f'{bucket}/b')
  assert not storage.exists(f'{bucket}/b')


def test_bytes_come_back_as_they_were(bucket):
  # Some servers take the end of an object for that of a letter.
  for data in (b'', b'a\r', b'\r\n', bytes(range(256)) * 100):
    with storage.replacing(f'{bucket}/x', 'wb') as file:
      file.write(data)
    assert buckets.read(f'{bucket}/x') == data


def test_tables_arrays_and_sounds_are_the_bytes_of_those_on_disk(
  bucket, tmp_path
):
  rows = [{'id': 'é=1', 'epsilon': 0.1}, {'id': '7', 'epsilon': 1.0}]
  arrays = {'a': np.arange(9).reshape(3, 3), 'b/c': np.zeros(0)}
  clip = np.linspace(0, 1, 800, dtype=np.float32)
  for folder in (str(tmp_path), bucket):
    storage.write_table(f'{folder}/t.csv', ('id', 'epsilon'), rows)
    storage.write_arrays(f'{folder}/a.npz', arrays)
    audio.save(f'{folder}/s.wav', clip, 'PCM_16')
  for name in ('t.csv', 's.wav'):
    assert buckets.read(f'{bucket}/{name}') == (tmp_path / name).read_bytes()
  assert storage.read_table(f'{bucket}/t.csv') == rows
  for key, value in storage.read_arrays(f'{bucket}/a.npz').items():
    np.testing.assert_array_equal(value, arrays[key])
  np.testing.assert_array_equal(
    audio.read_as_heard(f'{bucket}/s.wav'),
    audio.read_as_heard(tmp_path / 's.wav'),
  )
  with pytest.raises(errors.InputError, match=r'none\.npz cannot be read'):
    storage.read_arrays(f'{bucket}/none.npz')


def test_nothing_is_written_of_what_was_not_finished(bucket):
  storage.write_json(f'{bucket}/x', 'old')

  def stopped():
    with storage.replacing(f'{bucket}/x') as file:
      file.write('half')
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    stopped()
  assert storage.read_json(f'{bucket}/x', kind=object) == 'old'
  assert buckets.files(bucket) == ['x']


def test_only_one_creates_an_object(bucket):
  assert storage.create(f'{bucket}/owner', 'first')
  assert not storage.create(f'{bucket}/owner', 'second')
  assert buckets.read(f'{bucket}/owner') == b'first'


@pytest.mark.parametrize('bucket', ['s3'], indirect=True)  # gs:// is unchecked
def test_of_two_at_the_same_moment_one_creates_an_object(bucket, monkeypatch):
  monkeypatch.setattr(buckets, 'exists', lambda url: False)
  assert storage.create(f'{bucket}/owner', 'first')
  assert not storage.create(f'{bucket}/owner', 'second')
  # An attempt whose answer was lost is made again.
  assert storage.create(f'{bucket}/owner', 'first')


def test_a_folder_is_sent_with_its_last_file_last(
  bucket, tmp_path, monkeypatch
):
  for name in ('a', 'b', 'c[1]', 'sub/d', 'last'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(name)
  buckets.write(f'{bucket}/last', b'of before')
  buckets.write(f'{bucket}/stray', b'of before')
  write = io.open

  def fails_at_d(path, *args, **kwargs):
    if str(path).endswith('sub/d'):
      raise OSError('the network is gone')
    return write(path, *args, **kwargs)

  with monkeypatch.context() as patch:
    patch.setattr('builtins.open', fails_at_d)
    with pytest.raises(errors.BucketError, match='the network is gone'):
      buckets.send(str(tmp_path), bucket, 'last')
  assert not storage.exists(f'{bucket}/last')
  buckets.send(str(tmp_path), bucket, 'last')
  assert buckets.files(bucket) == ['a', 'b', 'c[1]', 'last', 'sub/d']
  with storage.local_copy(bucket) as copy:
    assert pathlib.Path(copy, 'c[1]').read_text() == 'c[1]'
    assert pathlib.Path(copy, 'sub', 'd').read_text() == 'sub/d'
  assert not os.path.exists(copy)
  storage.move_folder(f'{bucket}/sub', f'{bucket}/aside')
  assert buckets.files(bucket) == ['a', 'aside/d', 'b', 'c[1]', 'last']


@pytest.mark.parametrize('scheme', SCHEMES)
def test_a_bucket_that_is_not_there_gets_one_sentence(scheme, environment):
  with pytest.raises(errors.BucketError) as found:
    storage.write_json(f'{scheme}://no-such-bucket/x', 1)
  sentence = f'because {scheme}://no-such-bucket is not there'
  assert sentence in errors.of_machine(found.value, '')


def test_a_folder_in_a_bucket_is_held_and_taken_over(bucket, monkeypatch):
  monkeypatch.setattr(ownership, 'BEAT_S', 0.05)
  monkeypatch.setattr(ownership, 'DEAD_AFTER_S', 0.2)
  owner = f'{bucket}/{ownership.FILE}'
  with ownership.owned(bucket):
    held = storage.read_json(owner, kind=object)
    assert held['pid'] == os.getpid()
    with (
      pytest.raises(errors.InputError, match='is being written by process'),
      ownership.owned(bucket),
    ):
      pass
    while not storage.read_json(owner, kind=object)['beat']:
      time.sleep(0.01)
  assert not storage.exists(owner)
  elsewhere = {**held, 'pid_namespace': 'another machine', 'token': 'x'}
  storage.write_json(owner, elsewhere)
  with ownership.owned(bucket):
    assert storage.read_json(owner, kind=object)['token'] != 'x'
  assert not storage.exists(owner)


def save(workdir, *steps):
  """Saves trees of one array, which is the step."""
  with checkpoint.Checkpoints(workdir) as checkpoints:
    for step in steps:
      checkpoints.save(
        step,
        {'model': {}},
        {'num_epochs': step},
        {'validation_accuracy': 1 / step, 'validation_loss': 1.0},
        variables={'a': jax_array(step)},
      )


def jax_array(value):
  import jax.numpy as jnp

  return jnp.full(3, value, jnp.float32)


def restored(workdir):
  with checkpoint.Checkpoints(workdir) as checkpoints:
    step = checkpoints.latest_step
    trees = checkpoints.restore(
      step, {'model': {}}, variables={'a': jax_array(0)}
    )
    return step, checkpoints.best_step, np.asarray(trees['variables']['a'])


def test_checkpoints_in_a_bucket_are_the_last_two_and_the_best(bucket):
  save(bucket, 1, 2, 3)
  save(bucket, 4)
  assert sorted(storage.names(f'{bucket}/checkpoints')) == ['1', '3', '4']
  step, best, array = restored(bucket)
  assert (step, best) == (4, 1)
  np.testing.assert_array_equal(array, [4, 4, 4])


def test_a_damaged_checkpoint_in_a_bucket_is_set_aside(bucket, caplog):
  save(bucket, 1, 2)
  name = next(
    x for x in buckets.files(bucket) if x.endswith('2/metrics/metrics')
  )
  buckets.write(f'{bucket}/{name}', b'{}')
  assert restored(bucket)[0] == 1
  assert 'metrics/metrics was changed' in caplog.text
  assert storage.names(f'{bucket}/damaged') == ['2']
  # Killed on its way there: the digests, which come last, are missing.
  save(bucket, 3)
  storage.remove(f'{bucket}/checkpoints/3/digests.json')
  assert restored(bucket)[0] == 1
  assert '3: its save did not end' in caplog.text


# Restores the last checkpoint, if any, and saves two more.
ONE_OF_TWO = """
import sys
import jax
import numpy as np
process, address, workdir = sys.argv[1:]
jax.distributed.initialize(address, 2, int(process))
from advspeech import buckets, checkpoint, parallel
mesh = parallel.make_mesh()
def tree(step):
  return {'a': parallel.replicate(np.full(3, step, np.float32), mesh)}
with checkpoint.Checkpoints(workdir) as checkpoints:
  last = checkpoints.latest_step or 0
  if last:
    found = checkpoints.restore(last, {'model': {}}, variables=tree(0))
    array = found['variables']['a']
    print(last, len(array.sharding.device_set), array.addressable_data(0))
  for step in (last + 1, last + 2):
    metrics = {'validation_accuracy': 1 / step, 'validation_loss': 1.0}
    checkpoints.save(step, {'model': {}}, {}, metrics, variables=tree(step))
print(len(buckets.files(workdir + '/checkpoints')))
"""


@pytest.mark.parametrize('bucket', ['gs'], indirect=True)
def test_several_processes_save_and_restore_in_a_bucket(bucket):
  for begins in ('', '2 2 [2. 2. 2.]\n'):
    address = f'127.0.0.1:{bucket_servers.free_port()}'
    pair = [
      subprocess.Popen(
        [sys.executable, '-c', ONE_OF_TWO, str(i), address, bucket],
        cwd=ROOT,
        env=devices.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for i in (0, 1)
    ]
    found = [process.communicate() for process in pair]
    told = [out.partition('peer ranks is : 1\n')[2] or out for out, _ in found]
    # Both see the same at the end: nothing is on its way still.
    assert told[0] == told[1], found
    assert told[0].startswith(begins), found
  assert sorted(storage.names(f'{bucket}/checkpoints')) == ['1', '3', '4']


def test_metrics_and_events_in_a_bucket_go_on_where_the_checkpoint_is(bucket):
  for first, epochs in ((0, (1, 2, 3)), (2, (3, 4))):
    with log.TrainingLog(bucket, first) as opened:
      for epoch in epochs:
        opened.write({'epoch': epoch, 'first': first})
  lines = buckets.read(f'{bucket}/metrics.jsonl').decode().splitlines()
  assert [tuple(json.loads(line).values()) for line in lines] == [
    (1, 0),
    (2, 0),
    (3, 2),
    (4, 2),
  ]
  assert storage.names(f'{bucket}/tensorboard')


def write_recordings(folder, hz=(300, 3000), num_clips=16):
  """Writes tones that tell two classes apart, each of another pitch."""
  time_s = np.arange(6400) / 16_000
  for label, pitch in zip(('low', 'high'), hz, strict=True):
    (folder / label).mkdir(parents=True)
    for i in range(num_clips):
      wave = 0.3 * np.sin(2 * np.pi * pitch * (1 + i / 100) * time_s)
      soundfile.write(folder / label / f'{i:02d}.wav', wave, 16_000)
  return str(folder)


def test_a_data_set_in_a_bucket_is_fetched_and_replaced(
  bucket, tmp_path, monkeypatch
):
  folder = write_recordings(tmp_path / 'a', num_clips=2)
  where = {'folder': folder, 'data_dir': f'{bucket}/data'}
  assert not corpora.is_prepared('folder', **where)
  with pytest.raises(errors.InputError, match=rf'{bucket}/data\S+ holds no'):
    corpora.read('folder', num_samples=6400, **where)
  path = corpora.prepare('folder', **where)
  assert path == corpora.path('folder', **where)
  assert path.startswith(f'{bucket}/data/folder/')
  assert corpora.is_prepared('folder', **where)
  # Another machine has nothing yet.
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
  ours = corpora.read('folder', num_samples=6400, **where)
  here = {**where, 'data_dir': str(tmp_path / 'here')}
  corpora.prepare('folder', **here)
  np.testing.assert_array_equal(
    ours.pcm[:], corpora.read('folder', num_samples=6400, **here).pcm[:]
  )
  before = ours.pcm[:]
  # Recordings of the same names that were made anew are prepared anew.
  write_recordings(tmp_path / 'b', hz=(500, 2000), num_clips=2)
  for recording in (tmp_path / 'b').rglob('*.wav'):
    target = tmp_path / 'a' / recording.relative_to(tmp_path / 'b')
    os.replace(recording, target)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'third'))
  corpora.prepare('folder', **where)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
  theirs = corpora.read('folder', num_samples=6400, **where)
  assert (theirs.pcm[:] != before).any()
  # Removed there, it is prepared again, whatever lies here.
  buckets.remove_tree(path, 'preparation.json')
  assert not corpora.is_prepared('folder', **where)
  corpora.prepare('folder', **where)
  assert corpora.is_prepared('folder', **where)


FLAGS = (
  '--config=configs/folder.py:label,small',
  '--config.clip_s=0.4',
  f"--config.models=('{tiny.MODEL}',)",
  f'--config.source={tiny.MODEL}',
  '--config.training.num_epochs=6',
  '--config.training.batch_size=6',
  '--config.training.save_every_s=0.1',
  '--config.sweep.batch_size=2',
  '--config.sweep.epsilons=(0.0, 0.02)',
  '--config.seeds=(0,)',
  '--config.gradients.num_studied=2',
  '--config.gradients.num_clips=4',
)


@pytest.fixture(scope='module')
def server(environment):
  """Runs what is not killed."""
  with forked.Server({**devices.environment(), **environment}) as server:
    yield server


def finish(server, name, *args):
  done = server.launch(name, *args)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope='module')
def recordings(tmp_path_factory):
  folder = write_recordings(tmp_path_factory.mktemp('recordings') / 'clips')
  return f'--config.corpus.folder={folder}'


@pytest.fixture(scope='module')
def on_disk(server, recordings, tmp_path_factory):
  """A run on disk, from the recordings to the page."""
  folder = tmp_path_factory.mktemp('disk')
  where = f'--config.data_dir={folder / "data"}', f'--workdir={folder / "run"}'
  finish(server, 'reproduce', *FLAGS, recordings, *where)
  return folder / 'run'


def kill_once(flags, environment, is_reached):
  """Kills a reproduction as soon as it has got somewhere."""
  process = subprocess.Popen(
    [sys.executable, '-m', 'launch.reproduce', *flags],
    cwd=ROOT,
    env={**devices.environment(), **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  while not is_reached():
    assert process.poll() is None, process.stdout.read()
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()


@pytest.mark.parametrize('scheme', SCHEMES)
def test_a_run_in_a_bucket_killed_twice_is_the_run_on_disk(
  scheme, environment, server, recordings, on_disk
):
  there = f'{scheme}://bucket/runs/killed'
  flags = (
    *FLAGS,
    recordings,
    f'--config.data_dir={scheme}://bucket/data',
    f'--workdir={there}/',
  )
  trained = f'{there}/tinymodel-seed0'
  for reached in (f'{trained}/checkpoints', f'{there}/attack/parts'):
    kill_once(
      flags, environment, lambda reached=reached: storage.names(reached)
    )
  output = finish(server, 'reproduce', *flags)
  assert f'{there}/report/index.html' in output
  with storage.local_copy(there) as copy:
    assert_same_run(on_disk, pathlib.Path(copy))

  if scheme != 'gs':
    return  # what follows goes through the same functions
  assert 'seen by all of 1, in a bucket' in finish(server, 'doctor', *flags)
  sound = min(storage.names(f'{there}/attack/audio'))
  attacked = f'{scheme}://bucket/attacked'
  finish(
    server,
    'attack',
    f'--checkpoint={trained}',
    f'--audio={there}/attack/audio/{sound}',
    f'--output={attacked}',
    '--epsilons=0.01',
  )
  assert {'answers.csv', 'original.wav', 'attack.json'} <= {
    *storage.names(attacked)
  }
  both = f'{scheme}://bucket/both'
  finish(server, 'report', '--compare', on_disk, there, f'--workdir={both}')
  page = buckets.read(f'{both}/comparison/index.html').decode()
  assert '../../runs/killed/report/index.html' in page
  assert f'{on_disk}/report/index.html' in page


def test_two_processes_train_in_a_bucket_as_on_a_disk(
  environment, server, recordings, tmp_path
):
  here, there = tmp_path / 'run', 'gs://bucket/runs/of-two'
  for data, workdir in (
    (tmp_path / 'data', here),
    ('gs://bucket/data-of-two', there),
  ):
    flags = (
      *FLAGS,
      recordings,
      f'--config.data_dir={data}',
      f'--workdir={workdir}',
    )
    finish(server, 'prepare', *flags)
    program = [sys.executable, '-m', 'launch.local', '--num_processes=2', '--']
    done = subprocess.run(
      [*program, 'launch.train', *flags],
      cwd=ROOT,
      env={**devices.environment(), **environment},
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr
  with storage.local_copy(f'{there}/tinymodel-seed0') as copy:
    tiny.assert_same_bits(here / 'tinymodel-seed0', pathlib.Path(copy))


def assert_same_run(one, other):
  """Holds two runs to the same models, tables, sounds and figures."""
  tiny.assert_same_bits(one / 'tinymodel-seed0', other / 'tinymodel-seed0')
  names = [
    {
      str(path.relative_to(run))
      for suffix in ('csv', 'wav', 'svg', 'html', 'npz')
      for path in run.rglob(f'*.{suffix}')
    }
    for run in (one, other)
  ]
  assert names[0] == names[1]
  for name in names[0]:
    if name.endswith('wav'):  # a float one's header has its date
      sounds = [soundfile.read(run / name)[0] for run in (one, other)]
      np.testing.assert_array_equal(*sounds, name)
    elif not name.endswith(('html', 'npz')):
      assert (one / name).read_bytes() == (other / name).read_bytes(), name
  assert not list(other.rglob('.owner.json'))
