"""A run's folder, read as a page needs it."""

import os

from advspeech import (
  errors,
  paths,
  provenance,
  section,
  storage,
  studies,
)
from advspeech.report.run import Run

# What a page cannot be without.
_CONFIG_KEYS = (
  'task',
  'corpus',
  'source',
  'models',
  'seeds',
  'clip_s',
  'studies',
  'sweep',
)
_SUMMARY_KEYS = (
  *('model', 'classes', 'clip_samples', 'sample_rate_hz', 'num_parameters'),
  'test',
)


def read(workdir: str) -> Run:
  """Returns what a run's folder holds.

  Args:
    workdir: A run's folder; only its tables and JSON files are read.

  Raises:
    errors.InputError: If the attack has not been run there.
  """
  where = paths.RunPaths(workdir)
  table = where.sweep_table
  if not storage.exists(table):
    raise errors.InputError(
      f'{workdir} holds no attack/sweep.csv; run python -m launch.attack (or '
      'launch.reproduce) with the same --config and --workdir first'
    )
  config = storage.read_json(where.config, _CONFIG_KEYS)
  models = [
    {
      'member': model,
      **storage.read_json(where.summary(model, seed), _SUMMARY_KEYS),
      'sessions': provenance.read(where.classifier(model, seed)),
    }
    for seed in config['seeds']
    for model in config['models']
  ]
  classes = models[0]['classes']

  def of_attack(name):
    return os.path.join(where.attack, name)

  def optional_table(name):
    table = of_attack(name)
    # Of a sweep without transforms or scores they have a header alone.
    if not storage.exists(table):
      return []
    return storage.read_table(table, may_be_empty=True)

  judges = of_attack('judges.json')
  return Run(
    folder=workdir,
    config=config,
    models=models,
    data=storage.read_json(where.data, ('corpus', 'splits'))
    if storage.exists(where.data)
    else None,
    rows=[
      {**row, 'num_classes': len(classes)} for row in storage.read_table(table)
    ],
    findings=storage.read_json(of_attack('checks.json'), kind=list),
    examples=storage.read_json(of_attack('examples.json'), kind=list),
    quality=optional_table('quality.csv'),
    transforms=optional_table('transforms.csv'),
    direct=optional_table('direct.csv'),
    curves=optional_table('curves.csv'),
    trainings=[
      {**row, 'num_classes': len(classes)}
      for row in optional_table('trainings.csv')
    ],
    sessions=provenance.read(where.attack),
    tasks=storage.read_json(judges) if storage.exists(judges) else {},
    studies={
      name: section.Results(
        where.study(studies.resolve(name).name), config, classes
      )
      for name in dict.fromkeys((*studies.NAMES, *config['studies']))
    },
  )
