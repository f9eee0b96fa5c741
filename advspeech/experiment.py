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
  feature_study,
  figures,
  gradient_study,
  input_pipeline,
  lr_search,
  models,
  parallel,
  provenance,
  report,
  side_by_side,
  storage,
  sweep,
  tasks,
  train,
)
from advspeech.models import frontend

logger = logging.getLogger(__name__)

# Every model's folder tells by itself what it is.
_WHICH_MODELS = ('models', 'seeds', 'source')
# Of this machine; results do not depend on it.
_LOCAL = (
  'data_dir',
  'corpus.folder',
  'corpus.manifest',
  'input.memory_budget_mb',
  'input.device_budget_mb',
  'training.save_every_s',
)
# Of keys that runs made before there were any do not have.
_ONCE_ABSENT = {
  'corpus.channels': 'mean',
  'clip.pad': 'end',
  'clip.cut': 'start',
  'clip.normalize': 'none',
  'split.session': '',
}


def validate(config: ml_collections.ConfigDict) -> None:
  """Raises errors.InputError at the first value that cannot be run."""
  _check_choice('task', config.task, tasks.NAMES)
  _check_choice('corpus.name', config.corpus.name, corpora.BUILDERS)
  _check_choice('split.kind', config.split.kind, tasks.SPLIT_KINDS)
  _check_choice('model.norm', config.model.norm, models.NORMS)
  _check_choice('clip.pad', config.clip.pad, audio.PADS)
  _check_choice('clip.cut', config.clip.cut, audio.CUTS)
  _check_choice('clip.normalize', config.clip.normalize, audio.NORMALIZATIONS)
  _check_split(config)
  if not (config.models and config.seeds):
    raise errors.InputError(
      'config.models and config.seeds must name at least one each, got '
      f'{config.models} and {config.seeds}'
    )
  for name in config.models:
    _check_choice('models', name, train.NAMES)
    other = train.frontend_of(name)
    if other and other not in config.models:
      raise errors.InputError(
        f'config.models names {name}, which needs {other} beside it, got '
        f'{config.models}; add {other}'
      )
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
    ('sweep', 'memory_mb'),
    ('sweep', 'epsilon_devices'),
    ('lr_search', 'num_epochs'),
    ('lr_search', 'num_rounds'),
  ):
    if config[section][key] <= 0:
      raise errors.InputError(
        f'config.{section}.{key} must be positive, got {config[section][key]}'
      )
  if min(config.seeds) < 0:
    raise errors.InputError(
      f'config.seeds must not be negative, got {config.seeds}'
    )
  sweep.validate(config)
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
  first attack what concerns the attack alone (`config.sweep`), models and seeds
  may change: what an error advises can be followed in the same folder.

  Raises:
    errors.InputError: If the folder holds results of another config.
  """
  parallel.on_lead(
    lambda: _claim(config, workdir), f'{workdir} belongs to this config'
  )


def _claim(config, workdir):
  path = os.path.join(workdir, 'config.json')
  if os.path.exists(path):
    ours = _flat(config.to_dict())
    theirs = {**_ONCE_ABSENT, **_flat(storage.read_json(path))}
    different = [
      key
      for key in sorted({*ours, *theirs})
      if key not in _LOCAL and ours.get(key) != theirs.get(key)
    ]
    if not different:
      return
    attack = os.path.join(workdir, 'attack')
    only_sweep = all(
      key.startswith('sweep.') or key in _WHICH_MODELS for key in different
    )
    trained = [
      *glob.glob(os.path.join(workdir, '*', 'checkpoints', '[0-9]*')),
      *glob.glob(os.path.join(workdir, 'lr_search', '*', 'checkpoints')),
    ]
    attacked = os.path.isdir(attack) and (
      {*os.listdir(attack)} - {provenance.FILE}
    )
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

  parallel.on_lead(
    lambda: corpora.prepare(
      config.corpus.name, skip_bad=skip_bad, **_where(config)
    ),
    'the corpus is prepared',
  )
  path = corpora.path(config.corpus.name, **_where(config))
  logger.info('corpus %s: %s', config.corpus.name, path)
  return path


def _where(config):
  """Returns what says where a corpus is; see `corpora.Source`."""
  return {
    'folder': config.corpus.folder,
    'manifest': config.corpus.manifest,
    'channels': config.corpus.channels,
    'data_dir': config.data_dir,
  }


def _load(config, workdir=None):
  """Returns the corpus, the task and its splits, and says what is in them.

  Writes it to `data.json` too, where a run's folder is given.
  """
  corpus = corpora.read(
    config.corpus.name,
    num_samples=clip_samples(config),
    **config.clip,
    memory_budget_bytes=config.input.memory_budget_mb * 1e6,
    **_where(config),
  )
  task = tasks.select(
    config.task,
    speaker=corpus.speaker,
    sex=corpus.sex,
    emotion=corpus.emotion,
    label=corpus.label,
    speakers=config.speakers,
  )
  splits = input_pipeline.make_splits(
    corpus, task, config.split.kind, config.split.seed, config.split.session
  )
  described = _audit(corpus, task, splits)
  if workdir:
    path = os.path.join(workdir, 'data.json')
    data = {'corpus': corpus.metadata, 'splits': described}
    parallel.on_lead(
      lambda: storage.write_json(path, data), f'{path} is written'
    )
  return corpus, task, splits


def _audit(corpus, task, splits):
  """Says what is in each split, and by name what is not; returns the counts."""
  described = {
    name: _describe_split(corpus, task, split) for name, split in splits.items()
  }
  for name, found in described.items():
    logger.info(
      '%s: %d clips (%s), %d speakers, %.0f s of sound',
      name,
      found['num_clips'],
      ', '.join(f'{n} {c}' for c, n in found['classes'].items()),
      found['num_speakers'],
      found['seconds'],
    )
    absent = [c for c, n in found['classes'].items() if not n]
    if absent:
      logger.warning(
        '%s has no clip of %s; no number of this run is about them there',
        name,
        ', '.join(absent),
      )
  return described


def _describe_split(corpus, task, split):
  """Returns the counts of a split, for records."""
  counts = np.bincount(split.labels, minlength=len(task.classes))
  speakers = np.unique(corpus.speaker[np.isin(corpus.ids, split.ids)])
  return {
    'num_clips': len(split),
    'classes': dict(zip(task.classes, counts.tolist(), strict=True)),
    'num_speakers': int((speakers != '').sum()),
    'seconds': float(split.num_samples.sum() / audio.SAMPLE_RATE_HZ),
  }


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
  names = model_names or [m for m in config.models if not train.frontend_of(m)]
  missing = [name for name in names if not _exists(_found_rate(workdir, name))]
  if missing:
    _, task, splits = _load(config)
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
    for name in names
  }


def _found_rate(workdir, model_name):
  name = f'{train.base_name(model_name)}.json'
  return os.path.join(workdir, 'lr_search', name)


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
    names = sorted({train.base_name(name) for name, _ in missing})
    run_lr_search(config, workdir, names)
  _, task, splits = _load(config, workdir)

  def train_one(member, mesh):
    name, seed = member
    folder = classifier_dir(workdir, name, seed)
    os.makedirs(folder, exist_ok=True)
    with provenance.recorded(folder, parallel.device_summary(mesh)):
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

  meshes = _training_meshes(config)
  for waits in (False, True):  # those that take over a front end come last
    members = [m for m in missing if bool(train.frontend_of(m[0])) == waits]
    if members:
      side_by_side.run(train_one, members, meshes)


def run_attack(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Attacks the trained models; writes the tables and example clips.

  What is judged is kept in `attack/parts`, so that a run that was stopped goes
  on with the clips that are left.

  Raises:
    errors.InputError: If a model is not trained, or does not hear these clips.
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
  corpus, task, splits = _load(config, workdir)
  test = input_pipeline.spread(splits['test'], config.sweep.num_clips)
  members = _members(config, workdir, corpus, task, test)
  cells = sweep.plan(config, members)
  work = sweep.Sweep(
    folder=folder,
    cells=cells,
    members=members,
    split=test,
    attacks={
      cell.attack: sweep.make_attack(config, cell.attack) for cell in cells
    },
    settings=sweep.make_settings(config),
    fitting=input_pipeline.spread(
      splits['train'], config.sweep.universal.num_clips
    ),
    num_passes=config.sweep.universal.num_passes,
  )
  os.makedirs(folder, exist_ok=True)
  mesh = parallel.make_mesh(config.sweep.epsilon_devices)
  with provenance.recorded(folder, parallel.device_summary(mesh)):
    sweep.run(work)
    if parallel.is_lead():
      _write_tables(config, work)
  parallel.on_lead(lambda: None, f'{table} is written')


def _members(config, workdir, corpus, task, split):
  """Returns the models that take part in the sweep, the config's own first."""
  members = []
  for seed in config.seeds:
    for name in config.models:
      classifier = checkpoint.load_classifier(
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
      members.append(sweep.Member(name, seed, classifier, split.labels))
  for path in config.sweep.checkpoints:
    classifier = checkpoint.load_classifier(
      path, precision=config.sweep.precision
    )
    metadata = classifier.metadata
    if metadata['clip_samples'] != clip_samples(config):
      raise errors.InputError(
        f'{path} hears clips of {metadata["clip_samples"]} samples, this run '
        f'has {clip_samples(config)}; name a model of the same clip_s'
      )
    labels = _labels_of(metadata, corpus, split)
    members.append(sweep.Member(path, metadata['seed'], classifier, labels))
  return members


def _labels_of(metadata, corpus, split):
  """Returns a split's labels in a model's own task, -1 where it has none."""
  other = tasks.select(
    metadata['task'],
    speaker=corpus.speaker,
    sex=corpus.sex,
    emotion=corpus.emotion,
  )
  label_of = {}
  for row, label in zip(other.rows, other.labels, strict=True):
    name = other.classes[label]
    if name in metadata['classes']:
      label_of[corpus.ids[row]] = metadata['classes'].index(name)
  return np.array([label_of.get(x, -1) for x in split.ids], np.int32)


def _write_tables(config, work):
  """Writes everything that is told of a finished sweep, its table last."""

  def path(name):
    return os.path.join(work.folder, name)

  task, confidence = config.task, config.sweep.confidence
  rows = sweep.sweep_rows(work, task, confidence)
  rows += sweep.strongest_rows(work, task, confidence)
  findings = sweep.findings(work, confidence)
  for finding in findings:
    logger.warning('check: %s', finding['sentence'])
  quality_rows, undefined = sweep.quality_rows(
    work, config.sweep.num_quality_clips
  )
  for name, num in undefined.items():
    if num:
      logger.warning(
        'attack/quality.csv: %s is not defined for %d of %d clips',
        name,
        num,
        len(quality_rows),
      )
  storage.write_json(path('checks.json'), findings)
  storage.write_json(
    path('examples.json'),
    sweep.write_examples(
      work,
      config.sweep.num_examples,
      config.sweep.example_epsilon,
      config.sweep.feature_level.example_epsilon,
    ),
  )
  for name, columns, table_rows in (
    ('quality.csv', sweep.QUALITY_COLUMNS, quality_rows),
    ('samples.csv', sweep.SAMPLE_COLUMNS, sweep.sample_rows(work, task)),
    ('minimal.csv', sweep.MINIMAL_COLUMNS, sweep.minimal_rows(work, task)),
    ('sweep.csv', sweep.SWEEP_COLUMNS, rows),
  ):
    storage.write_table(path(name), columns, table_rows)


def run_report(workdir: str) -> str:
  """Draws the figures and the page from the tables; returns its path."""
  page = os.path.join(workdir, 'report', 'index.html')
  parallel.on_lead(lambda: report.write(workdir), f'{page} is written')
  return page


def run_comparison(workdir: str, run_folders: Sequence[str]) -> str:
  """Puts several runs on one page, from their tables; returns its path."""
  page = os.path.join(workdir, 'comparison', 'index.html')
  parallel.on_lead(
    lambda: report.compare(workdir, run_folders), f'{page} is written'
  )
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


def run_features(
  config: ml_collections.ConfigDict,
  workdir: str,
  models_dir: str,
  settings: feature_study.Settings,
) -> str:
  """Sets feature-level attacks beside end-to-end ones; returns the folder.

  Args:
    config: See configs/paper.py.
    workdir: Tables, clips and figures go to `features/` in it.
    models_dir: The run's folder that holds the trained models; only read.
    settings: What is tried.
  """
  validate(config)
  folder = os.path.join(workdir, 'features')
  _, task, splits = _load(config)
  test = input_pipeline.spread(splits['test'], settings.num_clips)
  classifiers = {
    seed: {
      name: checkpoint.load_classifier(
        classifier_dir(models_dir, name, seed),
        train.describe(
          _with_found_rate(config, models_dir, name),
          name,
          seed,
          task.classes,
          clip_samples(config),
        ),
      )
      for name in config.models
    }
    for seed in config.seeds
  }
  feature_study.write(
    folder,
    classifiers,
    config.source,
    test,
    task=config.task,
    classes=task.classes,
    settings=settings,
  )
  feature_study.draw(folder)
  return folder


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
  _, task, splits = _load(config)
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
  gradient_study.write(
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
    epsilons=sweep.absolute(config.sweep.epsilons),
    clip_to_range=config.sweep.clip_to_range,
    confidence=config.sweep.confidence,
    num_studied=num_studied,
    examples=examples,
  )
  parallel.on_lead(
    lambda: gradient_study.draw(folder), f'{folder} has its figures'
  )
  return folder
