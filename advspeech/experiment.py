"""One experiment: a config, a folder, and the stages between them.

prepare -> train -> attack -> report. Each stage is skipped when its output is
complete and resumed when it is not.
"""

import glob
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
  figures,
  gradient_figures,
  gradient_tables,
  input_pipeline,
  lr_search,
  models,
  parallel,
  preemption,
  report,
  side_by_side,
  storage,
  sweep,
  tasks,
  train,
)
from advspeech.models import frontend

logger = logging.getLogger(__name__)

# Of this machine; results do not depend on it.
_LOCAL = ('data_dir', 'corpus.folder', 'training.save_every_s')


def validate(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  _check_choice('task', config.task, tasks.NAMES)
  _check_choice('corpus.name', config.corpus.name, corpora.BUILDERS)
  _check_choice('split.kind', config.split.kind, tasks.SPLIT_KINDS)
  _check_choice('model.norm', config.model.norm, models.NORMS)
  if not (config.models and config.seeds and config.sweep.epsilons):
    raise errors.InputError(
      'config.models, config.seeds and config.sweep.epsilons must name at '
      f'least one each, got {config.models}, {config.seeds} and '
      f'{config.sweep.epsilons}'
    )
  for name in config.models:
    _check_choice('models', name, models.ALL_NAMES)
  for section in ('training', 'sweep'):
    _check_choice(
      f'{section}.precision', config[section].precision, models.PRECISIONS
    )
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
  for section, key in (
    ('model', 'features'),
    ('model', 'hidden_features'),
    ('training', 'num_epochs'),
    ('training', 'batch_size'),
    ('training', 'learning_rate'),
    ('training', 'decay_factor'),
    ('training', 'save_every_s'),
    ('sweep', 'batch_size'),
    ('sweep', 'epsilon_devices'),
    ('lr_search', 'num_epochs'),
    ('lr_search', 'num_rounds'),
  ):
    if config[section][key] <= 0:
      raise errors.InputError(
        f'config.{section}.{key} must be positive, got {config[section][key]}'
      )
  if min(config.seeds) < 0 or config.sweep.num_examples < 0:
    raise errors.InputError(
      'config.seeds and config.sweep.num_examples must not be negative, got '
      f'{config.seeds} and {config.sweep.num_examples}'
    )
  for epsilon in (*config.sweep.epsilons, config.sweep.example_epsilon):
    if not 0 <= epsilon <= 1:
      raise errors.InputError(
        f'an epsilon must lie in [0, 1] (the model hears [0, 1]), got '
        f'{epsilon}; the paper uses 0 to 0.032'
      )
  if not 0 < config.lr_search.low < config.lr_search.high:
    raise errors.InputError(
      'config.lr_search.low must be positive and below config.lr_search.high, '
      f'got {config.lr_search.low} and {config.lr_search.high}'
    )
  if not 0 < config.sweep.confidence < 1:
    raise errors.InputError(
      'config.sweep.confidence must lie between 0 and 1, got '
      f'{config.sweep.confidence}'
    )


def _check_devices(config):
  """Raises errors.InputError, before any work, if a batch cannot be split."""
  for mesh in _training_meshes(config):
    parallel.check_batch_size(
      'config.training.batch_size', config.training.batch_size, mesh
    )
  parallel.check_batch_size(
    'config.sweep.batch_size',
    config.sweep.batch_size,
    parallel.make_mesh(config.sweep.epsilon_devices),
  )


def _training_meshes(config):
  """Returns the devices of each training that goes on at a time.

  From the config alone, not from what is left to do: how many devices train a
  model decides about its last bits.
  """
  if not config.training.side_by_side:
    return [parallel.make_mesh()]
  return parallel.submeshes(len(config.models) * len(config.seeds))


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


def _is_trained(workdir, model_name, seed):
  folder = classifier_dir(workdir, model_name, seed)
  return _exists(os.path.join(folder, 'summary.json'))


def _exists(path):
  return parallel.agree(lambda: os.path.exists(path))


def claim_workdir(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes `config.json`, or checks that the folder is this config's.

  Until the first checkpoint is there the folder is any config's, and until the
  first attack what concerns the attack alone (`config.sweep`) may change: what
  an error advises can be followed in the same folder.

  Raises:
    errors.InputError: If the folder holds results of another config.
  """
  parallel.on_lead(
    lambda: _claim(config, workdir), f'{workdir} belongs to this config'
  )


def _claim(config, workdir):
  path = os.path.join(workdir, 'config.json')
  if os.path.exists(path):
    ours, theirs = _flat(config.to_dict()), _flat(storage.read_json(path))
    different = [
      key
      for key in sorted({*ours, *theirs})
      if key not in _LOCAL and ours.get(key) != theirs.get(key)
    ]
    if not different:
      return
    attack = os.path.join(workdir, 'attack')
    only_sweep = all(key.startswith('sweep.') for key in different)
    trained = [
      *glob.glob(os.path.join(workdir, '*', 'checkpoints', '[0-9]*')),
      *glob.glob(os.path.join(workdir, 'lr_search', '*', 'checkpoints')),
    ]
    attacked = os.path.isdir(attack) and os.listdir(attack)
    if attacked or (trained and not only_sweep):
      changes = '; '.join(
        f'{key} is {theirs.get(key)!r} there and {ours.get(key)!r} now'
        for key in different
      )
      what = f'{attack} to attack again' if only_sweep else 'that folder'
      raise errors.InputError(
        f'{workdir} belongs to another config ({changes}); use another '
        f'--workdir or remove {what}'
      )
  os.makedirs(workdir, exist_ok=True)
  storage.write_json(path, config.to_dict())


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns a nested dict with dotted keys, tuples as JSON gives them back."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(_flat(value, f'{prefix}{key}.'))
    else:
      flat[prefix + key] = list(value) if isinstance(value, tuple) else value
  return flat


def prepare(config: ml_collections.ConfigDict, skip_bad: bool = False) -> str:
  """Prepares the corpus, unless it is; returns the data set's path.

  Args:
    config: See configs/paper.py.
    skip_bad: Leave bad recordings out instead of stopping at them.
  """
  validate(config)

  def prepare_corpus():
    return corpora.prepare(
      config.corpus.name,
      folder=config.corpus.folder,
      data_dir=config.data_dir,
      skip_bad=skip_bad,
    )

  # Process 0 prepares, the others then find it prepared.
  parallel.on_lead(prepare_corpus, 'the corpus is prepared')
  path = prepare_corpus()
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
    speakers=config.speakers,
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


def run_lr_search(
  config: ml_collections.ConfigDict,
  workdir: str,
  model_names: Sequence[str] | None = None,
) -> dict[str, float]:
  """Searches each model's learning rate; returns them by model.

  Beside the probes `lr_search/` then holds a table and a figure a model, and
  `<model>.json`, which `run_training` goes by where `config.lr_search.enabled`.

  Args:
    config: See configs/paper.py.
    workdir: The run's folder.
    model_names: Only these of the config's models.
  """
  validate(config)
  for name in model_names or ():
    _check_choice('models', name, config.models)
  for mesh in parallel.submeshes(lr_search.MAX_PROBES_A_ROUND):
    parallel.check_batch_size(
      'config.training.batch_size', config.training.batch_size, mesh
    )
  claim_workdir(config, workdir)
  missing = [
    name
    for name in model_names or config.models
    if not _exists(_found_rate(workdir, name))
  ]
  if missing:
    task, splits = _load(config)
  for name in missing:
    rate, rows = lr_search.search(
      config, workdir, model_name=name, splits=splits, classes=task.classes
    )

    def write(name=name, rate=rate, rows=rows):
      path = _found_rate(workdir, name)
      figure = figures.accuracy_against_learning_rate(rows, name)
      figures.save(figure, path.removesuffix('.json'))
      storage.write_json(path, {'learning_rate': rate})

    parallel.on_lead(write, f'the learning rate of {name} is written')
  return {
    name: storage.read_json(_found_rate(workdir, name))['learning_rate']
    for name in model_names or config.models
  }


def _found_rate(workdir, model_name):
  return os.path.join(workdir, 'lr_search', f'{model_name}.json')


def _with_found_rate(config, workdir, model_name):
  """Returns the config of one model: with its rate if that is searched."""
  if config.lr_search.enabled:
    config = config.copy_and_resolve_references()
    found = storage.read_json(_found_rate(workdir, model_name))
    config.training.learning_rate = found['learning_rate']
  return config


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
  for name in model_names or ():
    _check_choice('models', name, config.models)
  for seed in seeds or ():
    if seed not in config.seeds:
      raise errors.InputError(
        f'--seed must be one of config.seeds {config.seeds}, got {seed}'
      )
  _check_devices(config)
  claim_workdir(config, workdir)
  missing = [
    (name, seed)
    for seed in (config.seeds if seeds is None else seeds)
    for name in (config.models if model_names is None else model_names)
    if not _is_trained(workdir, name, seed)
  ]
  if not missing:
    return
  if config.lr_search.enabled:
    run_lr_search(config, workdir, sorted({name for name, _ in missing}))
  task, splits = _load(config)

  def train_one(member, mesh):
    name, seed = member
    folder = classifier_dir(workdir, name, seed)
    os.makedirs(folder, exist_ok=True)
    summary = train.train_and_evaluate(
      _with_found_rate(config, workdir, name),
      folder,
      model_name=name,
      seed=seed,
      splits=splits,
      classes=task.classes,
      mesh=mesh,
    )
    logger.info(
      '%s seed %d: test accuracy %.3f (epoch %d)',
      name,
      seed,
      summary['test']['accuracy'],
      summary['best_epoch'],
    )

  side_by_side.run(train_one, missing, _training_meshes(config))


def run_attack(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Attacks the trained models; writes the tables and example clips.

  Each seed's judgements are kept in `attack/seed<k>.npz`, so that a run that
  was stopped goes on with the next seed.
  """
  validate(config)
  _check_devices(config)
  claim_workdir(config, workdir)
  folder = os.path.join(workdir, 'attack')
  table = os.path.join(folder, 'sweep.csv')
  if _exists(table):
    return
  page = os.path.join(workdir, 'report', 'index.html')
  if parallel.is_lead() and os.path.exists(page):
    os.remove(page)  # it shows an attack that is no longer there
  for seed in config.seeds:
    for name in config.models:
      if not _is_trained(workdir, name, seed):
        raise errors.InputError(
          f'{classifier_dir(workdir, name, seed)} is not trained to its end; '
          'run python -m launch.train with the same --config and --workdir'
        )
  task, splits = _load(config)
  test = splits['test']
  os.makedirs(folder, exist_ok=True)
  rows, samples = [], []
  for seed in config.seeds:
    classifiers = {
      name: checkpoint.load_classifier(
        classifier_dir(workdir, name, seed),
        train.describe(
          _with_found_rate(config, workdir, name),
          name,
          seed,
          task.classes,
          clip_samples(config),
        ),
        precision=config.sweep.precision,
      )
      for name in config.models
    }
    judgements = _judgements(config, folder, seed, classifiers, test)
    rows += sweep.sweep_rows(
      config, seed, config.models, test.labels, judgements
    )
    samples += sweep.sample_rows(
      config, seed, config.models, test, task.classes, judgements
    )
    if seed == config.seeds[0] and parallel.is_lead():
      examples = sweep.write_examples(
        os.path.join(folder, 'audio'), classifiers[config.source], test, config
      )

  def write():
    storage.write_json(os.path.join(folder, 'examples.json'), examples)
    storage.write_table(
      os.path.join(folder, 'samples.csv'), sweep.SAMPLE_COLUMNS, samples
    )
    storage.write_table(table, sweep.SWEEP_COLUMNS, rows)

  parallel.on_lead(write, f'{table} is written')


def _judgements(config, folder, seed, classifiers, split):
  """Returns a seed's judgements, from disk where they are complete."""
  path = os.path.join(folder, f'seed{seed}.npz')
  if _exists(path):
    with np.load(path) as arrays:
      return sweep.Judgements(
        *(arrays[name] for name in sweep.Judgements._fields)
      )
  with preemption.deferred():
    judgements = sweep.judge(
      classifiers,
      config.source,
      split,
      config.sweep.epsilons,
      seed=seed,
      batch_size=config.sweep.batch_size,
      attack_padding=config.sweep.attack_padding,
      clip_to_range=config.sweep.clip_to_range,
      epsilon_devices=config.sweep.epsilon_devices,
    )
  if parallel.is_lead():
    with open(f'{path}.tmp', 'wb') as file:
      np.savez_compressed(file, ids=split.ids, **judgements._asdict())
    os.replace(f'{path}.tmp', path)
  return judgements


def run_report(workdir: str) -> str:
  """Draws the figures and the page from the tables; returns its path."""
  page = os.path.join(workdir, 'report', 'index.html')
  parallel.on_lead(lambda: report.write(workdir), f'{page} is written')
  return page


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
  _check_devices(config)
  claim_workdir(config, workdir)
  page = os.path.join(workdir, 'report', 'index.html')
  table = os.path.join(workdir, 'attack', 'sweep.csv')
  if not (_exists(page) and _exists(table)):
    prepare(config, skip_bad)
    run_training(config, workdir)
    run_attack(config, workdir)
    run_report(workdir)
  return page


def run_gradients(
  config: ml_collections.ConfigDict,
  workdir: str,
  *,
  checkpoints: Sequence[str] = (),
  split: str = 'test',
  num_studied: int = 32,
  examples: Sequence[str] = (),
) -> str:
  """Studies input gradients; returns the folder of tables and figures.

  Args:
    config: See configs/paper.py; its corpus, task and split give the clips.
    workdir: The run's folder; results go to `gradients/` in it.
    checkpoints: Folders of the models; () for all of the run.
    split: 'train', 'validation' or 'test'.
    num_studied: Clips of the state Jacobians and the accumulation.
    examples: Ids of clips to keep whole gradients of; () for the first.

  Raises:
    errors.InputError: If a model is not trained, or not for these clips.
  """
  validate(config)
  _check_choice('split', split, tasks.SPLITS)
  if not checkpoints:
    checkpoints = [
      classifier_dir(workdir, name, seed)
      for seed in config.seeds
      for name in config.models
    ]
  folder = os.path.join(workdir, 'gradients')
  task, splits = _load(config)
  classifiers = {}
  for path in checkpoints:
    name = os.path.basename(os.path.normpath(path))
    if name in classifiers:
      run = os.path.dirname(os.path.abspath(path))
      name = f'{os.path.basename(run)}/{name}'
    classifiers[name] = checkpoint.load_classifier(
      path, precision=config.sweep.precision
    )
    found = classifiers[name].metadata
    expected = {
      'task': config.task,
      'classes': list(task.classes),
      'clip_samples': clip_samples(config),
    }
    for key, value in expected.items():
      if found[key] != value:
        raise errors.InputError(
          f'{path} was trained with {key} {found[key]}, the config says '
          f'{value}; name models and a --config of the same task and length'
        )
  gradient_tables.write(
    folder,
    classifiers,
    splits[split],
    origin={
      'task': config.task,
      'split': split,
      'models': {
        name: {**c.metadata, 'epoch': c.epoch}
        for name, c in classifiers.items()
      },
    },
    batch_size=config.sweep.batch_size,
    epsilons=config.sweep.epsilons,
    clip_to_range=config.sweep.clip_to_range,
    confidence=config.sweep.confidence,
    num_studied=num_studied,
    examples=examples,
  )
  parallel.on_lead(
    lambda: gradient_figures.draw(folder), f'{folder} has its figures'
  )
  return folder
