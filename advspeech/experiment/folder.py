"""Whose a folder is: a key may change until a result depends on it."""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

from advspeech import (
  checkpoint,
  errors,
  ownership,
  parallel,
  paths,
  provenance,
  storage,
  studies,
)

logger = logging.getLogger(__name__)

# Of this machine, or a choice of stages: no result depends on them.
_LOCAL = (
  'studies',
  'data_dir',
  'corpus.folder',
  'corpus.manifest',
  'input.memory_budget_mb',
  'input.device_budget_mb',
  'training.save_every_s',
)
# Trained models say by themselves what they are: what is made of them depends
# on which they are, and on how they are attacked.
_OF_ATTACKS = ('models', 'seeds', 'source', 'sweep')


def claim(config: ml_collections.ConfigDict, run_paths: paths.RunPaths) -> None:
  """Writes `config.json`, or checks that the folder is this config's.

  It says what was run last. A page that shows an earlier config is removed
  until launch.report draws it again.

  Args:
    config: See configs/paper.py.
    run_paths: Of the run.

  Raises:
    errors.InputError: If a result in the folder depends on a key that has
      another value now, or no checkpoint could be read back from such a path.
  """
  checkpoint.check_path(run_paths.root)
  parallel.on_lead(
    lambda: _claim(config, run_paths),
    f'{run_paths.root} belongs to this config',
  )


def _claim(config, run_paths):
  if storage.exists(run_paths.config):
    ours = _flat(config.to_dict())
    theirs = _flat(storage.read_json(run_paths.config, ('sweep',)))
    changed = [
      key
      for key in sorted({*ours, *theirs})
      if ours.get(key) != theirs.get(key)
    ]
    if not changed:
      return
    in_the_way, keys = [], set()
    for path, depends_on in _results(config, run_paths):
      found = {key for key in changed if depends_on(key)}
      keys |= found
      in_the_way += [path] if found else []
    if in_the_way:
      changes = '; '.join(
        f'{key} is {theirs.get(key)!r} there and {ours.get(key)!r} now'
        for key in sorted(keys)
      )
      raise errors.InputError(
        f'{run_paths.root} belongs to another config ({changes}); use another '
        f'--workdir or remove {" and ".join(in_the_way)}'
      )
    remove_page(run_paths, 'shows an earlier config')
  storage.make_folder(run_paths.root)
  storage.write_json(run_paths.config, config.to_dict())


def _results(
  config: ml_collections.ConfigDict, run_paths: paths.RunPaths
) -> Iterator[tuple[str, Callable[[str], bool]]]:
  """Yields each result there is, and whether it depends on a key."""
  studied = storage.names(run_paths.studies)
  of_studies = {*studies.NAMES, *config.studies, *studied}

  def depends(key, but=()):
    head = key.split('.')[0]
    return key not in _LOCAL and head not in {*of_studies, *but}

  for path in _trainings(run_paths):
    yield path, functools.partial(depends, but=_OF_ATTACKS)
  if _has_results(run_paths.attack):
    yield run_paths.attack, depends
  for name in studied:
    if _has_results(run_paths.study(name)):
      yield (
        run_paths.study(name),
        lambda key, name=name: key.split('.')[0] == name or depends(key),
      )


def _has_results(folder):
  """Returns whether a folder holds more than who writes it, and when."""
  return bool({*storage.names(folder)} - {provenance.FILE, ownership.FILE})


def _trainings(run_paths):
  """Returns folders of models with a checkpoint, and of rates tried."""

  def listed(*parts):
    return storage.names(os.path.join(run_paths.root, *parts))

  found = [
    os.path.join(run_paths.root, name)
    for name in listed()
    if any(step[0].isdecimal() for step in listed(name, 'checkpoints'))
  ]
  if any(
    'checkpoints' in storage.names(os.path.join(run_paths.rates, name))
    for name in storage.names(run_paths.rates)
  ):
    found.append(run_paths.rates)
  return found


def remove_page(run_paths: paths.RunPaths, reason: str) -> None:
  """Removes a page that is about to show what is no longer so, and says why.

  Args:
    run_paths: Of the run.
    reason: What is wrong with it, a verb and its object.
  """
  if not storage.exists(run_paths.page):
    return
  storage.remove(run_paths.page)
  logger.info(
    '%s %s and is removed; python -m launch.report --workdir=%s draws it again',
    *(run_paths.page, reason, run_paths.root),
  )


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns a nested dict with dotted keys, tuples as JSON gives them back."""
  values = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      values.update(_flat(value, f'{prefix}{key}.'))
    else:
      values[prefix + key] = list(value) if isinstance(value, tuple) else value
  return values
