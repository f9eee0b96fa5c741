"""Whether a config can be run, before any work is done."""

import re
from collections.abc import Sequence

import jax
import ml_collections
from jax import sharding

from advspeech import (
  audio,
  corpora,
  errors,
  holdout,
  models,
  parallel,
  registry,
  studies,
  sweep,
  tasks,
  training,
  transforms,
)
from advspeech.experiment import key_types
from advspeech.experiment.key_types import check_choice
from advspeech.models import frontend


def validate(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  key_types.check_values(config)
  check_choice('task', config.task, tasks.NAMES)
  check_choice('corpus.name', config.corpus.name, corpora.BUILDERS)
  check_choice('split.kind', config.split.kind, holdout.KINDS)
  check_choice('model.norm', config.model.norm, models.NORMS)
  check_choice('model.init', config.model.init, models.INITS)
  check_choice('model.gate_init', config.model.gate_init, models.GATE_INITS)
  check_choice('clip.pad', config.clip.pad, audio.PADS)
  check_choice('clip.cut', config.clip.cut, audio.CUTS)
  check_choice('clip.normalize', config.clip.normalize, audio.NORMALIZATIONS)
  _check_split(config)
  if not (config.models and config.seeds):
    raise errors.InputError(
      'config.models and config.seeds must name at least one each, got '
      f'{config.models} and {config.seeds}'
    )
  for section in ('training', 'sweep'):
    check_choice(
      f'{section}.precision', config[section].precision, models.PRECISIONS
    )
  _check_models(config)
  if config.training.augmentation:
    transforms.make(config.training.augmentation)
  training.defence.make(config.training.defence, num_steps=1)
  check_choice('source', config.source, config.models)
  for seed in config.seeds:
    if type(seed) is not int or not 0 <= seed < 2**32:
      raise errors.InputError(
        'config.seeds must be whole numbers from 0 to 2^32 - 1, got '
        f'{config.seeds}'
      )
  for key in ('models', 'seeds', 'studies', 'classes'):
    errors.check_distinct(f'config.{key}', config[key])
  sweep.validate(config)
  for name in dict.fromkeys((*studies.NAMES, *config.studies)):
    _check_study(config, name)
  for name in config.studies:
    studies.resolve(name).check_run(config)
  if config.lr_search.low >= config.lr_search.high:
    raise errors.InputError(
      'config.lr_search.low must be below config.lr_search.high, got '
      f'{config.lr_search.low} and {config.lr_search.high}'
    )


def _check_models(config):
  """Raises errors.InputError at a model that cannot be made, or not trained."""
  registry.check_short_names('config.models', config.models)
  own = [name for name in config.models if registry.is_own(name)]
  named = {registry.short_name(name) for name in own}
  for name in config.model_options:
    if name not in named:
      raise errors.InputError(
        'config.model_options must be by the names, in lower case, of your own '
        f'models in config.models, {", ".join(sorted(named)) or "none"}, got '
        f'{name!r}'
      )
  for name in config.models:
    if name in own:
      _check_own(config, name)
      continue
    registry.resolve('config.models', name, dict.fromkeys(training.NAMES))
    other = training.frontend_of(name)
    if other and other not in config.models:
      raise errors.InputError(
        f'config.models names {name}, which needs {other} beside it, got '
        f'{config.models}; add {other}'
      )
  if not clip_samples(config):
    raise errors.InputError(
      f'config.clip_s must be at least one sample, got {config.clip_s} s'
    )
  if len(own) < len(config.models):
    _check_frames(config)


def _check_own(config, name):
  """Raises errors.InputError at a model of the user's own that is none."""
  for section in ('training', 'sweep'):
    model = models.create_model(
      name,
      num_classes=2,
      **training.model_options(config, name),
      precision=config[section].precision,
    )
  models.check(name, model, clip_samples(config))


def _check_frames(config):
  """Raises errors.InputError where clips are no whole frames of Table 1."""
  frame_samples = audio.SAMPLE_RATE_HZ * frontend.FRAME_MS // 1000
  if clip_samples(config) % frame_samples:
    raise errors.InputError(
      f'config.clip_s must be whole frames of {frontend.FRAME_MS} ms, got '
      f'{config.clip_s} s; use a multiple of {frontend.FRAME_MS / 1000}'
    )
  if frame_samples % config.model.input_pool:
    raise errors.InputError(
      'config.model.input_pool must divide a frame of '
      f'{frame_samples} samples, got {config.model.input_pool}'
    )


def _check_study(config, name):
  """Raises errors.InputError at a study that is none, or its settings."""
  study = studies.resolve(name)
  if name not in studies.NAMES:
    taken = {*key_types.sections(), *key_types.NAME_LISTS}
    taken |= {'task', 'source', 'seeds', 'clip'}
    if not re.fullmatch('[a-z][a-z0-9_]*', study.name) or study.name in taken:
      raise errors.InputError(
        f'{name} has the name {study.name!r}, which must be small letters, '
        'digits and _, and no other key of the config; give it another'
      )
    for key, allowed in study.numbers.items():
      key = f'{study.name}.{key}'
      key_types.check_number(key, key_types.value_of(config, key), allowed)
  study.check(config)


def _check_split(config):
  """Raises errors.InputError at a split or a channel that cannot be."""
  kind = config.split.kind
  check_choice('split.by', config.split.by, tasks.GROUPS)
  is_disjoint = kind in holdout.DISJOINT_KINDS or (
    (kind, config.split.by) == ('group', 'speaker')
  )
  if config.task == 'speaker' and is_disjoint:
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
  for name in config.studies:
    studies.resolve(name).check_devices(config)


def training_meshes(
  config: ml_collections.ConfigDict,
  devices: Sequence[jax.Device] | None = None,
) -> list[sharding.Mesh]:
  """Returns the devices of each training that goes on at a time.

  From the config alone, not from what is left to do: how many devices train a
  model decides about its last bits.

  Args:
    config: See configs/paper.py.
    devices: All there are if None.
  """
  if not config.training.side_by_side:
    return [parallel.make_mesh(devices=devices)]
  return parallel.submeshes(len(config.models) * len(config.seeds), devices)


def clip_samples(config: ml_collections.ConfigDict) -> int:
  """Returns a clip's length in samples."""
  return round(config.clip_s * audio.SAMPLE_RATE_HZ)
