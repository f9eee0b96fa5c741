"""What the values of a config must be, key by key."""

import re
from collections.abc import Iterable
from typing import Any

import ml_collections

from advspeech import errors, studies

# What the numbers of a config must be, as it is printed: whole or any, in an
# interval whose round ends are not in it, or one value besides.
NUMBERS = {
  'clip_s': '(0, 3600]',
  'split.seed': 'whole [0, 4294967295]',
  'input.memory_budget_mb': '[0, inf)',
  'input.device_budget_mb': '[0, inf)',
  'model.features': 'whole [1, 65536]',
  'model.hidden_features': 'whole [1, 65536]',
  'model.input_pool': 'whole [1, 640]',
  'model.input_gain': '(0, 1000000]',
  'model.norm_momentum': '[0, 1)',
  'model.forget_bias': '[-100, 100]',
  'training.batch_size': 'whole [1, 65536]',
  'training.num_epochs': 'whole [1, 1000000]',
  'training.learning_rate': '[1e-12, 1]',
  'training.decay_factor': '[1e-12, 1]',
  'training.save_every_s': '(0, inf)',
  'training.defence.clean_share': '[0, 1)',
  'training.defence.warmup_share': '[0, 1]',
  'training.defence.num_steps': 'whole [1, 1000]',
  'training.defence.trades_beta': '(0, 1000]',
  'lr_search.low': '[1e-12, 1]',
  'lr_search.high': '[1e-12, 1]',
  'lr_search.num_epochs': 'whole [1, 1000000]',
  'lr_search.num_rounds': 'whole [1, 20]',
  'sweep.num_clips': 'whole [1, inf) or -1',
  'sweep.transform_draws': 'whole [1, 1000]',
  'sweep.iterative.num_steps': 'whole [1, 1000000]',
  'sweep.iterative.num_restarts': 'whole [1, 1000000]',
  'sweep.iterative.num_queries': 'whole [1, 100000000]',
  'sweep.universal.num_clips': 'whole [1, inf)',
  'sweep.universal.num_passes': 'whole [1, 1000000]',
  'sweep.confidence': '(0, 1)',
  'sweep.batch_size': 'whole [1, 65536]',
  'sweep.memory_mb': '(0, inf)',
  'sweep.epsilon_devices': 'whole [1, 65536]',
  'sweep.num_examples': 'whole [0, inf) or -1',
  'sweep.num_quality_clips': 'whole [0, inf) or -1',
  **{
    f'{name}.{key}': allowed
    for name in studies.NAMES
    for key, allowed in studies.resolve(name).numbers.items()
  },
}
SWITCHES = (
  'model.center_input',
  'training.rematerialize',
  'training.side_by_side',
  'lr_search.enabled',
  'sweep.repair',
  'sweep.clip_to_range',
)
NAME_LISTS = (
  'air.attacks',
  'models',
  'classes',
  'studies',
  'gradients.checkpoints',
  'gradients.examples',
  'privacy.embedders',
  'privacy.solvers',
  'privacy.transforms',
  'privacy.filters',
  'queries.attacks',
  'substitute.arms',
  'substitute.attacks',
  'substitute.regimes',
  'substitute.transforms',
  'substitute.victims',
  'sweep.attacks',
  'sweep.checkpoints',
  'sweep.masks',
  'sweep.sources',
  'sweep.transform_attacks',
  'sweep.transforms',
  'sweep.victims',
  'verification.attacks',
  'verification.embedders',
)
TEXTS = (
  'air.epsilon',
  'air.transform',
  'corpus.folder',
  'corpus.manifest',
  'corpus.channels',
  'data_dir',
  'split.session',
  'training.augmentation',
  'training.defence.epsilon',
  'training.defence.name',
  'sweep.example_epsilon',
  'split.by',
  'gradients.split',
  'queries.epsilon',
  'queries.norm',
  'smoothing.mask',
  'substitute.corpus',
  'substitute.data_dir',
  'substitute.folder',
  'substitute.manifest',
  'substitute.model',
  'verification.speakers',
  'verification.trials',
)


def sections() -> set[str]:
  """Returns the names of a config's sections."""
  return {key.split('.')[0] for key in (*NUMBERS, *SWITCHES, *TEXTS)}


def check_values(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value of another type or range."""
  for key, allowed in NUMBERS.items():
    check_number(key, value_of(config, key), allowed)
  for keys, kind, what in (
    (SWITCHES, bool, 'True or False'),
    (TEXTS, str, 'text'),
  ):
    for key in keys:
      value = value_of(config, key)
      if not isinstance(value, kind):
        raise errors.InputError(f'config.{key} must be {what}, got {value!r}')
  for key in NAME_LISTS:
    names = value_of(config, key)
    for name in names if isinstance(names, tuple | list) else (names,):
      if not isinstance(name, str) or name is names:
        raise errors.InputError(
          f'config.{key} must be names, got {name!r}; write them as '
          f'"--config.{key}=(\'{name}\',)"'
        )


def value_of(config: ml_collections.ConfigDict, key: str) -> Any:
  """Returns the value of a dotted key."""
  for name in key.split('.'):
    if name not in config:
      raise errors.InputError(
        f'config.{key} is missing; begin with configs/paper.py, which has '
        'every key'
      )
    config = config[name]
  return config


def check_number(key: str, value: Any, allowed: str) -> None:
  """Raises errors.InputError at a number that is not as `NUMBERS` says."""
  whole, opening, low, high, closing, other = re.fullmatch(
    r'(whole )?([\[(])(.+), (.+)([\])])(?: or (.+))?', allowed
  ).groups()
  low, high = float(low), float(high)
  if (
    isinstance(value, bool)
    or not isinstance(value, int if whole else (int, float))
    or not (
      (low < value < high)
      or (value == low and opening == '[')
      or (value == high and closing == ']')
      or (other and value == float(other))
    )
  ):
    interval = allowed.removeprefix('whole ')
    raise errors.InputError(
      f'config.{key} must be a {whole or ""}number in {interval}, got {value!r}'
    )


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
  """Raises errors.InputError at a value that is none of the choices."""
  if value not in choices:
    raise errors.InputError(
      f'config.{key} must be one of {", ".join(choices)}, got {value!r}'
    )
