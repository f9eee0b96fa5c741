"""One experiment: a config, a folder, and the stages between them.

prepare -> train -> attack -> report. Each stage is skipped when its output is
complete and resumed when it is not.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from advspeech import (
  audio,
  checkpoint,
  corpora,
  errors,
  input_pipeline,
  models,
  report,
  sweep,
  tasks,
  train,
)
from advspeech.models import frontend

logger = logging.getLogger(__name__)

# Where things lie on this machine; results do not depend on it.
_PATHS = ('data_dir', 'corpus.folder')


def validate(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  _check_choice('task', config.task, tasks.NAMES)
  _check_choice('corpus.name', config.corpus.name, corpora.BUILDERS)
  _check_choice('split.kind', config.split.kind, tasks.SPLIT_KINDS)
  _check_choice('model.norm', config.model.norm, models.NORMS)
  for name in config.models:
    _check_choice('models', name, models.NAMES)
  _check_choice('source', config.source, config.models)
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
  for key in ('num_epochs', 'batch_size', 'learning_rate', 'decay_factor'):
    if config.training[key] <= 0:
      raise errors.InputError(
        f'config.training.{key} must be positive, got {config.training[key]}'
      )
  if not config.seeds or not config.sweep.epsilons:
    raise errors.InputError(
      'config.seeds and config.sweep.epsilons must name at least one each, '
      f'got {tuple(config.seeds)} and {tuple(config.sweep.epsilons)}'
    )
  for epsilon in (*config.sweep.epsilons, config.sweep.example_epsilon):
    if not 0 <= epsilon <= 1:
      raise errors.InputError(
        f'an epsilon must lie in [0, 1] (the model hears [0, 1]), got '
        f'{epsilon}; the paper uses 0 to 0.032'
      )
  if not 0 < config.sweep.confidence < 1:
    raise errors.InputError(
      'config.sweep.confidence must lie between 0 and 1, got '
      f'{config.sweep.confidence}'
    )


def _check_choice(key, value, choices):
  if value not in choices:
    raise errors.InputError(
      f'config.{key} must be one of {", ".join(choices)}, got {value!r}'
    )


def clip_samples(config: ml_collections.ConfigDict) -> int:
  """Returns a clip's length in samples."""
  return round(config.clip_s * audio.SAMPLE_RATE_HZ)


def classifier_dir(workdir: str, model_name: str, seed: int) -> str:
  """Returns the folder of one trained model inside a run's folder."""
  return os.path.join(workdir, f'{model_name}-seed{seed}')


def claim_workdir(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes `config.json`, or checks that the folder is this config's.

  What concerns the attack alone (`config.sweep`) may change as long as the
  folder holds no attack: trained models need not be trained again for it.

  Raises:
    errors.InputError: If the folder belongs to another config.
  """
  path = os.path.join(workdir, 'config.json')
  ours = _flat(config.to_dict())
  if os.path.exists(path):
    theirs = _flat(read_json(path))
    different = [
      key
      for key in sorted({*ours, *theirs})
      if key not in _PATHS and ours.get(key) != theirs.get(key)
    ]
    if not different:
      return
    attack = os.path.join(workdir, 'attack')
    only_sweep = all(key.startswith('sweep.') for key in different)
    if os.path.exists(attack) or not only_sweep:
      raise errors.InputError(
        f'{workdir} belongs to another config ('
        + '; '.join(
          f'{key} is {theirs.get(key)!r} there and {ours.get(key)!r} now'
          for key in different
        )
        + '); use another --workdir or remove '
        + (f'{attack} to attack again' if only_sweep else 'that folder')
      )
  os.makedirs(workdir, exist_ok=True)
  with open(f'{path}.tmp', 'w', encoding='utf-8') as file:
    json.dump(config.to_dict(), file, indent=2)
  os.replace(f'{path}.tmp', path)


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns a nested dict with dotted keys, tuples as JSON gives them back."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(_flat(value, f'{prefix}{key}.'))
    else:
      flat[prefix + key] = list(value) if isinstance(value, tuple) else value
  return flat


def read_json(path: str) -> Any:
  """Returns what a JSON file holds."""
  with open(path, encoding='utf-8') as file:
    return json.load(file)


def prepare(config: ml_collections.ConfigDict, skip_bad: bool = False) -> str:
  """Prepares the corpus, unless it is; returns the data set's path.

  Args:
    config: See configs/paper.py.
    skip_bad: Leave bad recordings out instead of stopping at them.
  """
  validate(config)
  path = corpora.prepare(
    config.corpus.name,
    folder=config.corpus.folder,
    data_dir=config.data_dir,
    skip_bad=skip_bad,
  )
  logger.info('corpus %s: %s', config.corpus.name, path)
  return path


def _load(config):
  """Returns the task and its splits, and says what is in them."""
  corpus = corpora.read(
    config.corpus.name,
    num_samples=clip_samples(config),
    folder=config.corpus.folder,
    data_dir=config.data_dir,
  )
  task = tasks.select(
    config.task,
    speaker=corpus.speaker,
    sex=corpus.sex,
    emotion=corpus.emotion,
  )
  splits = input_pipeline.make_splits(
    corpus, task, config.split.kind, config.split.seed
  )
  for name, split in splits.items():
    counts = np.bincount(split.labels, minlength=len(task.classes))
    logger.info(
      '%s: %d clips (%s)',
      name,
      len(split),
      ', '.join(f'{n} {c}' for n, c in zip(counts, task.classes, strict=True)),
    )
  return task, splits


def run_training(
  config: ml_collections.ConfigDict,
  workdir: str,
  model_names: Sequence[str] | None = None,
  seeds: Sequence[int] | None = None,
) -> None:
  """Trains every model on every seed that is not trained yet.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    model_names: Only these of the config's models.
    seeds: Only these of the config's seeds.
  """
  validate(config)
  claim_workdir(config, workdir)
  missing = [
    (name, seed)
    for seed in (config.seeds if seeds is None else seeds)
    for name in (config.models if model_names is None else model_names)
    if not os.path.exists(
      os.path.join(classifier_dir(workdir, name, seed), 'summary.json')
    )
  ]
  if not missing:
    return
  task, splits = _load(config)
  for name, seed in missing:
    folder = classifier_dir(workdir, name, seed)
    os.makedirs(folder, exist_ok=True)
    summary = train.train_and_evaluate(
      config,
      folder,
      model_name=name,
      seed=seed,
      splits=splits,
      classes=task.classes,
    )
    logger.info(
      '%s seed %d: test accuracy %.3f (epoch %d)',
      name,
      seed,
      summary['test']['accuracy'],
      summary['best_epoch'],
    )


def run_attack(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Attacks the trained models; writes the tables and example clips.

  Each seed's judgements are kept in `attack/seed<k>.npz`, so that a run that
  was stopped goes on with the next seed.
  """
  validate(config)
  claim_workdir(config, workdir)
  folder = os.path.join(workdir, 'attack')
  table = os.path.join(folder, 'sweep.csv')
  if os.path.exists(table):
    return
  os.makedirs(folder, exist_ok=True)
  task, splits = _load(config)
  test = splits['test']
  rows, samples = [], []
  for seed in config.seeds:
    classifiers = {
      name: checkpoint.load_classifier(classifier_dir(workdir, name, seed))
      for name in config.models
    }
    judgements = _judgements(config, folder, seed, classifiers, test)
    rows += sweep.sweep_rows(
      config, seed, config.models, test.labels, judgements
    )
    samples += sweep.sample_rows(
      config, seed, config.models, test, task.classes, judgements
    )
    if seed == config.seeds[0]:
      examples = sweep.write_examples(
        os.path.join(folder, 'audio'), classifiers[config.source], test, config
      )
  with open(
    os.path.join(folder, 'examples.json'), 'w', encoding='utf-8'
  ) as file:
    json.dump(examples, file, indent=2)
  sweep.write_table(
    os.path.join(folder, 'samples.csv'), sweep.SAMPLE_COLUMNS, samples
  )
  sweep.write_table(table, sweep.SWEEP_COLUMNS, rows)


def _judgements(config, folder, seed, classifiers, split):
  """Returns a seed's judgements, from disk where they are complete."""
  path = os.path.join(folder, f'seed{seed}.npz')
  if not os.path.exists(path):
    judgements = sweep.judge(
      classifiers,
      config.source,
      split,
      config.sweep.epsilons,
      seed=seed,
      batch_size=config.sweep.batch_size,
      attack_padding=config.sweep.attack_padding,
      clip_to_range=config.sweep.clip_to_range,
    )
    with open(f'{path}.tmp', 'wb') as file:
      np.savez_compressed(file, ids=split.ids, **judgements._asdict())
    os.replace(f'{path}.tmp', path)
  with np.load(path) as arrays:
    return sweep.Judgements(
      *(arrays[name] for name in sweep.Judgements._fields)
    )


def run_report(workdir: str) -> str:
  """Draws the figures and the page from the tables; returns its path."""
  return report.write(workdir)


def reproduce(
  config: ml_collections.ConfigDict, workdir: str, skip_bad: bool = False
) -> str:
  """Runs every stage that is not complete; returns the page's path.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    skip_bad: Leave bad recordings out of the corpus.
  """
  validate(config)
  claim_workdir(config, workdir)
  page = os.path.join(workdir, 'report', 'index.html')
  table = os.path.join(workdir, 'attack', 'sweep.csv')
  if not (os.path.exists(page) and os.path.exists(table)):
    prepare(config, skip_bad)
    run_training(config, workdir)
    run_attack(config, workdir)
    run_report(workdir)
  return page
