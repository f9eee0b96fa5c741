"""Trained models, read from their checkpoints."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import audio, errors, models, parallel, storage
from advspeech.checkpoint import damage, manager, reading

logger = logging.getLogger(__name__)


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
    damages = damage.listed(damage.damages(damage.folder_of(workdir)))
    raise errors.InputError(
      f'{path} and the best whole checkpoint beside it are not of the same '
      f'training or epoch ({different}{"; " + damages if damages else ""}); '
      f'put {damage.folder_of(workdir)} back from a copy, or remove {workdir} '
      'and train again'
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
  manager.check_path(workdir)
  with storage.local_copy(damage.folder_of(workdir)) as folder:
    best = _best(workdir, folder)
    return _load(
      os.path.join(folder, best),
      os.path.join(damage.folder_of(workdir), best),
      expected,
      precision,
      mesh or parallel.make_mesh(),
    )


def _load(folder, shown, expected, precision, mesh):
  """Returns the classifier of a checkpoint; see `reading.restore_trees`."""
  metadata = reading.read_item(folder, 'metadata', 'metadata')
  model = models.create_model(**metadata['model'], precision=precision)
  like = parallel.abstract_replicated(
    lambda: model.init(
      jax.random.key(0),
      jnp.zeros((1, metadata['clip_samples'])),
      train=False,
    ),
    mesh,
  )
  trees = reading.restore_trees(
    folder, shown, expected or metadata, {'variables': like}
  )
  progress = reading.read_item(folder, 'progress', 'metadata')
  return Classifier(model, trees['variables'], metadata, progress['num_epochs'])


def _best(workdir, folder):
  """Returns the number of the best whole checkpoint, and warns of others.

  Args:
    workdir: Of the training.
    folder: Its checkpoints, here.
  """
  if not storage.is_folder(damage.folder_of(workdir)):
    raise errors.InputError(
      f'{workdir} holds no checkpoints; name the folder of a trained model, '
      'such as runs/quickstart/wavecnn-seed0'
    )
  shown, damages = damage.folder_of(workdir), damage.damages(folder)
  whole = [name for name, text in damages.items() if not text]
  ranks = {
    name: manager.rank(
      reading.read_item(damage.step_folder(folder, name), 'metrics', 'metrics')
    )
    for name in whole
  }
  ranks = {
    name: r for name, r in ranks.items() if r != manager.rank(manager.UNRANKED)
  }
  # What another process is about to save is no damage.
  listed = damage.listed(
    {k: v for k, v in damages.items() if v != damage.UNFINISHED}
  )
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
