"""JSON files: what one holds, or a sentence that says what is wrong with it."""

import json
from collections.abc import Sequence
from typing import Any

from advspeech import errors
from advspeech.storage import files
from advspeech.storage.files import PUT_BACK


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
    with files.opened(path) as file:
      value = json.load(file)
  except FileNotFoundError as e:
    raise errors.InputError(f'{path} is not there; {PUT_BACK}') from e
  except IsADirectoryError as e:
    raise errors.InputError(f'{path} is a folder; {PUT_BACK}') from e
  except ValueError as e:
    raise errors.InputError(f'{path} is no JSON ({e}); {PUT_BACK}') from e
  if not isinstance(value, kind):
    wanted = {dict: 'object', list: 'array'}[kind]
    raise errors.InputError(f'{path} holds no JSON {wanted}; {PUT_BACK}')
  if missing := [key for key in keys if key not in value]:
    raise errors.InputError(f'{path} lacks {", ".join(missing)}; {PUT_BACK}')
  return value


def write_json(path: str, value: Any) -> None:
  """Writes a value as JSON."""
  with files.replacing(path) as file:
    json.dump(value, file, indent=2)
