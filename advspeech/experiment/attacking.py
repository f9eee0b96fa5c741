"""The stage in which trained models are attacked."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from advspeech import (
  checkpoint,
  checks,
  corpora,
  errors,
  figures,
  input_pipeline,
  ownership,
  parallel,
  provenance,
  storage,
  sweep,
  tasks,
)
from advspeech.experiment.run import Run, exists

logger = logging.getLogger(__name__)


def attack(run: Run) -> None:
  """Attacks the trained models; writes the tables and example clips.

  Judgements lie in `attack/parts` as they are made, so that a run that was
  stopped goes on with the clips that are left.

  Args:
    run: Its models are trained.

  Raises:
    errors.InputError: If a model is not trained, or does not hear these clips.
  """
  folder, table = run.paths.attack, run.paths.sweep_table
  if exists(table):
    return
  if parallel.is_lead():
    storage.make_folder(folder)
  with ownership.owned(folder):
    if not exists(table):  # nobody else has made it meanwhile
      run.remove_page_without(table, 'this attack')
      _attack(run)
  parallel.on_lead(lambda: None, f'{table} is written')


def _attack(run):
  """Makes the sweep, from what of it is there."""
  run.check_all_trained()
  config, splits = run.config, run.data.splits
  test = input_pipeline.spread(splits['test'], config.sweep.num_clips)
  members = _members(run, test)
  plan = sweep.plan(config, members)
  check_sources(config, plan, members, run.classes)
  _check_masks(config.sweep.masks, test)
  whole = sweep.Sweep(
    folder=run.paths.attack,
    plan=plan,
    members=members,
    split=test,
    attacks={
      planned.attack: sweep.make_attack(config, planned.attack)
      for planned in plan
    },
    settings=sweep.make_settings(config),
    fitting=input_pipeline.spread(
      splits['train'], config.sweep.universal.num_clips
    ),
    num_passes=config.sweep.universal.num_passes,
  )
  mesh = parallel.make_mesh(config.sweep.epsilon_devices)
  with provenance.recorded(whole.folder, parallel.device_summary(mesh)):
    sweep.run(whole)
    if parallel.is_lead():
      _write_tables(config, whole)


def _members(run, split):
  """Returns the models that take part in the sweep, the config's own first."""
  config = run.config
  members = [
    sweep.Member(name, seed, run.classifier(name, seed), split.labels)
    for seed in config.seeds
    for name in config.models
  ]
  for path in config.sweep.checkpoints:
    classifier = checkpoint.load_classifier(
      path, precision=config.sweep.precision
    )
    metadata = classifier.metadata
    checkpoint.check_clips(
      path, metadata, clip_s=config.clip_s, clip=config.clip
    )
    labels = labels_of(metadata, run.data.corpus, split)
    members.append(sweep.Member(path, metadata['seed'], classifier, labels))
  for name in config.sweep.victims:
    victim = sweep.load_victim(
      name,
      task=config.task,
      classes=run.classes,
      num_samples=split.pcm.shape[1],
    )
    labels = labels_of(victim.metadata, run.data.corpus, split)
    members.append(sweep.Member(name, 0, victim, labels))
  return members


def _check_masks(masks, split):
  """Refuses masks that leave nothing to attack; warns where some clips are."""
  for mask in masks:
    num_touched = sweep.num_touched(mask, split)
    if not num_touched.any():
      raise errors.InputError(
        f'mask {mask} leaves no sample to attack in any of {len(split)} clips; '
        'leave it out of config.sweep.masks'
      )
    for finding in checks.untouched_clips(num_touched, mask):
      logger.warning('check: %s', finding.sentence)


def check_sources(
  config: ml_collections.ConfigDict,
  plan: Sequence[sweep.PlannedAttack],
  members: Sequence[sweep.Member],
  classes: Sequence[str],
) -> None:
  """Refuses sources that an attack has no labels for.

  Args:
    config: Of the run.
    plan: Planned.
    members: Models that take part.
    classes: That training clips are labelled by.

  Raises:
    errors.InputError: If a source has none for some clip, or is to learn a
      direction on clips whose labels are of other classes.
  """
  for planned in plan:
    source = members[planned.source]
    missing = int((source.labels < 0).sum())
    if missing:
      raise errors.InputError(
        f'{source.name} cannot be attacked: its task, '
        f'{source.classifier.metadata["task"]}, has no label for {missing} of '
        f'{len(source.labels)} clips; leave it out of config.sweep.sources, '
        'where it judges all the same'
      )
    fitted = sweep.make_attack(config, planned.attack).fitted
    own = source.classifier.metadata['classes']
    if fitted and list(own) != list(classes):
      raise errors.InputError(
        f'{planned.attack} on {source.name} cannot be learnt: it tells '
        f'{", ".join(own)} apart, and training clips are labelled '
        f'{", ".join(classes)}; leave it out of config.sweep.sources or '
        f'{planned.attack} out of config.sweep.attacks'
      )


def labels_of(
  metadata: Mapping[str, Any],
  corpus: corpora.Corpus,
  split: input_pipeline.Split,
) -> np.ndarray:
  """Returns a split's labels in a model's own classes, -1 where it has none.

  Args:
    metadata: The model's.
    corpus: That the clips are of.
    split: The clips.
  """
  column = getattr(corpus, tasks.COLUMNS[metadata['task']])
  labels = tasks.labels_in(metadata['classes'], column)
  label_of = dict(zip(corpus.ids, labels, strict=True))
  return np.array([label_of[id_] for id_ in split.ids], np.int32)


def _write_tables(config, whole):
  """Writes everything that is reported of a finished sweep, its table last."""

  def path(name):
    return os.path.join(whole.folder, name)

  results = sweep.load_results(whole, config.task, config.sweep.confidence)
  findings = sweep.findings(results)
  for finding in findings:
    logger.warning(
      'check: %s: %s',
      sweep.finding_title(finding, figures.attack_title, figures.title),
      finding['sentence'],
    )
  storage.write_json(path('checks.json'), findings)
  storage.write_json(
    path('judges.json'),
    {
      member.name: {
        key: member.classifier.metadata[key] for key in ('task', 'classes')
      }
      for member in whole.members
      if member.name not in config.models
    },
  )
  storage.write_json(
    path('examples.json'),
    sweep.write_examples(
      whole,
      config.sweep.num_examples,
      config.sweep.example_epsilon,
      config.sweep.feature_level.example_epsilon,
    ),
  )
  sweep.write_tables(results, whole.folder, config.sweep.num_quality_clips)
