"""CSV tables that are read as they were written, or refused.

CSV has no types, and a table that is cut at the end of a line shows nothing:
`tables.json` beside the tables notes how many rows each has, and what its
columns are of. '0003' and '1e5' may be ids, and 'nan' a class.
"""

import contextlib
import csv
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any

from advspeech import errors
from advspeech.storage import files, json_files
from advspeech.storage.files import PUT_BACK

NOTES = 'tables.json'
_TYPES = {'text': str, 'integer': int, 'real': float}
# A text that began with one of these would be a formula to a spreadsheet; it
# gets the last of them in front.
_FORMULA = ('=', '+', '-', '@', '\t', '\r', "'")


def write_table(
  path: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
  """Writes rows as CSV, floats to six digits, and notes their types.

  Text that a spreadsheet would take for a formula has a single quote in front;
  `read_table` takes it off again.

  Args:
    path: Of the table.
    columns: Keys of the rows, in their order.
    rows: Text or numbers; '' in a column of either is no value.

  Raises:
    ValueError: If a column holds text and numbers, or something else.
  """
  note = {
    'rows': len(rows),
    'columns': {key: _type([row[key] for row in rows], key) for key in columns},
  }
  known = {}
  with contextlib.suppress(errors.InputError):  # it is written again
    known = _notes(path)
  # Killed before the second note, the table is the old or the new one.
  _write_notes(path, known, [*known.get(os.path.basename(path), []), note])
  with files.replacing(path, newline='') as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    for row in rows:
      writer.writerow({key: _text(row[key]) for key in columns})
  _write_notes(path, known, [note])


def _type(values, column):
  """Returns the name of a column's type; text if it holds nothing at all."""
  kinds = {_kind(value) for value in values} - {None}
  if kinds == {'integer', 'real'}:
    return 'real'
  if len(kinds) > 1:
    raise ValueError(
      f'column {column} holds {" and ".join(sorted(kinds))}; write one of them'
    )
  return kinds.pop() if kinds else 'text'


def _kind(value):
  """Returns the name of a value's type, None for no value."""
  if isinstance(value, str):
    return 'text' if value else None
  if isinstance(value, numbers.Real) and not isinstance(value, bool):
    return 'integer' if isinstance(value, numbers.Integral) else 'real'
  return type(value).__name__


def _text(value):
  """Returns what a value is in the file."""
  if isinstance(value, float):
    return f'{value:.6g}'
  if isinstance(value, str) and value.startswith(_FORMULA):
    return f"'{value}"
  return value


def _write_notes(path, known, notes):
  """Notes what a table may be, beside what is known of others."""
  beside = os.path.join(os.path.dirname(path), NOTES)
  json_files.write_json(beside, {**known, os.path.basename(path): notes})


def _notes(path):
  """Returns what each table beside one may be."""
  beside = os.path.join(os.path.dirname(path), NOTES)
  return json_files.read_json(beside) if files.exists(beside) else {}


def read_table(
  path: str, *, may_be_empty: bool = False
) -> list[dict[str, Any]]:
  """Returns a CSV file's rows, as `write_table` was given them.

  Args:
    path: Of the file.
    may_be_empty: Whether it may have no row below its header.

  Raises:
    errors.InputError: If it is not there or no text, has no header or no rows,
      a row has not a value for every column, rows are missing, or nothing is
      noted of it.
  """
  try:
    columns, rows = _read(path)
  except FileNotFoundError as e:
    raise errors.InputError(f'{path} is not there; {PUT_BACK}') from e
  except IsADirectoryError as e:
    raise errors.InputError(f'{path} is a folder; {PUT_BACK}') from e
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.InputError(f'{path} is no CSV ({e}); {PUT_BACK}') from e
  if not (rows or may_be_empty):
    raise errors.InputError(f'{path} has no rows; {PUT_BACK}')
  types = _noted_types(path, columns, len(rows))
  try:
    return [
      {
        key: _value(types[key], text)
        for key, text in zip(columns, row, strict=True)
      }
      for row in rows
    ]
  except ValueError as e:
    raise errors.InputError(
      f'{path} is not of the types that {NOTES} beside it notes ({e}); '
      f'{PUT_BACK}'
    ) from e


def _read(path):
  """Returns a table's columns, and the texts of each row."""
  with files.opened(path, newline='') as file:
    reader = csv.reader(file)
    columns = next(reader, [])
    if not columns:
      raise errors.InputError(f'{path} is empty; {PUT_BACK}')
    rows = []
    for row in reader:
      if len(row) != len(columns):
        raise errors.InputError(
          f'{path} line {reader.line_num} has {len(row)} values for '
          f'{len(columns)} columns; {PUT_BACK}'
        )
      rows.append(row)
    return columns, rows


def _noted_types(path, columns, num_rows):
  """Returns the types of a table's columns, by their names.

  Raises:
    errors.InputError: If it is not a table that is noted.
  """
  notes = _notes(path).get(os.path.basename(path), [])
  notes = [note for note in notes if [*note['columns']] == columns]
  if not notes:
    raise errors.InputError(
      f'{path} has columns that {NOTES} beside it does not note; {PUT_BACK}'
    )
  # The new table's note stands behind the old one's.
  for note in reversed(notes):
    if note['rows'] == num_rows:
      return {key: _TYPES[name] for key, name in note['columns'].items()}
  raise errors.InputError(
    f'{path} has {num_rows} rows where {notes[-1]["rows"]} were written; '
    f'{PUT_BACK}'
  )


def _value(kind, text):
  if kind is str:
    return text.removeprefix("'")
  return kind(text) if text else ''


def grouped(
  rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
  """Returns rows by their values under some keys, in order of appearance."""
  groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in keys), []).append(row)
  return groups
