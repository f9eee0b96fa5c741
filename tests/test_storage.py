"""Files are read as they were written, or refused in a sentence."""

import builtins
import concurrent.futures
import csv
import errno
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import threading
import types

import mutations
import numpy as np
import pytest

from advspeech import buckets, errors, storage
from advspeech.checkpoint import damage
from advspeech.storage import files

NAMES = ('0003', '1e5', '0_1', 'nan', 'NA', 'None', 'a,b', '"', "'", "''", ' ')
NAMES += ('=1+1', '+1', '-1', '-inf', '@SUM(A1)', "'=1", '\tx', 'ü', '', 'TRUE')


def test_text_stays_text_and_numbers_become_numbers(tmp_path):
  path = tmp_path / 'table.csv'
  rows = [
    {'name': name, 'error_rate': x, 'num_clips': 3, 'ci_low': ''}
    for name, x in zip(NAMES, np.linspace(-0.6, -0.2, len(NAMES)), strict=True)
  ]
  for row in rows:
    row['error_rate'] = float(f'{row["error_rate"]:.6g}')
  storage.write_table(path, tuple(rows[0]), rows)
  back = storage.read_table(path)
  assert back == rows
  assert [type(x) for x in back[0].values()] == [str, float, int, str]


def test_no_cell_begins_a_formula(tmp_path):
  path = tmp_path / 'table.csv'
  rows = [{'label': name, 'error_rate': -0.5} for name in NAMES]
  storage.write_table(path, ('label', 'error_rate'), rows)
  with open(path, encoding='utf-8', newline='') as file:
    for label, _ in list(csv.reader(file))[1:]:
      assert not label.startswith(('=', '+', '-', '@', '\t', '\r'))


def test_a_column_is_of_text_or_of_numbers(tmp_path):
  rows = [{'snr_db': 3.0}, {'snr_db': '0003'}]
  with pytest.raises(ValueError, match='column snr_db holds real and text'):
    storage.write_table(tmp_path / 'a.csv', ('snr_db',), rows)


def test_ends_of_paths_tell_them_apart():
  paths = ['x/run/m', 'y/run/m', 'z/run/m', 'z/run/n', '/abs/k', 'm']
  assert storage.distinct_ends(paths) == {
    'x/run/m': 'x/run/m',
    'y/run/m': 'y/run/m',
    'z/run/m': 'z/run/m',
    'z/run/n': 'n',
    '/abs/k': 'k',
    'm': 'm',
  }


@pytest.mark.parametrize('text', ['', '{"a": 1', '\xff\xfe'])
def test_what_is_no_json_is_named(tmp_path, text):
  path = tmp_path / 'config.json'
  path.write_text(text, encoding='latin-1')
  with pytest.raises(errors.InputError, match=r'config\.json is no JSON '):
    storage.read_json(path)
  with pytest.raises(errors.InputError, match=r'other\.json is not there'):
    storage.read_json(tmp_path / 'other.json')


@pytest.mark.parametrize(
  ('text', 'kind', 'message'),
  [
    ('null', dict, 'holds no JSON object'),
    ('[]', dict, 'holds no JSON object'),
    ('{}', list, 'holds no JSON array'),
    ('{}', dict, 'lacks a, b'),
    ('{"a": null}', dict, 'lacks b'),
    (None, dict, 'is a folder'),
  ],
)
def test_json_of_another_kind_or_without_its_keys_is_named(
  tmp_path, text, kind, message
):
  path = tmp_path / 'config.json'
  if text is None:
    path.mkdir()
  else:
    path.write_text(text)
  keys = ('a', 'b') if kind is dict else ()
  with pytest.raises(
    errors.InputError, match=rf'config\.json {message}; put it back from a copy'
  ):
    storage.read_json(path, keys, kind)


@pytest.mark.parametrize(
  ('text', 'message'),
  [('', 'is empty'), ('a,b\n', 'has no rows'), (None, 'is a folder')],
)
def test_a_table_of_nothing_is_named(tmp_path, text, message):
  path = tmp_path / 'sweep.csv'
  if text is None:
    path.mkdir()
  else:
    path.write_text(text)
  with pytest.raises(
    errors.InputError, match=rf'sweep\.csv {message}; put it back from a copy'
  ):
    storage.read_table(path)


def test_a_table_may_be_said_to_have_no_rows(tmp_path):
  path = str(tmp_path / 'transforms.csv')
  storage.write_table(path, ('a', 'b'), [])
  assert storage.read_table(path, may_be_empty=True) == []


def test_a_table_that_was_cut_is_named_with_the_line(tmp_path):
  path = tmp_path / 'sweep.csv'
  path.write_text('a,b,c\n1,2,3\n4,5')
  with pytest.raises(errors.InputError, match='line 3 has 2 values'):
    storage.read_table(path)


@pytest.mark.parametrize(
  'data', [b'a,b\n\xfb\xff,1\n', b'a,b\n"' + b'x' * 200_000]
)
def test_a_table_that_is_no_text_is_named(tmp_path, data):
  path = tmp_path / 'sweep.csv'
  path.write_bytes(data)
  with pytest.raises(errors.InputError, match=r'sweep\.csv is no CSV'):
    storage.read_table(path)


@pytest.mark.parametrize('damage', ['cut', 'changed', 'empty', 'missing'])
def test_arrays_that_cannot_be_read_are_named(tmp_path, damage):
  path = tmp_path / 'arrays.npz'
  np.savez_compressed(path, a=np.arange(1000))
  np.testing.assert_array_equal(storage.read_arrays(path)['a'], np.arange(1000))
  data = bytearray(path.read_bytes())
  if damage == 'missing':
    path.unlink()
  else:
    data[200] ^= 0xFF
    path.write_bytes({'cut': data[:300], 'changed': data, 'empty': b''}[damage])
  with pytest.raises(errors.InputError, match=r'arrays\.npz cannot be read'):
    storage.read_arrays(path)


def test_eight_writers_of_one_path_lose_nothing_and_leave_nothing(tmp_path):
  path = tmp_path / 'table.json'
  names = 'abcdefgh'

  def write(name):
    for i in range(100):
      storage.write_json(str(path), {'name': name, 'i': i, 'pad': name * 2000})

  with concurrent.futures.ThreadPoolExecutor(8) as executor:
    for done in [executor.submit(write, name) for name in names]:
      done.result()
  assert storage.read_json(path)['i'] == 99
  assert {p.name for p in tmp_path.iterdir()} <= {'table.json', 'tables.json'}


def test_what_cannot_be_written_leaves_the_former_file_and_is_named(tmp_path):
  path = tmp_path / 'table.json'
  storage.write_json(path, {'a': 1})

  class Full(float):
    def __format__(self, spec):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with pytest.raises(OSError, match='No space left') as caught:
    storage.write_table(str(path), ('a', 'b'), [{'a': 1, 'b': Full()}])
  assert caught.value.filename == str(path)
  assert storage.read_json(path) == {'a': 1}
  assert {p.name for p in tmp_path.iterdir()} <= {'table.json', 'tables.json'}
  with pytest.raises(FileNotFoundError, match='gone/table'):
    storage.write_json(str(tmp_path / 'gone' / 'table.json'), {})


def test_only_one_function_puts_files_in_place():
  """Every other would need a name of its own for what is not whole yet."""
  for path in pathlib.Path(errors.__file__).parent.rglob('*.py'):
    if path.parts[-2:] != ('storage', 'files.py'):
      assert '.tmp' not in path.read_text(), path


@pytest.mark.parametrize(
  ('path', 'reason'),
  [
    ('file', 'File exists'),
    ('file/below', 'Not a directory'),
    ('x' * 300, 'File name too long'),
    ('/proc/no/such', 'No such file'),
  ],
)
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, path, reason):
  (tmp_path / 'file').touch()
  folder = str(tmp_path / path)
  for check in (storage.make_folder, storage.check_writable):
    with pytest.raises(errors.InputError, match=f'as a folder .{reason}'):
      check(folder)
  assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_a_file_to_be_written_at_the_end_is_tried_at_the_beginning(tmp_path):
  storage.check_output_file(str(tmp_path / 'a' / 'b.json'))
  assert [p.name for p in tmp_path.rglob('*')] == ['a']
  for path, message in (
    (tmp_path / 'a', r'--output must be a file, got the folder .*a; name one'),
    ('/proc/no/such', 'No such file'),
  ):
    with pytest.raises(errors.InputError, match=message):
      storage.check_output_file(str(path))


def test_whether_a_folder_can_be_written_to_is_tried_without_a_trace(
  tmp_path, monkeypatch
):
  (tmp_path / 'there').mkdir()
  for folder in ('there', 'a/b/c'):
    storage.check_writable(str(tmp_path / folder))
  assert [p.name for p in tmp_path.iterdir()] == ['there']

  def full(**kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(files.tempfile, 'TemporaryFile', full)
  with pytest.raises(errors.InputError, match=r'a/b .*No space left'):
    storage.check_writable(str(tmp_path / 'a' / 'b'))
  assert [p.name for p in tmp_path.iterdir()] == ['there']


def test_paths_have_the_home_folder_in_them(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  assert storage.given_path('--x', '~/runs') == '/home/me/runs'
  assert storage.given_path('--x', 'runs/~a') == 'runs/~a'
  for url in ('az://runs', 'file:///runs', 'gs:////', 's3://b/a*', 'gs://b/..'):
    message = f'--x must .* got {re.escape(url)}'
    with pytest.raises(errors.InputError, match=message):
      storage.given_path('--x', url)
  for almost in ('gs:/b/a', 's3:b/a'):  # would be folders of that name
    scheme = almost[:2]
    with pytest.raises(errors.InputError, match=f'write {scheme}://b/a for a'):
      storage.given_path('--x', almost)
  for nothing in ('', '--config=a.py'):
    with pytest.raises(errors.InputError, match='write --x=PATH'):
      storage.given_path('--x', nothing)
  with pytest.raises(errors.InputError, match='that home folder is not known'):
    storage.given_path('--x', '~nobody-of-that-name/runs')


def test_a_bucket_that_is_waited_for_is_named(monkeypatch):
  said, lines = threading.Event(), []

  def info(line, *args):
    lines.append(line % args)
    said.set()

  def client(scheme):
    assert said.wait(10)
    return types.SimpleNamespace(cat_file=lambda url: b'')

  monkeypatch.setattr(buckets, 'PATIENCE_S', 0)
  monkeypatch.setattr(buckets.logger, 'info', info)
  monkeypatch.setattr(buckets, '_client', client)
  assert buckets.read('gs://b/a') == b''
  assert lines == ['waiting for gs://b/a for more than 0 s']


@pytest.mark.parametrize(
  ('scheme', 'client'), [('gs', 'gcsfs'), ('s3', 's3fs')]
)
def test_a_path_may_be_in_a_bucket_that_there_is_a_client_for(
  monkeypatch, scheme, client
):
  found = []
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda name: found.append(name) or name
  )
  url = storage.given_path('--x', f'{scheme}://b//runs/a/')
  assert (url, found) == (f'{scheme}://b/runs/a', [client])
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(
    errors.InputError, match=f'; python -m pip install {client}'
  ):
    storage.given_path('--x', url)
  with pytest.raises(errors.InputError, match='mounted file system, got'):
    storage.given_path('--x', url, in_bucket=False)


def test_pages_link_to_what_lies_in_buckets():
  page = 'gs://b/comparison'
  assert storage.relative('gs://b/run/index.html', page) == '../run/index.html'
  for other in ('gs://c/run/index.html', '/runs/index.html'):
    assert storage.relative(other, page) == other
  assert storage.relative('/runs/a/x', '/runs/b') == '../a/x'
  ends = storage.distinct_ends(['gs://b/run/m', 's3://b/run/m', '/y/n'])
  assert ends == {
    'gs://b/run/m': 'gs://b/run/m',
    's3://b/run/m': 's3://b/run/m',
    '/y/n': 'n',
  }


def of_number(number, path=None):
  return OSError(number, os.strerror(number), path)


def test_faults_of_disks_and_paths_get_a_sentence_and_others_none(tmp_path):
  run = str(tmp_path / 'run')
  assert errors.of_machine(of_number(errno.ENOSPC, 'a/b.npz'), run) == (
    'a/b.npz cannot be written or read (No space left on device); make room '
    'there; the same command then goes on from here'
  )
  assert errors.of_machine(of_number(errno.EIO), run).startswith(
    f'{run} cannot'
  )
  for number in (errno.EROFS, errno.EACCES, errno.EISDIR, errno.ENAMETOOLONG):
    assert os.strerror(number) in errors.of_machine(of_number(number, 'x'), run)
  tensorstore = ValueError(
    'RESOURCE_EXHAUSTED: Error writing local file "/r/5/_sharding": Failed '
    "to write 26371 bytes: No space left on device [os_error_code='28']"
  )
  wrapped = RuntimeError('a save failed')
  wrapped.__cause__ = tensorstore
  assert errors.of_machine(wrapped, run).startswith('/r/5/_sharding cannot be')
  for number in (errno.ENOENT, errno.ENOTEMPTY):
    disturbed = of_number(number, f'{run}/checkpoints/5.tmp/a')
    assert f'another program that works in {run};' in errors.of_machine(
      disturbed, run
    )
  for defect in (
    of_number(errno.ENOENT, '/elsewhere'),
    OSError('the disk of this machine is full'),
    ValueError('x'),
  ):
    assert errors.of_machine(defect, run) == ''


@pytest.mark.parametrize(
  ('error', 'expected'),
  [
    (MemoryError('std::bad_alloc'), 'too little memory (std::bad_alloc)'),
    (MemoryError(), 'too little memory (no more was said)'),
    (
      RuntimeError(
        'RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nAt:'
      ),
      '(RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.); take smaller',
    ),
    (RuntimeError("can't start new thread"), 'too little memory'),
    (of_number(errno.ENOMEM, 'x'), 'too little memory'),
    (of_number(errno.EMFILE), 'more files at a time (ulimit -n)'),
    (ValueError(f'a reader: {os.strerror(errno.EMFILE)}'), '(ulimit -n)'),
  ],
)
def test_too_little_memory_or_too_few_files_get_a_sentence(error, expected):
  outer = RuntimeError('a save failed')
  outer.__cause__ = error
  assert expected in errors.of_machine(outer, 'run')


def test_arrays_of_mutated_files_are_what_was_written_or_refused(tmp_path):
  """Every bit of the archive's list of files, and some of the others."""
  path = tmp_path / 'part.npz'
  written = {'predictions': np.arange(200), 'snr_db': np.linspace(0, 1, 50)}
  storage.write_arrays(str(path), written)
  data, rng = path.read_bytes(), np.random.default_rng(mutations.NUM)
  listed = data.index(b'PK\1\2')
  flips = [*range(8 * listed, 8 * len(data)), *range(240)]
  for i in (*flips, *[None] * mutations.NUM):
    done = f'bit {i}'
    path.write_bytes(data)
    if i is None:
      done = mutations.mutate(rng, path)
    else:
      changed = bytearray(data)
      changed[i // 8] ^= 1 << i % 8
      path.write_bytes(changed)
    try:
      found = storage.read_arrays(str(path))
    except errors.InputError:
      found = written
    except Exception as e:
      e.add_note(done)
      raise
    assert found.keys() == written.keys(), done
    for key, value in written.items():
      np.testing.assert_array_equal(found[key], value)
    if path.is_dir():
      path.rmdir()


@pytest.mark.parametrize('number', [errno.EIO, errno.EACCES, errno.EMFILE])
def test_what_cannot_be_read_now_is_not_called_damaged(
  tmp_path, monkeypatch, number
):
  """Else it would be set aside, or the user message to remove it."""
  folder = tmp_path / '7'
  folder.mkdir()
  (folder / 'weights').write_bytes(b'1')
  damage.write_digests(str(folder))
  path = str(folder / 'weights')

  built_in = open

  def open_(name, *args, **options):
    if name == path:
      raise of_number(number, name)
    return built_in(name, *args, **options)

  assert damage.damage_of(str(folder)) == ''
  monkeypatch.setattr(builtins, 'open', open_)
  for read in (
    lambda: damage.damage_of(str(folder)),
    lambda: storage.read_arrays(path),
  ):
    with pytest.raises(OSError, match='weights') as found:
      read()
    assert found.value.errno == number


def test_what_may_not_be_looked_at_is_not_called_missing(tmp_path):
  """A model that cannot be read is trained all the same."""
  if os.getuid():
    pytest.skip('who is not root cannot become another user')
  folder = tmp_path / 'wavecnn-seed0'
  folder.mkdir(mode=0o700)
  (folder / 'summary.json').write_text('{}')
  for above in (tmp_path, *tmp_path.parents[:3]):
    above.chmod(0o755)
  code = (
    'import os, sys; from advspeech import errors, storage; os.setuid(65534)\n'
    'for look in (storage.exists, storage.is_folder):\n'
    '  try:\n'
    '    print(look(sys.argv[1]))\n'
    '  except PermissionError as e:\n'
    "    print(errors.of_machine(e, '/a'))"
  )
  done = subprocess.run(
    [sys.executable, '-c', code, str(folder / 'summary.json')],
    cwd=pathlib.Path(__file__).parent.parent,
    capture_output=True,
    text=True,
    check=True,
  )
  first, second = done.stdout.splitlines()
  assert first == second
  assert re.fullmatch(
    r'\S*/summary.json cannot be written or read \(Permission denied\); .*',
    first,
  )


def test_a_table_that_is_cut_at_the_end_of_a_line_is_missed(tmp_path):
  path = str(tmp_path / 'a.csv')
  rows = [{'n': n} for n in range(5)]
  storage.write_table(path, ('n',), rows)
  storage.write_table(str(tmp_path / 'b.csv'), ('n',), rows[:1])
  assert storage.read_table(path) == rows
  text = (tmp_path / 'a.csv').read_text()
  (tmp_path / 'a.csv').write_text(text[: text.index('3')])
  with pytest.raises(
    errors.InputError, match=r'a\.csv has 3 rows where 5 were written; put it'
  ):
    storage.read_table(path)
  storage.write_table(path, ('n',), rows[:2])
  assert storage.read_table(path) == rows[:2]
  (tmp_path / 'tables.json').write_text('{"a.csv":')
  with pytest.raises(errors.InputError, match=r'tables\.json is no JSON'):
    storage.read_table(path)
  storage.write_table(path, ('n',), rows)
  storage.write_table(path, ('n',), rows[:2])
  assert storage.read_table(path) == rows[:2]
  (tmp_path / 'tables.json').unlink()  # as of a table that was copied alone
  with pytest.raises(
    errors.InputError, match=r'a\.csv has columns that tables\.json beside it'
  ):
    storage.read_table(path)


def test_a_table_whose_writing_was_cut_off_is_the_old_or_the_new_one(
  tmp_path, monkeypatch
):
  path = str(tmp_path / 'a.csv')
  rows = [{'n': n} for n in range(5)]
  storage.write_table(path, ('n',), rows[:2])
  replacing = storage.replacing

  def killed(path, mode='w', **options):
    if path.endswith('.csv'):
      raise KeyboardInterrupt
    return replacing(path, mode, **options)

  with monkeypatch.context() as patch:
    patch.setattr(files, 'replacing', killed)
    with pytest.raises(KeyboardInterrupt):
      storage.write_table(path, ('n',), rows)
  assert storage.read_table(path) == rows[:2]
