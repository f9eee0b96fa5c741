"""A sweep's work on disk: a file a (cell, shard), written whole or not at all.

A sweep that was stopped or killed goes on with the files that are missing, on
any number of devices and processes, to the same tables.
"""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Sequence

import jax
import numpy as np

from advspeech import (
  attacks,
  errors,
  input_pipeline,
  parallel,
  preemption,
  progress,
  storage,
)
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import engine, fitting

logger = logging.getLogger(__name__)

# Clips read at a time, where they are on disk.
_DIGESTED = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
  """Everything a sweep is made of.

  Attributes:
    folder: Where its files go, `<workdir>/attack`.
    cells: In the order of the tables.
    members: Sources and targets.
    split: The clips attacked.
    attacks: By name.
    settings: Of the computation.
    fitting: Clips that universal perturbations are learnt on.
    num_passes: Over them.
  """

  folder: str
  cells: Sequence[cells_lib.Cell]
  members: Sequence[cells_lib.Member]
  split: input_pipeline.Split
  attacks: dict[str, attacks.Attack]
  settings: engine.Settings
  fitting: input_pipeline.Split
  num_passes: int


def run(sweep: Sweep) -> None:
  """Judges every (cell, shard) that is not judged yet.

  Raises:
    errors.InputError: If the folder holds another sweep's work.
    preemption.Stopped: If a signal asked for it; what is judged is kept.
  """
  shards = _shards(sweep)
  _claim(sweep, shards)
  units = [(cell, rows) for cell in sweep.cells for rows in shards]
  missing = []
  for unit in units:
    path = _shard_path(sweep, *unit)
    if not parallel.agree(lambda path=path: _is_whole(path)):
      missing.append(unit)
  if len(missing) < len(units):
    logger.info(
      'attack: %d of %d parts are there', len(units) - len(missing), len(units)
    )
  with progress.Meter(
    'attacking',
    len(units),
    'part',
    done=len(units) - len(missing),
    shown=parallel.is_lead(),
  ) as told:
    for cell, rows in missing:
      preemption.check()
      judgements = engine.judge(
        cell,
        sweep.members,
        sweep.split,
        sweep.attacks[cell.attack],
        sweep.settings,
        rows=rows,
        fitted=fitted(sweep, cell),
      )
      if parallel.is_lead():
        storage.write_arrays(
          _shard_path(sweep, cell, rows), judgements._asdict()
        )
      told.update(cell.title(sweep.members))
  parallel.on_lead(lambda: None, f'{sweep.folder} is judged')


def judgements(sweep: Sweep, cell: cells_lib.Cell) -> engine.Judgements:
  """Returns a cell's verdicts on all clips, from disk."""
  preemption.check_alone()  # tables are made cell by cell
  parts = [
    storage.read_arrays(_shard_path(sweep, cell, rows))
    for rows in _shards(sweep)
  ]
  return engine.Judgements(
    **{
      key: np.concatenate([part[key] for part in parts], -1)
      for key in engine.Judgements._fields
    }
  )


def _shards(sweep):
  num_samples = sweep.split.pcm.shape[1]
  size = engine.shard_size(sweep.members, num_samples, sweep.settings)
  num_clips = len(sweep.split)
  return [
    slice(start, min(start + size, num_clips))
    for start in range(0, num_clips, size)
  ]


def _path(sweep, cell, part):
  """Returns the file of a cell's part, named by the cell's number.

  The manifest says which cell that is: the names of sources are paths, too long
  for a file's name and not unique once they are made fit for one.
  """
  name = f'cell-{sweep.cells.index(cell):04d}.{part}.npz'
  return os.path.join(sweep.folder, 'parts', name)


def _shard_path(sweep, cell, rows):
  return _path(sweep, cell, f'{rows.start:06d}-{rows.stop:06d}')


def _is_whole(path):
  """Returns whether a part is there; says so if it cannot be read."""
  if not storage.exists(path):
    return False
  try:
    storage.read_arrays(path)
  except errors.InputError:
    logger.warning('%s cannot be read; it is made again', path)
    return False
  return True


def _claim(sweep, shards):
  """Writes the manifest, or holds the folder to it.

  Raises:
    errors.InputError: If the folder holds another sweep's work.
  """
  manifest = {
    'fingerprint': _fingerprint(sweep),
    'cells': [cell.describe(sweep.members) for cell in sweep.cells],
    'shards': [[rows.start, rows.stop] for rows in shards],
  }

  def claim():
    path = os.path.join(sweep.folder, 'manifest.json')
    storage.make_folder(os.path.join(sweep.folder, 'parts'))
    if storage.exists(path) and storage.read_json(path) != manifest:
      raise errors.InputError(
        f'{sweep.folder} holds part of a sweep of other models, clips or '
        'settings; remove it to attack again'
      )
    storage.write_json(path, manifest)

  parallel.on_lead(claim, f'{sweep.folder} belongs to this sweep')


def _fingerprint(sweep):
  """Returns a digest of all that the judgements depend on."""
  digest = hashlib.sha256()
  settings, made = sweep.settings, sweep.attacks
  for cell in sweep.cells:
    # Not its functions, which have another address in every process.
    told = made[cell.attack]._replace(prepare=None, apply=None)
    digest.update(repr((cell, told)).encode())
  digest.update(repr((settings.bounds, settings.repair)).encode())
  _add_clips(digest, sweep.split)
  if any(made[cell.attack].fitted for cell in sweep.cells):
    digest.update(repr((sweep.num_passes, settings.batch_size)).encode())
    _add_clips(digest, sweep.fitting)
  for member in sweep.members:
    model = member.classifier.model  # its precision too
    digest.update(f'{member.name} {member.seed} {model!r}'.encode())
    digest.update(member.labels.tobytes())
    for leaf in jax.tree.leaves(member.classifier.variables):
      digest.update(np.asarray(leaf.addressable_data(0)).tobytes())
  return digest.hexdigest()


def _add_clips(digest, split):
  digest.update(json.dumps([str(x) for x in split.ids]).encode())
  for column in (split.spans, split.labels):
    digest.update(np.asarray(column, np.int64).tobytes())
  for i in range(0, len(split), _DIGESTED):
    digest.update(np.asarray(split.pcm[i : i + _DIGESTED]).tobytes())


def fitted(sweep, cell):
  """Returns a cell's learnt directions, [num_epsilons, time], or None."""
  if not sweep.attacks[cell.attack].fitted:
    return None
  path = _path(sweep, cell, 'directions')
  if not parallel.agree(lambda: _is_whole(path)):
    directions = fitting.fit_universal(
      cell,
      sweep.members[cell.source],
      sweep.fitting,
      sweep.attacks[cell.attack],
      sweep.settings,
      num_passes=sweep.num_passes,
    )
    parallel.on_lead(
      lambda: storage.write_arrays(path, {'directions': directions}),
      f'{path} is written',
    )
  return storage.read_arrays(path)['directions']
