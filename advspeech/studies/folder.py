"""A study's folder: of which models, clips and settings it is, and its arrays.

`experiment.folder` holds a run to its config. A study may also be run from
Python, and the config does not say which models its paths lead to, how many
epochs they were trained, or which clips a data set holds.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from flax import traverse_util

from advspeech import errors, parallel, storage

Tree = dict[str, Any]


def claim(folder: str, settings: Mapping[str, Any]) -> dict[str, Any]:
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
  if storage.exists(path):
    found = storage.read_json(path)
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
  storage.make_folder(folder)
  storage.write_json(path, settings)
  return settings


def cached(path: str, make: Callable[[], Tree]) -> Tree:
  """Returns a tree of arrays from an .npz file, computed if it is missing."""
  if not parallel.agree(lambda: storage.exists(path)):
    tree = make()
    parallel.on_lead(
      lambda: storage.write_arrays(
        path, traverse_util.flatten_dict(tree, sep='/')
      ),
      f'{path} is written',
    )
  return read(path)


def read(path: str) -> Tree:
  """Returns a tree of arrays that `cached` wrote."""
  return traverse_util.unflatten_dict(storage.read_arrays(path), sep='/')


def tables_once(
  last: str, make: Callable[[], Any], write: Callable[[Any], None]
) -> None:
  """Makes what is found and writes its tables, unless the last one is there.

  Args:
    last: Path of the table that is written last.
    make: Returns what is found; called on every process.
    write: Writes the tables of it; called on one.
  """
  if parallel.agree(lambda: storage.exists(last)):
    return
  found = make()
  parallel.on_lead(lambda: write(found), f'{last} is written')
