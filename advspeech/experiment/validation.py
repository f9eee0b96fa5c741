"""Whether a config can be run, before any work is done."""

from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections
from jax import sharding

from advspeech import (
  audio,
  corpora,
  errors,
  models,
  parallel,
  sweep,
  tasks,
  train,
)
from advspeech.experiment.folder import STUDIES
from advspeech.models import frontend


def validate(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  check_choice('task', config.task, tasks.NAMES)
  check_choice('corpus.name', config.corpus.name, corpora.BUILDERS)
  check_choice('split.kind', config.split.kind, tasks.SPLIT_KINDS)
  check_choice('model.norm', config.model.norm, models.NORMS)
  check_choice('clip.pad', config.clip.pad, audio.PADS)
  check_choice('clip.cut', config.clip.cut, audio.CUTS)
  check_choice('clip.normalize', config.clip.normalize, audio.NORMALIZATIONS)
  _check_split(config)
  if not (config.models and config.seeds):
    raise errors.InputError(
      'config.models and config.seeds must name at least one each, got '
      f'{config.models} and {config.seeds}'
    )
  for name in config.models:
    check_choice('models', name, train.NAMES)
    other = train.frontend_of(name)
    if other and other not in config.models:
      raise errors.InputError(
        f'config.models names {name}, which needs {other} beside it, got '
        f'{config.models}; add {other}'
      )
  for section in ('training', 'sweep'):
    check_choice(
      f'{section}.precision', config[section].precision, models.PRECISIONS
    )
  check_choice('source', config.source, config.models)
  frame_samples = audio.SAMPLE_RATE_HZ * frontend.FRAME_MS // 1000
  if clip_samples(config) % frame_samples or config.clip_s <= 0:
    raise errors.InputError(
      f'config.clip_s must be whole frames of {frontend.FRAME_MS} ms, got '
      f'{config.clip_s} s; use a multiple of {frontend.FRAME_MS / 1000}'
    )
  if config.model.input_pool < 1 or frame_samples % config.model.input_pool:
    raise errors.InputError(
      'config.model.input_pool must divide a frame of '
      f'{frame_samples} samples, got {config.model.input_pool}'
    )
  for section, key in (
    ('model', 'features'),
    ('model', 'hidden_features'),
    ('training', 'num_epochs'),
    ('training', 'batch_size'),
    ('training', 'learning_rate'),
    ('training', 'decay_factor'),
    ('training', 'save_every_s'),
    ('sweep', 'batch_size'),
    ('sweep', 'memory_mb'),
    ('sweep', 'epsilon_devices'),
    ('lr_search', 'num_epochs'),
    ('lr_search', 'num_rounds'),
  ):
    if config[section][key] <= 0:
      raise errors.InputError(
        f'config.{section}.{key} must be positive, got {config[section][key]}'
      )
  for seed in config.seeds:
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
      raise errors.InputError(
        'config.seeds must be whole numbers from 0 to 2^32 - 1, got '
        f'{config.seeds}'
      )
  for key in ('models', 'seeds', 'studies', 'speakers'):
    errors.check_distinct(f'config.{key}', config[key])
  sweep.validate(config)
  num_clips = config.gradients.num_clips
  num_studied = config.gradients.num_studied
  if num_studied < 2 or (num_clips != -1 and num_clips < 2):
    raise errors.InputError(
      'config.gradients.num_studied and config.gradients.num_clips must be two '
      f'clips or more, or -1 for all of num_clips, got {num_studied} and '
      f'{num_clips}'
    )
  for name in config.studies:
    check_choice('studies', name, STUDIES)
  if not 0 < config.lr_search.low < config.lr_search.high:
    raise errors.InputError(
      'config.lr_search.low must be positive and below config.lr_search.high, '
      f'got {config.lr_search.low} and {config.lr_search.high}'
    )


def _check_split(config):
  """Raises errors.InputError at a split or a channel that cannot be."""
  kind = config.split.kind
  if config.task == 'speaker' and kind in tasks.DISJOINT_KINDS:
    raise errors.InputError(
      'the speaker task tests on the speakers it was trained on, which '
      f'config.split.kind={kind} rules out; use stratified'
    )
  if kind == 'leave_one_session_out' and not config.split.session:
    raise errors.InputError(
      'config.split.kind=leave_one_session_out needs the session to test on; '
      'name it, for example --config.split.session=5'
    )
  channels = config.corpus.channels
  if channels != 'mean' and not (channels.isascii() and channels.isdecimal()):
    raise errors.InputError(
      "config.corpus.channels must be 'mean' or the number of a channel, from "
      f'0, got {channels!r}'
    )
  if min(config.input.values()) < 0:
    raise errors.InputError(
      'config.input.memory_budget_mb and config.input.device_budget_mb must '
      f'not be negative, got {config.input.memory_budget_mb} and '
      f'{config.input.device_budget_mb}; 0 reads from disk and keeps no clip '
      'on the device'
    )


def check_devices(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError, before any work, if a batch cannot be split."""
  for mesh in training_meshes(config):
    parallel.check_batch_size(
      'config.training.batch_size', config.training.batch_size, mesh
    )
  parallel.check_batch_size(
    'config.sweep.batch_size',
    config.sweep.batch_size,
    parallel.make_mesh(config.sweep.epsilon_devices),
  )
  if 'gradients' in config.studies:
    parallel.check_batch_size(
      'config.sweep.batch_size (for the study of gradients)',
      config.sweep.batch_size,
      parallel.make_mesh(),
    )
  if 'features' in config.studies and parallel.is_distributed():
    raise errors.InputError(
      "config.studies names 'features', which is a study for one process, got "
      'several; leave it out, and run launch.features by itself afterwards'
    )


def training_meshes(
  config: ml_collections.ConfigDict,
) -> list[sharding.Mesh]:
  """Returns the devices of each training that goes on at a time.

  From the config alone, not from what is left to do: how many devices train a
  model decides about its last bits.
  """
  if not config.training.side_by_side:
    return [parallel.make_mesh()]
  return parallel.submeshes(len(config.models) * len(config.seeds))


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
  """Raises errors.InputError at a value that is none of the choices."""
  if value not in choices:
    raise errors.InputError(
      f'config.{key} must be one of {", ".join(choices)}, got {value!r}'
    )


def clip_samples(config: ml_collections.ConfigDict) -> int:
  """Returns a clip's length in samples."""
  return round(config.clip_s * audio.SAMPLE_RATE_HZ)


def check_clips(
  path: str, metadata: Mapping[str, Any], config: ml_collections.ConfigDict
) -> None:
  """Refuses a model that was trained on clips of another shape or level.

  Args:
    path: Of the model.
    metadata: Its own.
    config: Whose clips it is to judge.

  Raises:
    errors.InputError: If length, padding, cut or level differ.
  """
  found = {
    'clip_s': metadata['clip_samples'] / audio.SAMPLE_RATE_HZ,
    **{f'clip.{key}': value for key, value in metadata['clip'].items()},
  }
  expected = {
    'clip_s': clip_samples(config) / audio.SAMPLE_RATE_HZ,
    **{f'clip.{key}': value for key, value in config.clip.items()},
  }
  for key, value in expected.items():
    if found[key] != value:
      raise errors.InputError(
        f'{path} was trained with {key} {found[key]}, the config says {value}; '
        'name a model of the same clips'
      )
