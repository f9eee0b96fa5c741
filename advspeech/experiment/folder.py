"""A run's folder: whose it is, and what in it is complete."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import ml_collections

from advspeech import (
  checkpoint,
  errors,
  ownership,
  parallel,
  provenance,
  registry,
  storage,
)

logger = logging.getLogger(__name__)

# Every model's folder tells by itself what it is.
_WHICH_MODELS = ('models', 'seeds', 'source')
# Of this machine, or of stages of their own: other results do not depend on it.
_LOCAL = (
  'studies',
  'gradients.num_clips',
  'gradients.num_studied',
  'data_dir',
  'corpus.folder',
  'corpus.manifest',
  'input.memory_budget_mb',
  'input.device_budget_mb',
  'training.save_every_s',
)
# The last table of each study, whose folder has its name.
STUDIES = {'gradients': 'summary.csv', 'features': 'budgets.csv'}


def classifier_dir(workdir: str, model_name: str, seed: int) -> str:
  """Returns the folder of one trained model inside a run's folder."""
  return os.path.join(workdir, f'{registry.short_name(model_name)}-seed{seed}')


def is_trained(workdir: str, model_name: str, seed: int) -> bool:
  """Returns whether a model was trained to its end."""
  folder = classifier_dir(workdir, model_name, seed)
  return exists(os.path.join(folder, 'summary.json'))


def check_trained(workdir: str, model_name: str, seed: int) -> None:
  """Raises errors.InputError unless a model was trained to its end."""
  if not is_trained(workdir, model_name, seed):
    raise errors.InputError(
      f'{classifier_dir(workdir, model_name, seed)} is not trained to its end; '
      f'run python -m launch.train --model={model_name} --seed={seed} with the '
      'same --config and --workdir first'
    )


def page_path(workdir: str) -> str:
  """Returns where a run's page is."""
  return os.path.join(workdir, 'report', 'index.html')


def remove_page(workdir: str, reason: str) -> None:
  """Removes a page that is about to show what is no longer so, and says why."""
  page = page_path(workdir)
  if not storage.exists(page):
    return
  storage.remove(page)
  logger.info(
    '%s %s and is removed; python -m launch.report --workdir=%s draws it again',
    *(page, reason, workdir),
  )


def exists(path: str) -> bool:
  """Returns whether the lead process finds a file; all know the same."""
  return parallel.agree(lambda: storage.exists(path))


def claim_workdir(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes `config.json`, or checks that the folder is this config's.

  It says what was run last: keys that no result in the folder depends on, such
  as another study, may change at any time, and the page, which shows the
  config, is then removed until launch.report draws it again.

  Until the first checkpoint is there the folder is any config's, and until the
  first attack what concerns the attack alone (`config.sweep`), models and seeds
  may change: what an error advises can be followed in the same folder.

  Raises:
    errors.InputError: If the folder holds results of another config, or no
      checkpoint could be read back from a path like its own.
  """
  checkpoint.check_path(workdir)
  parallel.on_lead(
    lambda: _claim(config, workdir), f'{workdir} belongs to this config'
  )


def _claim(config, workdir):
  path = os.path.join(workdir, 'config.json')
  if storage.exists(path):
    ours = _flat(config.to_dict())
    theirs = _flat(storage.read_json(path, ('sweep',)))
    keys = sorted({*ours, *theirs})
    changed = [key for key in keys if ours.get(key) != theirs.get(key)]
    if not changed:
      return
    different = [key for key in changed if key not in _LOCAL]
    attack = os.path.join(workdir, 'attack')
    only_sweep = all(
      key.startswith('sweep.') or key in _WHICH_MODELS for key in different
    )
    trained = _holds_checkpoints(workdir)
    attacked = {*storage.names(attack)} - {provenance.FILE, ownership.FILE}
    if different and (attacked or (trained and not only_sweep)):
      changes = '; '.join(
        f'{key} is {theirs.get(key)!r} there and {ours.get(key)!r} now'
        for key in different
      )
      what = f'{attack} to attack again' if only_sweep else 'that folder'
      raise errors.InputError(
        f'{workdir} belongs to another config ({changes}); use another '
        f'--workdir or remove {what}'
      )
    remove_page(workdir, 'shows an earlier config')
  storage.make_folder(workdir)
  storage.write_json(path, config.to_dict())


def _holds_checkpoints(workdir):
  """Returns whether a model has a checkpoint, or a rate was tried."""

  def listed(*parts):
    return storage.names(os.path.join(workdir, *parts))

  return any(
    step[0].isdecimal()
    for name in listed()
    for step in listed(name, 'checkpoints')
  ) or any(
    'checkpoints' in listed('lr_search', name) for name in listed('lr_search')
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
