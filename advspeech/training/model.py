"""Which model is trained, and on whose front end."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import numpy as np
from jax import sharding

from advspeech import audio, checkpoint, errors, models, parallel, registry

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# What can be trained: the models, and one on the other's front end, as trained
# and frozen, to tell what a shared front end does to transfer.
_ON = '_on_'
NAMES = (*models.ALL_NAMES, f'wavernn{_ON}wavecnn')


def base_name(model_name: str) -> str:
  """Returns the architecture of a name: wavernn of wavernn_on_wavecnn."""
  other = frontend_of(model_name)
  return model_name.removesuffix(_ON + other) if other else model_name


def frontend_of(model_name: str) -> str:
  """Returns the model whose front end a name takes over; '' for its own."""
  return '' if registry.is_own(model_name) else model_name.partition(_ON)[2]


def describe(
  config: 'ml_collections.ConfigDict',
  model_name: str,
  seed: int,
  classes: Sequence[str],
  clip_samples: int,
  row_order: int = 0,
) -> dict[str, Any]:
  """Returns the metadata that a classifier's checkpoints carry.

  Args:
    config: See configs/paper.py.
    model_name: One of `NAMES`, or `package.module:Class`.
    seed: Of initialisation and of the order of clips.
    classes: Class names.
    clip_samples: Length of a clip.
    row_order: See `training.train_and_evaluate`.
  """
  shared = frontend_of(model_name)
  return {
    **({'frontend_of': shared} if shared else {}),
    'model': {
      'name': base_name(model_name),
      'num_classes': len(classes),
      **model_options(config, model_name),
    },
    'task': config.task,
    'classes': list(classes),
    'seed': seed,
    **({'row_order': row_order} if row_order else {}),
    'training': {
      key: value
      for key, value in config.training.to_dict().items()
      if key != 'save_every_s'
    },
    'clip_samples': clip_samples,
    'clip': config.clip.to_dict(),
    'sample_rate_hz': audio.SAMPLE_RATE_HZ,
  }


def model_options(
  config: 'ml_collections.ConfigDict', model_name: str
) -> dict[str, Any]:
  """Returns what a model is made with: `config.model`, or options of its own.

  JSON-like, as checkpoints carry it.
  """
  if not registry.is_own(model_name):
    return config.model.to_dict()
  options = config.model_options.to_dict()
  own = options.get(registry.short_name(model_name), {})
  return json.loads(json.dumps(own))  # tuples become lists


def check_frontend(
  workdir: str,
  variables: Mapping[str, Any],
  other: checkpoint.Classifier,
) -> None:
  """Raises errors.InputError unless a model has the front end of another.

  Args:
    workdir: Of the model on the other's front end, for the message.
    variables: Its parameters and running statistics.
    other: Whose front end it took over.
  """
  trees = _frontend(variables), _frontend(other.variables)
  same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), *trees)
  if not jax.tree.all(same):
    name, seed = other.metadata['model']['name'], other.metadata['seed']
    raise errors.InputError(
      f'{workdir} has another front end than {name} of seed {seed}, which was '
      f'trained anew since; remove {workdir} and train it again, or put the '
      f'earlier {name} back'
    )


def check_given(
  model_name: str, frontend: checkpoint.Classifier | None
) -> None:
  """Raises errors.InputError unless a front end that is needed is finished.

  Args:
    model_name: One of `NAMES`.
    frontend: The model whose front end would be taken over.
  """
  other = frontend_of(model_name)
  if other and not frontend:
    raise errors.InputError(
      f'{model_name} takes over the front end of a trained {other}, got none; '
      'give that as `frontend`'
    )
  if other and not frontend.finished:
    raise errors.InputError(
      f'{model_name} takes over the front end of a trained {other}, got one '
      f'in its epoch {frontend.epoch}, whose training has not ended; train it '
      'to its end first'
    )


def take_over(
  frontend: checkpoint.Classifier,
  variables: Mapping[str, Any],
  mesh: sharding.Mesh,
) -> dict[str, Any]:
  """Returns the variables of a new model with the front end of a trained one.

  Args:
    frontend: The trained model.
    variables: Of the new one.
    mesh: Where they are.
  """
  # A copy: what training steps are given they overwrite.
  taken = parallel.replicate(
    jax.device_get(_frontend(frontend.variables)), mesh
  )
  return {
    kind: {**tree, 'frontend': taken[kind]} for kind, tree in variables.items()
  }


def _frontend(variables):
  """Returns the part of a model's variables that is its front end."""
  return {kind: tree['frontend'] for kind, tree in variables.items()}


def make_model(
  training: Mapping[str, Any], metadata: Mapping[str, Any]
) -> nn.Module:
  """Returns the unbound module that is trained.

  Args:
    training: `config.training`.
    metadata: As `describe` gives it.
  """
  return models.create_model(
    **metadata['model'],
    precision=training['precision'],
    norm_axis='data',
    rematerialize=training['rematerialize'],
    freeze_frontend='frontend_of' in metadata,
  )
