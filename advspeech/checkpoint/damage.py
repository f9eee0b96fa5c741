"""Digests of checkpoints, and what is done with those that do not hold them."""

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping

from advspeech import buckets, errors, storage

logger = logging.getLogger(__name__)

DIGESTS = 'digests.json'
# Of a folder that is there while a step is saved, and holds what of that number
# is replaced. Orbax passes over its name.
SAVING = '.saving'
UNFINISHED = 'its save did not end'


def folder_of(workdir: str) -> str:
  """Returns where the checkpoints of a training are."""
  return storage.absolute(os.path.join(workdir, 'checkpoints'))


def step_folder(folder: str, step: int | str) -> str:
  """Returns where a checkpoint is."""
  return os.path.join(folder, str(step))


def numbered(folder: str, suffix: str = '') -> list[str]:
  """Returns what in a checkpoints folder is named by a number, ascending."""
  names = (n for n in storage.names(folder) if n.endswith(suffix))
  numbers = (n.removesuffix(suffix) for n in names)
  return sorted((n for n in numbers if n.isdecimal()), key=int)


def begin(path: str) -> None:
  """Marks a checkpoint as being saved; copies one that is to be replaced."""
  os.makedirs(path + SAVING, exist_ok=True)
  if os.path.isdir(path):
    shutil.copytree(path, replaced(path), dirs_exist_ok=True)


def replaced(path: str) -> str:
  """Returns where what a save replaces is kept until it has ended."""
  return os.path.join(path + SAVING, os.path.basename(path))


def _put_back(path):
  """Puts back what a save was to replace that did not end."""
  # A save that was killed at its very end has left a whole checkpoint, which
  # is the newer one.
  old = replaced(path)
  if os.path.isdir(old) and damage_of(path) and not damage_of(old):
    shutil.rmtree(path, ignore_errors=True)
    os.replace(old, path)
    logger.warning(
      '%s: saving it again did not end; as it was it is used', path
    )


def write_digests(folder: str) -> None:
  """Writes the digests of a checkpoint's files beside them."""
  paths = sorted(
    os.path.join(where, name)
    for where, _, names in os.walk(folder)
    for name in names
  )
  digests = {os.path.relpath(path, folder): _sha256(path) for path in paths}
  # With the step's number: the digests of a folder that was renamed, or put in
  # another's place, are right.
  sealed = {'step': os.path.basename(folder), 'files': digests}
  storage.write_json(os.path.join(folder, DIGESTS), sealed)


def _sha256(path):
  with storage.opened(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def damages(folder: str) -> dict[str, str]:
  """Returns what is wrong with each checkpoint of a folder, by its name."""
  return {
    name: damage_of(step_folder(folder, name)) for name in numbered(folder)
  }


def listed(damages: Mapping[str, str]) -> str:
  """Returns what is wrong, as text; '' if nothing."""
  return '; '.join(f'{name}: {text}' for name, text in damages.items() if text)


def damage_of(folder: str) -> str:
  """Returns what is wrong with a checkpoint, '' if nothing."""
  if not storage.exists(os.path.join(folder, DIGESTS)):
    # In a bucket they are sent last, and nothing else marks a step.
    saving = buckets.is_bucket(folder) or os.path.isdir(folder + SAVING)
    return UNFINISHED if saving else f'{DIGESTS} is missing'
  # The digests may be damaged as well: nothing of them is taken for granted.
  try:
    sealed = storage.read_json(os.path.join(folder, DIGESTS))
    step, items = sealed['step'], sorted(sealed['files'].items())
  except (ValueError, AttributeError, KeyError, TypeError):
    return f'{DIGESTS} was changed'
  if step != os.path.basename(folder):
    return f'it was saved as {step}'
  for name, digest in items:
    path = os.path.join(folder, name)
    try:
      found = _sha256(path)
    except errors.BucketError:
      raise
    except (OSError, ValueError) as e:
      if isinstance(e, OSError) and not errors.is_of_file(e):
        raise
      return f'{name} is missing'
    if found != digest:
      return f'{name} was changed'
  return '' if items else f'{DIGESTS} was changed'


def set_damaged_aside(workdir: str) -> None:
  """Moves what must not be read to `damaged`; logs what is used instead.

  Raises:
    errors.InputError: If no checkpoint that was there can be used.
  """
  folder = folder_of(workdir)
  saves = [os.path.join(folder, name) for name in numbered(folder, SAVING)]
  for path in saves:
    _put_back(path)
  found = damages(folder)
  good = [name for name, damage in found.items() if not damage]
  bad = {name: damage for name, damage in found.items() if damage}
  words = listed(found)
  if not good and {*bad.values()} - {UNFINISHED}:
    raise errors.InputError(
      f'{folder} holds no checkpoint that can be used ({words}); put them '
      f'back from a copy, or remove {folder} to train from the beginning'
    )
  for name in bad:
    storage.move_folder(
      step_folder(folder, name), os.path.join(workdir, 'damaged', name)
    )
  for path in saves:
    shutil.rmtree(path + SAVING)
  if bad:
    logger.warning(
      '%s: not usable, moved to damaged/ (%s); going on from %s',
      workdir,
      words,
      f'step {good[-1]}' if good else 'the beginning',
    )
