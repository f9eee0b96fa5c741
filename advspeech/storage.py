"""JSON and tables on disk: written whole or not at all."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any


def read_json(path: str) -> Any:
  """Returns what a JSON file holds."""
  with open(path, encoding='utf-8') as file:
    return json.load(file)


def write_json(path: str, value: Any) -> None:
  """Writes a value as JSON."""
  with open(f'{path}.tmp', 'w', encoding='utf-8') as file:
    json.dump(value, file, indent=2)
  os.replace(f'{path}.tmp', path)


def write_table(
  path: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
  """Writes rows as CSV, floats to six digits."""
  with open(f'{path}.tmp', 'w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    for row in rows:
      writer.writerow({key: _cell(row[key]) for key in columns})
  os.replace(f'{path}.tmp', path)


def _cell(value):
  return f'{value:.6g}' if isinstance(value, float) else value


# Columns that are names, whatever they look like: '0001' is no number.
_NAMES = ('id', 'label', 'source', 'target', 'model', 'other')
_NAMES += ('prediction', 'clean_prediction', 'unperturbed_prediction')
_NAMES += ('prediction_float32', 'prediction_int16')


def read_table(path: str) -> list[dict[str, Any]]:
  """Returns a CSV file's rows, numbers as numbers but ids and classes."""
  with open(path, encoding='utf-8', newline='') as file:
    return [
      {
        key: value if key in _NAMES else _number(value)
        for key, value in row.items()
      }
      for row in csv.DictReader(file)
    ]


def _number(text):
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      continue
  return text


def grouped(
  rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
  """Returns rows by their values under some keys, in order of appearance."""
  groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in keys), []).append(row)
  return groups
