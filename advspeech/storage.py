"""JSON, tables and arrays: written whole or not at all.

On disk, where a new file takes the place of the old one, or in a bucket, where
an object does. What is here takes paths of both; see `buckets`.
"""

import contextlib
import csv
import io
import json
import os
import posixpath
import shutil
import stat
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from advspeech import buckets, errors

_AGAIN = 'put it back from a copy, or remove it and run what wrote it again'


def read_json(path: str, keys: Sequence[str] = (), kind: type = dict) -> Any:
  """Returns what a JSON file holds.

  Args:
    path: Of the file.
    keys: That it has at least.
    kind: What it is: `dict`, `list`, or `object` for anything.

  Raises:
    errors.InputError: If it is not there, or no JSON, or of another kind, or
      lacks a key.
  """
  try:
    with opened(path) as file:
      value = json.load(file)
  except FileNotFoundError as e:
    raise errors.InputError(f'{path} is not there; {_AGAIN}') from e
  except IsADirectoryError as e:
    raise errors.InputError(f'{path} is a folder; {_AGAIN}') from e
  except ValueError as e:
    raise errors.InputError(f'{path} is no JSON ({e}); {_AGAIN}') from e
  if not isinstance(value, kind):
    wanted = {dict: 'object', list: 'array'}[kind]
    raise errors.InputError(f'{path} holds no JSON {wanted}; {_AGAIN}')
  if missing := [key for key in keys if key not in value]:
    raise errors.InputError(f'{path} lacks {", ".join(missing)}; {_AGAIN}')
  return value


def opened(path: str, mode: str = 'r', **options: Any) -> IO[Any]:
  """Returns a file open for reading, to be closed by its user.

  Args:
    path: Of the file.
    mode: 'r' for text, in UTF-8, or 'rb'.
    **options: As of `open`.

  Raises:
    FileNotFoundError: If it is not there.
  """
  if 'b' not in mode:
    options.setdefault('encoding', 'utf-8')
  if not buckets.is_bucket(path):
    return open(path, mode, **options)
  data = io.BytesIO(buckets.read(path))
  return data if 'b' in mode else io.TextIOWrapper(data, **options)


def exists(path: str) -> bool:
  """Returns whether there is a file or a folder.

  Raises:
    PermissionError: If that may not be known.
  """
  return _of(path, lambda path: _status(path) is not None, buckets.exists)


def is_folder(path: str) -> bool:
  """Returns whether there is a folder; in a bucket, one with anything in it.

  Raises:
    PermissionError: If that may not be known.
  """
  return _of(path, _is_folder_here, buckets.is_folder)


def _is_folder_here(path):
  status = _status(path)
  return status is not None and stat.S_ISDIR(status.st_mode)


def _status(path):
  """Returns what the system knows of a path, None if there is nothing.

  What may not be looked at is not called missing, as `os.path.exists` does.
  """
  try:
    return os.stat(path)
  except PermissionError:
    raise
  except (OSError, ValueError):
    return None


def names(folder: str) -> list[str]:
  """Returns the names in a folder, [] where there is none."""
  if buckets.is_bucket(folder):
    return buckets.names(folder)
  return os.listdir(folder) if is_folder(folder) else []


def create(path: str, text: str) -> bool:
  """Writes a file that is not there yet; returns whether it is this one.

  Args:
    path: Of the file.
    text: What nobody else writes.
  """
  if buckets.is_bucket(path):
    return buckets.create(path, text.encode())
  try:
    with open(path, 'x', encoding='utf-8') as file:
      file.write(text)
  except FileExistsError:
    return False
  return True


def remove(path: str) -> None:
  """Removes a file, if it is there."""
  with contextlib.suppress(FileNotFoundError):
    _of(path, os.remove, buckets.remove)


def move_folder(path: str, target: str) -> None:
  """Puts a folder in the place of another, which need not be there."""
  if buckets.is_bucket(path):
    with local_copy(path) as here:
      for name in buckets.files(path):
        with open(os.path.join(here, name), 'rb') as file:
          buckets.write(f'{target}/{name}', file.read())
    buckets.remove_tree(path)
    return
  shutil.rmtree(target, ignore_errors=True)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  os.replace(path, target)


def cache_folder(url: str) -> str:
  """Returns where this machine keeps copies of what lies in a bucket's folder.

  Below XDG_CACHE_HOME, `~/.cache` if that is not set.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return os.path.join(caches, 'advspeech', *url.replace(':', '', 1).split('/'))


@contextlib.contextmanager
def local_copy(folder: str) -> Iterator[str]:
  """Yields a folder of this machine with what is in a folder.

  That itself, if it is here; a copy for as long as the context lasts, if it is
  in a bucket.
  """
  if not buckets.is_bucket(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory(prefix='advspeech-') as copy:
    buckets.fetch(folder, copy)
    yield copy


def absolute(path: str) -> str:
  """Returns a path that means the same in any working directory."""
  return _of(path, os.path.abspath, str)


def canonical(path: str) -> str:
  """Returns the one name of a file that may have several."""
  return _of(path, os.path.realpath, str)


def relative(path: str, folder: str) -> str:
  """Returns how a page in a folder links to a file.

  By its whole name if one of them is in a bucket and the other is not there.
  """
  one, other = (x.split('/')[:3] for x in (path, folder))
  if one != other and (buckets.is_bucket(path) or buckets.is_bucket(folder)):
    return absolute(path)
  return _of(path, os.path.relpath, posixpath.relpath, folder)


def _of(path, here, there, *arguments):
  """Returns what one of two functions does, for paths here and in buckets."""
  function = there if buckets.is_bucket(path) else here
  return function(path, *arguments)


@contextlib.contextmanager
def naming(path: str, *others: str | None) -> Iterator[None]:
  """Names `path` in an OSError that names nothing, as that of a full disk.

  Args:
    path: What is written.
    *others: Names that it takes the place of.
  """
  try:
    yield
  except OSError as e:
    if e.filename is None or e.filename in others:
      raise OSError(e.errno, e.strerror or str(e), path) from e
    raise


@contextlib.contextmanager
def replacing(path: str, mode: str = 'w', **options: Any) -> Iterator[IO[Any]]:
  """Yields a new file that takes the place of `path` once it is whole.

  Until then it lies beside it under a name of its own, so that several may
  write the same path at a time, and is removed if anything goes wrong. For a
  bucket it is held in memory until then.

  Args:
    path: Of the file; its folder is there.
    mode: 'w' for text, in UTF-8, or 'wb'.
    **options: As of `open`.

  Raises:
    OSError: If it cannot be written; names `path`.
  """
  if 'b' not in mode:
    options.setdefault('encoding', 'utf-8')
  if buckets.is_bucket(path):
    data = io.BytesIO()
    file = data if 'b' in mode else io.TextIOWrapper(data, **options)
    yield file
    file.flush()
    buckets.write(path, data.getvalue())
    return
  temporary = os.path.join(os.path.dirname(path), f'.{uuid.uuid4().hex}.tmp')
  with naming(path, temporary):
    try:
      with open(temporary, mode.replace('w', 'x'), **options) as file:
        yield file
      os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.remove(temporary)
      raise


def make_folder(path: str) -> None:
  """Makes a folder and those above it, unless it is there.

  In a bucket there is nothing to be made.

  Raises:
    errors.InputError: If it cannot be made, or is a file.
  """
  if buckets.is_bucket(path):
    return
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as e:
    raise errors.InputError(
      f'{path} cannot be made as a folder ({e.strerror}); name one that can be '
      'written to'
    ) from e


def check_writable(folder: str) -> None:
  """Writes and removes a file in a folder, before there is work to lose.

  A folder that is not there is made for that, and removed again.

  Raises:
    errors.InputError: If it cannot be made or written to.
  """
  if buckets.is_bucket(folder):
    trial = f'{folder}/.{uuid.uuid4().hex}.tmp'
    buckets.write(trial, bytes(4096))
    buckets.remove(trial)
    return
  made, parent = [], os.path.abspath(folder)
  while not os.path.lexists(parent):
    made.append(parent)
    parent = os.path.dirname(parent)
  try:
    make_folder(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(4096))
  except OSError as e:
    raise errors.InputError(
      f'{folder} cannot be written to ({e.strerror}); name a folder that can'
    ) from e
  finally:
    for path in made:
      with contextlib.suppress(OSError):
        os.rmdir(path)


def check_output_file(path: str) -> None:
  """Makes the folder of a file that `--output` names, before there is work.

  Raises:
    errors.InputError: If it is a folder, or cannot be written.
  """
  if os.path.isdir(path):
    raise errors.InputError(
      f'--output must be a file, got the folder {path}; name one in it'
    )
  folder = os.path.dirname(path) or '.'
  check_writable(folder)
  make_folder(folder)


def given_path(what: str, path: str, *, in_bucket: bool = True) -> str:
  """Returns a path with the home folder in place of `~`, or a bucket's URL.

  Args:
    what: What names it, such as '--workdir'.
    path: As the user wrote it.
    in_bucket: Whether it may be the URL of a bucket.

  Raises:
    errors.InputError: If it is another URL, a flag or nothing at all, there is
      no such home, or no client for the bucket.
  """
  if '://' in path:
    if in_bucket:
      return buckets.normalized(what, path)
    raise errors.InputError(
      f'{what} must be a path of a mounted file system, got {path}; write it '
      'here, and copy it there'
    )
  if not path or path.startswith('-'):
    raise errors.InputError(
      f'{what} must be a path, got {path!r}; write {what}=PATH'
    )
  expanded = os.path.expanduser(path)
  if expanded.startswith('~'):
    raise errors.InputError(
      f'{what} must be a path, got {path!r}, and that home folder is not '
      f'known here; write it in full, or as ./{path} if it is called that'
    )
  return expanded


def write_json(path: str, value: Any) -> None:
  """Writes a value as JSON."""
  with replacing(path) as file:
    json.dump(value, file, indent=2)


def write_table(
  path: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
  """Writes rows as CSV, floats to six digits.

  Text that a spreadsheet would take for a formula has a single quote in front;
  `read_table` takes it off again. How many rows there are is noted in
  `rows.json` beside it: a table that is cut at the end of a line shows nothing.

  Raises:
    ValueError: If a column that is not known to be of text holds some.
  """
  known = {}
  with contextlib.suppress(errors.InputError):  # it is written anew
    known = _noted_rows(path)
  # Killed in between, the table is one or the other.
  _note_rows(path, known, [*known.get(os.path.basename(path), []), len(rows)])
  with replacing(path, newline='') as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    for row in rows:
      writer.writerow({key: _cell(key, row[key]) for key in columns})
  _note_rows(path, known, [len(rows)])


def _note_rows(path, known, numbers):
  """Notes how many rows a table may have, beside what is known of others."""
  note = os.path.join(os.path.dirname(path), _ROWS)
  write_json(note, {**known, os.path.basename(path): numbers})


def _noted_rows(path):
  """Returns how many rows each table beside one may have, where it is known."""
  note = os.path.join(os.path.dirname(path), _ROWS)
  return read_json(note) if exists(note) else {}


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes named arrays as a compressed .npz."""
  with replacing(path, 'wb') as file:
    np.savez_compressed(file, **arrays)


# Where the numbers of rows are noted, beside tables.
_ROWS = 'rows.json'
# Columns of text: '0003' and '1e5' are ids there, and 'nan' is a class.
_TEXT = frozenset(
  (
    *('id', 'small_id', 'large_id', 'label', 'file', 'note'),
    *('prediction', 'clean_prediction', 'unperturbed_prediction'),
    *('prediction_float32', 'prediction_int16'),
    # Answers to one recording, by what was heard.
    *('memory', 'float32', 'int16', 'repaired'),
    *('random_sign', 'gaussian', 'shuffled'),
    *('task', 'model', 'other', 'source', 'target'),
    *('attack', 'mask', 'transform', 'control', 'success'),
    *('epsilon_given', 'epsilon_unit'),
    *('errors_by_class', 'answers_by_class'),
    *('representation', 'method', 'through', 'kind'),
    *('alignment', 'region', 'arithmetic', 'direction', 'varied'),
    *('cell', 'training', 'part', 'setting', 'statistic', 'of'),
  )
)
# A text that began with one of these would be a formula to a spreadsheet; it
# gets the last of them in front.
_FORMULA = ('=', '+', '-', '@', '\t', '\r', "'")


def _cell(column, value):
  if isinstance(value, float):
    return f'{value:.6g}'
  if not isinstance(value, str) or not value:
    return value
  if column not in _TEXT:
    raise ValueError(
      f'column {column} is of numbers and cannot hold {value!r}; name it among '
      'the columns of text'
    )
  return f"'{value}" if value.startswith(_FORMULA) else value


def read_table(
  path: str, *, may_be_empty: bool = False
) -> list[dict[str, Any]]:
  """Returns a CSV file's rows, as `write_table` was given them.

  Args:
    path: Of the file.
    may_be_empty: Whether it may have no row below its header.

  Raises:
    errors.InputError: If it is no text, has no header or no rows, a row has
      not a value for every column, or rows are missing.
  """
  try:
    rows = _read_rows(path)
  except IsADirectoryError as e:
    raise errors.InputError(f'{path} is a folder; {_AGAIN}') from e
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.InputError(f'{path} is no CSV ({e}); {_AGAIN}') from e
  if not (rows or may_be_empty):
    raise errors.InputError(f'{path} has no rows; {_AGAIN}')
  noted = _noted_rows(path).get(os.path.basename(path), [])
  if noted and len(rows) not in noted:
    raise errors.InputError(
      f'{path} has {len(rows)} rows where {noted[-1]} were written; {_AGAIN}'
    )
  return rows


def _read_rows(path):
  with opened(path, newline='') as file:
    reader = csv.reader(file)
    columns = next(reader, [])
    if not columns:
      raise errors.InputError(f'{path} is empty; {_AGAIN}')
    rows = []
    for values in reader:
      if len(values) != len(columns):
        raise errors.InputError(
          f'{path} line {reader.line_num} has {len(values)} values for '
          f'{len(columns)} columns; {_AGAIN}'
        )
      rows.append(
        {
          key: value.removeprefix("'") if key in _TEXT else _number(value)
          for key, value in zip(columns, values, strict=True)
        }
      )
    return rows


def _number(text):
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      continue
  return text


def read_arrays(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz file.

  Raises:
    errors.InputError: If it cannot be read.
  """
  try:
    with (
      opened(path, 'rb') as file,
      np.load(file, allow_pickle=False) as arrays,
    ):
      return dict(arrays)
  except errors.BucketError:
    raise
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
    raise errors.InputError(f'{path} cannot be read ({e}); {_AGAIN}') from e


def grouped(
  rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
  """Returns rows by their values under some keys, in order of appearance."""
  groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in keys), []).append(row)
  return groups


def distinct_ends(paths: Iterable[str]) -> dict[str, str]:
  """Returns for each path its shortest end that no other has.

  `{'x/run/m': 'x/run/m', 'y/run/m': 'y/run/m', 'z/n': 'n'}`, for titles and for
  the rows of tables.

  Args:
    paths: Different ones.
  """
  parts = {
    path: _of(path, os.path.normpath, str).split(os.sep) for path in paths
  }

  def end(path, num):
    return os.sep.join(parts[path][-num:])

  ends = {}
  for path in parts:
    num = 1
    while num < len(parts[path]) and any(
      end(other, num) == end(path, num) for other in parts if other != path
    ):
      num += 1
    ends[path] = end(path, num)
  return ends


def claim_study(folder: str, settings: Mapping[str, Any]) -> dict[str, Any]:
  """Writes what a folder's study is of, or checks that it is this one.

  Returns it as it stands there, with the models of earlier calls.

  Args:
    folder: Of the study.
    settings: What decides about its numbers, JSON-like; where it has `models`
      by name, further ones may come.

  Raises:
    errors.InputError: If it holds another study.
  """
  path = os.path.join(folder, 'settings.json')
  settings = json.loads(json.dumps(settings))  # tuples become lists
  if exists(path):
    found = read_json(path)
    known, models = found.get('models', {}), settings.get('models', {})
    different = [
      key
      for key in settings
      if key != 'models' and found.get(key) != settings[key]
    ]
    if any(known.get(name, model) != model for name, model in models.items()):
      different.append('models')
    if different:
      raise errors.InputError(
        f'{folder} holds another study ({", ".join(different)} differ); '
        'remove it, or use another --workdir'
      )
    if models.keys() <= known.keys():
      return found
    settings['models'] = {**known, **models}
  make_folder(folder)
  write_json(path, settings)
  return settings
