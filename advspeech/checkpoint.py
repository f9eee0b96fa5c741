"""Checkpoints: the last two and the best, resumed bit for bit, never trusted.

Arrays and JSON on disk (Orbax), never pickle. Orbax commits a step whole but
restores a flipped byte without a word, and takes any folder with a number for
a step: when a save has ended, its number and the SHA-256 of each of its files
are written beside them, and nothing is read that does not agree with them.

Of a run in a bucket Orbax sees a copy here, from which each step is sent once
it is whole, those digests last: it knows gs:// but not s3://, and there, too,
no more than that it wrote. What is restored is the copy that was checked.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from advspeech import audio, buckets, errors, models, parallel, storage

logger = logging.getLogger(__name__)

# Latest two, so that a damaged one leaves one to go back to.
_NUM_LATEST = 2
RANKING = ('validation_accuracy', 'validation_loss')
_DIGESTS = 'digests.json'
# Of a folder that is there while a step is saved, and holds what of that number
# is replaced. Orbax passes over its name.
_SAVING = '.saving'
_UNFINISHED = 'its save did not end'
# Of a state that was not validated; Orbax complains at each without metrics.
_UNRANKED = {'validation_accuracy': -1.0, 'validation_loss': 0.0}


# In a path Orbax reads the first four as a pattern, for which it finds nothing
# or a neighbour's files, a backslash as a slash, and gs:/ as a bucket.
_MISREAD = re.compile(r'[*?\[\]\\]|gs:/|://')


def check_path(workdir: str) -> None:
  """Raises errors.InputError at a folder that Orbax could not read back."""
  if buckets.is_bucket(workdir):
    return  # Orbax works on a copy here
  path = os.path.join(os.getcwd(), workdir)
  found = ' '.join(sorted(set(_MISREAD.findall(path))))
  if found:
    raise errors.InputError(
      f'{path} cannot hold checkpoints, because of {found} in it; use a '
      r'--workdir on a local path without * ? [ ] \ and gs:/'
    )


def rank(metrics: Mapping[str, float]) -> tuple[float, float]:
  """Returns the order of checkpoints: by accuracy, at a tie by lower loss."""
  accuracy, loss = RANKING
  return metrics[accuracy], -metrics[loss]


# Saves of one process tell each other of their folders through numbers that
# Orbax counts for the whole process: two at a time take each other's.
_one_save_at_a_time = threading.Semaphore()


class Checkpoints:
  """The checkpoints of one training run, for writing; a context manager.

  Opening sets damaged checkpoints aside, in `<workdir>/damaged`, and says so.
  Leaving the context waits for saves in flight: Orbax loses the last one
  otherwise.
  """

  def __init__(self, workdir: str):
    """Opens (and creates) `<workdir>/checkpoints`.

    Raises:
      errors.InputError: If there are checkpoints and all are damaged, or the
        path is one that Orbax misreads.
    """
    check_path(workdir)
    self._folder = _folder(workdir)
    parallel.on_lead(
      lambda: _set_damaged_aside(workdir),
      f'damaged checkpoints of {workdir} are set aside',
    )
    self._opened = contextlib.ExitStack()
    self._path = self._opened.enter_context(storage.local_copy(self._folder))
    self._is_copy = self._path != self._folder
    if self._is_copy:  # before the lead sends any more
      parallel.on_lead(lambda: None, f'all have what is in {self._folder}')
    self._manager = ocp.CheckpointManager(
      self._path,
      options=ocp.CheckpointManagerOptions(
        best_fn=rank,
        best_mode='max',
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
          [
            checkpoint_managers.LatestN(_NUM_LATEST),
            checkpoint_managers.BestN(get_metric_fn=rank, n=1),
          ]
        ),
        cleanup_tmp_directories=True,
        create=not self._is_copy,
        multiprocessing_options=_alone() if self._is_copy else _together(),
      ),
    )
    self._thread = concurrent.futures.ThreadPoolExecutor(1)
    self._sealing = None

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, kind, *exc_info):
    """Waits for saves in flight and closes."""
    try:
      self.wait()
    finally:
      self._thread.shutdown()
      self._manager.close()
      self._opened.close()
    if kind is None and self._is_copy:
      parallel.on_lead(lambda: None, f'{self._folder} is whole')

  def save(
    self,
    step: int,
    metadata: dict[str, Any],
    progress: dict[str, Any],
    metrics: Mapping[str, float] | None,
    **trees: Any,
  ) -> None:
    """Starts saving what training has reached after `step` steps.

    Args:
      step: Checkpoints are numbered by it; one of that number is replaced, and
        kept until the new one is whole.
      metadata: JSON-like description; `model` says what the arrays belong to.
      progress: JSON-like state of training that is in no array.
      metrics: The two of `RANKING`; None if this state was not validated.
      **trees: Named trees of arrays.
    """
    self.wait()
    path = _step_folder(self._path, step)
    if not self._is_copy:
      parallel.on_lead(lambda: _begin(path), f'step {step} can be saved')
    elif not parallel.is_lead():
      return  # all have the same arrays, and the lead sends them
    if step in self._manager.all_steps():
      self._manager.delete(step)
    if self._is_copy:
      trees = jax.tree.map(_on_host, trees)
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    items['metadata'] = ocp.args.JsonSave(metadata)
    items['progress'] = ocp.args.JsonSave(progress)
    _one_save_at_a_time.acquire()
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(**items),
        metrics=dict(metrics or _UNRANKED),
      )
    except BaseException:
      _one_save_at_a_time.release()
      raise
    self._sealing = self._thread.submit(self._seal, step)

  def _seal(self, step):
    try:
      self._manager.wait_until_finished()
    finally:
      _one_save_at_a_time.release()
    if parallel.is_lead():
      path = _step_folder(self._path, step)
      _write_digests(path)
      shutil.rmtree(path + _SAVING, ignore_errors=True)
    if self._is_copy:
      self._send(step)

  def _send(self, step):
    """Makes the bucket hold what is here, of which one step is new."""
    here, there = (_step_folder(x, step) for x in (self._path, self._folder))
    buckets.send(here, there, _DIGESTS)
    left = {str(step) for step in self._manager.all_steps()}
    for old in {*_names(self._folder)} - left:
      buckets.remove_tree(_step_folder(self._folder, old), _DIGESTS)

  def wait(self) -> None:
    """Waits for the save in flight; raises what went wrong in it."""
    sealing, self._sealing = self._sealing, None
    if sealing:
      sealing.result()

  @property
  def latest_step(self) -> int | None:
    """The last step saved, None if there is none."""
    return self._manager.latest_step()

  @property
  def best_step(self) -> int | None:
    """The best step by validation, None if there is none."""
    self.wait()
    best = self._manager.best_step()
    if best is None or self._manager.metrics(best) == _UNRANKED:
      return None
    return best

  @property
  def best_rank(self) -> tuple[float, float] | None:
    """The `rank` of the best step, None if there is none."""
    best = self.best_step
    return None if best is None else rank(self._manager.metrics(best))

  def progress(self, step: int) -> dict[str, Any]:
    """Returns the `progress` saved with `step`."""
    return _read(_step_folder(self._path, step), 'progress', 'metadata')

  def restore(
    self, step: int, metadata: Mapping[str, Any], **like: Any
  ) -> dict[str, Any]:
    """Returns saved trees by name, placed as their templates say.

    Args:
      step: Which checkpoint.
      metadata: What it must have been saved with.
      **like: For each tree wanted, a tree of arrays or
        jax.ShapeDtypeStruct with shardings.

    Raises:
      errors.InputError: If the checkpoint is another model's.
    """
    here, there = (_step_folder(x, step) for x in (self._path, self._folder))
    return _restore(here, there, metadata, like)


def _folder(workdir):
  return storage.absolute(os.path.join(workdir, 'checkpoints'))


def _step_folder(folder, step):
  return os.path.join(folder, str(step))


def _together():
  """Returns what makes Orbax save by all processes, in one folder."""
  return ocp.options.MultiprocessingOptions()


def _alone():
  """Returns what makes Orbax save and restore by this process alone."""
  if not parallel.is_distributed():
    return _together()
  this = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=this,
    active_processes={this},
    barrier_sync_key_prefix=f'process-{this}',
  )


def _on_host(array):
  """Returns an array that every device has a copy of, from one of them."""
  return np.asarray(array.addressable_data(0))


def _restore(folder, shown, metadata, like):
  """Returns the trees of a checkpoint; see `Checkpoints.restore`.

  Args:
    folder: Where it lies here.
    shown: Where it really lies.
    metadata: What it must have been saved with.
    like: A template for each tree.
  """
  _check(shown, _read(folder, 'metadata', 'metadata'), metadata)
  with ocp.StandardCheckpointer(
    multiprocessing_options=_together() if shown == folder else _alone()
  ) as checkpointer:
    return {
      name: checkpointer.restore(os.path.join(folder, name), tree)
      for name, tree in like.items()
    }


def _read(folder, item, name):
  """Returns one of the JSON files of a checkpoint."""
  return storage.read_json(os.path.join(folder, item, name))


def _names(folder, suffix=''):
  """Returns what in a checkpoints folder is named by a number, ascending."""
  names = (n for n in storage.names(folder) if n.endswith(suffix))
  numbers = (n.removesuffix(suffix) for n in names)
  return sorted((n for n in numbers if n.isdecimal()), key=int)


def _begin(path):
  """Marks a checkpoint as being saved; copies one that is to be replaced."""
  os.makedirs(path + _SAVING, exist_ok=True)
  if os.path.isdir(path):
    shutil.copytree(path, _replaced(path), dirs_exist_ok=True)


def _replaced(path):
  """Returns where what a save replaces is kept until it has ended."""
  return os.path.join(path + _SAVING, os.path.basename(path))


def _put_back(path):
  """Puts back what a save was to replace that did not end."""
  old = _replaced(path)
  if os.path.isdir(old) and _damage(path) and not _damage(old):
    shutil.rmtree(path, ignore_errors=True)
    os.replace(old, path)
    logger.warning(
      '%s: saving it again did not end; as it was it is used', path
    )


def _write_digests(folder):
  paths = sorted(
    os.path.join(where, name)
    for where, _, names in os.walk(folder)
    for name in names
  )
  digests = {os.path.relpath(path, folder): _sha256(path) for path in paths}
  sealed = {'step': os.path.basename(folder), 'files': digests}
  storage.write_json(os.path.join(folder, _DIGESTS), sealed)


def _sha256(path):
  with storage.opened(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _damages(folder):
  """Returns what is wrong with each checkpoint of a folder, by its name."""
  return {name: _damage(_step_folder(folder, name)) for name in _names(folder)}


def _listed(damages):
  """Returns what is wrong, as text; '' if nothing."""
  return '; '.join(f'{name}: {text}' for name, text in damages.items() if text)


def _damage(folder):
  """Returns what is wrong with a checkpoint, '' if nothing."""
  if not storage.exists(os.path.join(folder, _DIGESTS)):
    # In a bucket they are sent last, and nothing else marks a step.
    saving = buckets.is_bucket(folder) or os.path.isdir(folder + _SAVING)
    return _UNFINISHED if saving else f'{_DIGESTS} is missing'
  try:
    sealed = storage.read_json(os.path.join(folder, _DIGESTS))
    step, items = sealed['step'], sorted(sealed['files'].items())
  except (ValueError, AttributeError, KeyError, TypeError):
    return f'{_DIGESTS} was changed'
  if step != os.path.basename(folder):
    return f'it was saved as {step}'
  for name, digest in items:
    path = os.path.join(folder, name)
    try:
      found = _sha256(path)
    except errors.BucketError:
      raise
    except (OSError, ValueError):
      return f'{name} is missing'
    if found != digest:
      return f'{name} was changed'
  return '' if items else f'{_DIGESTS} was changed'


def _set_damaged_aside(workdir):
  """Moves what must not be read to `damaged`; says what is used instead."""
  folder = _folder(workdir)
  saves = [os.path.join(folder, name) for name in _names(folder, _SAVING)]
  for path in saves:
    _put_back(path)
  found = _damages(folder)
  good = [name for name, damage in found.items() if not damage]
  bad = {name: damage for name, damage in found.items() if damage}
  listed = _listed(found)
  if not good and {*bad.values()} - {_UNFINISHED}:
    raise errors.InputError(
      f'{folder} holds no checkpoint that can be used ({listed}); put them '
      f'back from a copy, or remove {folder} to train from the beginning'
    )
  for name in bad:
    storage.move_folder(
      _step_folder(folder, name), os.path.join(workdir, 'damaged', name)
    )
  for path in saves:
    shutil.rmtree(path + _SAVING)
  if bad:
    logger.warning(
      '%s: not usable, moved to damaged/ (%s); going on from %s',
      workdir,
      listed,
      f'step {good[-1]}' if good else 'the beginning',
    )


def _check(path, found, expected):
  """Raises errors.InputError unless a checkpoint is the one expected."""
  found, expected = (
    {**x, **x['model'], **x.get('training', {})} for x in (found, expected)
  )
  different = ', '.join(
    f'{key}={found.get(key)!r} where {expected.get(key)!r} is expected'
    for key in sorted({*found, *expected} - {'model', 'training'})
    if found.get(key) != expected.get(key)
  )
  if different:
    raise errors.InputError(
      f'{path} holds a checkpoint of another model, {different}; use another '
      '--workdir or remove it'
    )


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained model.

  Attributes:
    model: Linen module; `model.apply(variables, audio, train=False)`.
    variables: Its parameters and running statistics.
    metadata: What it is: `model`, `classes`, `task`, `seed`, `clip_samples`,
      and `clip`, how recordings become clips (`audio.ClipShape`).
    epoch: Epochs of training done when it was saved.
    finished: Whether it was trained to its end.
  """

  model: nn.Module
  variables: dict[str, Any]
  metadata: dict[str, Any]
  epoch: int
  finished: bool = True

  @property
  def logits_fn(self) -> Callable[[jax.Array], jax.Array]:
    """Maps audio [batch, time] in [0, 1] to logits [batch, num_classes]."""
    return lambda audio: self.model.apply(self.variables, audio, train=False)


def load_classifier(
  workdir: str,
  expected: Mapping[str, Any] | None = None,
  *,
  precision: str = 'float32',
  mesh: jax.sharding.Mesh | None = None,
) -> Classifier:
  """Returns the best classifier of a training run, replicated on all devices.

  Of a training that has not ended it is the best so far, with a warning.

  Args:
    workdir: The folder of one model, such as `runs/quickstart/wavecnn-seed0`.
    expected: Metadata it must have been saved with; None for any.
    precision: Of its computation, one of `models.PRECISIONS`, whatever it was
      trained in.
    mesh: Devices that hold a copy; all if None.

  Raises:
    errors.InputError: If the folder holds no whole checkpoint, another model's,
      or the best whole one is not the one that `summary.json` is of: of
      another training, another epoch or other parameters.
  """
  classifier = load_best(workdir, expected, precision=precision, mesh=mesh)
  path = os.path.join(workdir, 'summary.json')
  if not storage.exists(path):
    logger.warning(
      '%s is not trained to its end; its best epoch so far, %d, is used',
      workdir,
      classifier.epoch,
    )
    return dataclasses.replace(classifier, finished=False)
  summary = storage.read_json(path)
  described = {
    **classifier.metadata,
    'best_epoch': classifier.epoch,
    'variables_sha256': variables_sha256(classifier.variables),
  }
  different = ', '.join(
    f'{key} {summary.get(key)!r} and {value!r}'
    for key, value in described.items()
    if summary.get(key) != value
  )
  if different:
    damages = _listed(_damages(_folder(workdir)))
    raise errors.InputError(
      f'{path} and the best whole checkpoint beside it are not of the same '
      f'training or epoch ({different}{"; " + damages if damages else ""}); '
      f'put {_folder(workdir)} back from a copy, or remove {workdir} and train '
      'again'
    )
  return classifier


def variables_sha256(variables: Mapping[str, Any]) -> str:
  """Returns the SHA-256 of a model's parameters and running statistics."""
  digest = hashlib.sha256()
  for path, value in jax.tree.leaves_with_path(jax.device_get(variables)):
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {value.dtype} {value.shape} '.encode())
    digest.update(value.tobytes())
  return digest.hexdigest()


def load_best(
  workdir: str,
  expected: Mapping[str, Any] | None = None,
  *,
  precision: str = 'float32',
  mesh: jax.sharding.Mesh | None = None,
) -> Classifier:
  """Returns the best of the checkpoints, whatever `summary.json` says.

  Takes and raises what `load_classifier` does.
  """
  check_path(workdir)
  with storage.local_copy(_folder(workdir)) as folder:
    best = _best(workdir, folder)
    return _load(
      os.path.join(folder, best),
      os.path.join(_folder(workdir), best),
      expected,
      precision,
      mesh or parallel.make_mesh(),
    )


def _load(folder, shown, expected, precision, mesh):
  """Returns the classifier of a checkpoint; see `_restore` for `shown`."""
  metadata = _read(folder, 'metadata', 'metadata')
  model = models.create_model(**metadata['model'], precision=precision)
  like = parallel.abstract_replicated(
    lambda: model.init(
      jax.random.key(0),
      jnp.zeros((1, metadata['clip_samples'])),
      train=False,
    ),
    mesh,
  )
  trees = _restore(folder, shown, expected or metadata, {'variables': like})
  progress = _read(folder, 'progress', 'metadata')
  return Classifier(model, trees['variables'], metadata, progress['num_epochs'])


def _best(workdir, folder):
  """Returns the number of the best whole checkpoint, and warns of others.

  Args:
    workdir: Of the training.
    folder: Its checkpoints, here.
  """
  if not storage.is_folder(_folder(workdir)):
    raise errors.InputError(
      f'{workdir} holds no checkpoints; name the folder of a trained model, '
      'such as runs/quickstart/wavecnn-seed0'
    )
  shown, damages = _folder(workdir), _damages(folder)
  whole = [name for name, text in damages.items() if not text]
  ranks = {
    name: rank(_read(_step_folder(folder, name), 'metrics', 'metrics'))
    for name in whole
  }
  ranks = {name: r for name, r in ranks.items() if r != rank(_UNRANKED)}
  # What another process is about to save is no damage.
  listed = _listed({k: v for k, v in damages.items() if v != _UNFINISHED})
  if not ranks:
    raise errors.InputError(
      f'{shown} holds no checkpoint that can be used ({listed}); put them '
      f'back from a copy, or remove {workdir} and train again'
      if listed
      else f'{workdir} holds no finished checkpoint; train it first'
    )
  best = max(ranks, key=ranks.get)
  if listed:
    logger.warning(
      '%s: not usable (%s); %s is whole and is used',
      shown,
      listed,
      best,
    )
  return best


def check_clips(
  path: str, metadata: Mapping[str, Any], *, clip_s: float, clip: Any
) -> None:
  """Refuses a model that was trained on clips of another shape or level.

  Args:
    path: Of the model.
    metadata: Its own.
    clip_s: Length of the clips that it is to judge.
    clip: `config.clip` of these.

  Raises:
    errors.InputError: If length, padding, cut or level differ.
  """
  found = {
    'clip_s': metadata['clip_samples'] / audio.SAMPLE_RATE_HZ,
    **{f'clip.{key}': value for key, value in metadata['clip'].items()},
  }
  expected = {
    'clip_s': round(clip_s * audio.SAMPLE_RATE_HZ) / audio.SAMPLE_RATE_HZ,
    **{f'clip.{key}': value for key, value in clip.items()},
  }
  for key, value in expected.items():
    if found[key] != value:
      raise errors.InputError(
        f'{path} was trained with {key} {found[key]}, the config says {value}; '
        'name a model of the same clips'
      )
