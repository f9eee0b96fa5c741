"""A sweep's parts on disk: a file for a shard of clips under one attack.

It is written whole or not at all. A sweep that was stopped or killed goes on
with the files that are missing, on any number of devices and processes, to the
same tables.
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
  transforms,
)
from advspeech.sweep import fitting, judging, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.member import Member
from advspeech.sweep.settings import Settings, shard_size

logger = logging.getLogger(__name__)

# Clips read at a time, where they are on disk.
_DIGESTED = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
  """Everything a sweep is made of.

  Attributes:
    folder: Where its files go, `<workdir>/attack`.
    plan: In the order of the tables.
    members: Sources and targets.
    split: The clips attacked.
    attacks: By name.
    settings: Of the computation.
    fitting: Clips that universal perturbations are learnt on.
    num_passes: Over them.
  """

  folder: str
  plan: Sequence[planning.PlannedAttack]
  members: Sequence[Member]
  split: input_pipeline.Split
  attacks: dict[str, attacks.Attack]
  settings: Settings
  fitting: input_pipeline.Split
  num_passes: int


def run(sweep: Sweep) -> None:
  """Judges every (planned attack, shard) that is not judged yet.

  Raises:
    errors.InputError: If the folder holds another sweep's parts.
    preemption.Stopped: If a signal asked for it; what is judged stays.
  """
  shards = _shards(sweep)
  _claim(sweep, shards)
  found = levels(sweep)
  units = [(planned, rows) for planned in sweep.plan for rows in shards]
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
  ) as meter:
    for planned, rows in missing:
      preemption.check()
      judgements = judging.judge(
        planned,
        sweep.members,
        sweep.split,
        sweep.attacks[planned.attack],
        sweep.settings,
        rows=rows,
        levels=found,
        fitted=_fit(sweep, planned),
      )
      if parallel.is_lead():
        storage.write_arrays(
          _shard_path(sweep, planned, rows), judgements._asdict()
        )
      meter.update(planned.title(sweep.members))
  parallel.on_lead(lambda: None, f'{sweep.folder} is judged')


def judgements(
  sweep: Sweep, planned: planning.PlannedAttack
) -> judging.Judgements:
  """Returns a planned attack's verdicts on all clips, from disk."""
  parts = [
    storage.read_arrays(_shard_path(sweep, planned, rows))
    for rows in _shards(sweep)
  ]
  return judging.Judgements(
    **{
      key: np.concatenate([part[key] for part in parts], -1)
      for key in judging.Judgements._fields
    }
  )


def levels(sweep: Sweep) -> problem_lib.Levels:
  """Returns what the radii of all epsilons planned are taken from."""
  epsilons = [e for planned in sweep.plan for e in planned.epsilons]
  return problem_lib.levels(sweep.split.pcm, sweep.split.spans, epsilons)


def _shards(sweep):
  num_samples = sweep.split.pcm.shape[1]
  size = shard_size(sweep.members, num_samples, sweep.settings)
  num_clips = len(sweep.split)
  return [
    slice(start, min(start + size, num_clips))
    for start in range(0, num_clips, size)
  ]


def _path(sweep, planned, part):
  """Returns the file of a planned attack's part, named by its number.

  The manifest says which that is: the names of sources are paths, too long
  for a file's name and not unique once they are made fit for one.
  """
  name = f'attack-{sweep.plan.index(planned):04d}.{part}.npz'
  return os.path.join(sweep.folder, 'parts', name)


def _shard_path(sweep, planned, rows):
  return _path(sweep, planned, f'{rows.start:06d}-{rows.stop:06d}')


def _is_whole(path):
  """Returns whether a part is there; says so if it cannot be read."""
  if not storage.exists(path):
    return False
  try:
    storage.read_arrays(path)
  except errors.InputError:
    logger.warning('%s cannot be read; it is computed again', path)
    return False
  return True


def _claim(sweep, shards):
  """Writes the manifest, or holds the folder to it.

  Raises:
    errors.InputError: If the folder holds another sweep's work.
  """
  manifest = {
    'fingerprint': _fingerprint(sweep),
    'plan': [planned.describe(sweep.members) for planned in sweep.plan],
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
  settings = sweep.settings
  for planned in sweep.plan:
    # Not its functions, which have another address in every process.
    described = sweep.attacks[planned.attack]._replace(
      prepare=None, apply=None, learn=None
    )
    digest.update(repr((planned, described)).encode())
    if planned.transform:
      digest.update(transforms.make(planned.transform).digest.encode())
  digest.update(repr((settings.bounds, settings.repair)).encode())
  if settings.num_draws > 1 and any(p.adaptive for p in sweep.plan):
    digest.update(repr(settings.num_draws).encode())
  _add_clips(digest, sweep.split)
  if any(sweep.attacks[planned.attack].fitted for planned in sweep.plan):
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


def directions(
  sweep: Sweep, planned: planning.PlannedAttack
) -> np.ndarray | None:
  """Returns an attack's learnt directions, [num_epsilons, time], from disk.

  None for an attack that learns none.
  """
  if not sweep.attacks[planned.attack].fitted:
    return None
  return storage.read_arrays(_path(sweep, planned, 'directions'))['directions']


def _fit(sweep, planned):
  """Returns an attack's directions; learns and writes them where they lack."""
  path = _path(sweep, planned, 'directions')
  is_fitted = sweep.attacks[planned.attack].fitted
  if is_fitted and not parallel.agree(lambda: _is_whole(path)):
    learnt = fitting.fit_universal(
      planned,
      sweep.members[planned.source],
      sweep.fitting,
      sweep.attacks[planned.attack],
      sweep.settings,
      num_passes=sweep.num_passes,
    )
    parallel.on_lead(
      lambda: storage.write_arrays(path, {'directions': learnt}),
      f'{path} is written',
    )
  return directions(sweep, planned)
