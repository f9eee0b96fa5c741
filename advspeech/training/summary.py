"""What the best epoch of a training is worth: `summary.json`."""

import os

import jax

from advspeech import checkpoint, class_errors, parallel, storage
from advspeech.training.metrics import evaluate
from advspeech.training.step import make_eval_step


def summarise(workdir, config, metadata, splits, mesh):
  """Tests the best epoch; writes and returns `summary.json`."""
  classifier = checkpoint.load_best(workdir, metadata, mesh=mesh)
  evaluate_step = make_eval_step(classifier.model, mesh)
  results = {
    name: evaluate(
      evaluate_step,
      classifier.variables,
      splits[name],
      config.training.batch_size,
      mesh,
    )
    for name in ('validation', 'test')
  }
  for found in results.values():
    found |= class_errors.summary(found.pop('answers'), metadata['classes'])
  num_parameters = sum(
    x.size for x in jax.tree.leaves(classifier.variables['params'])
  )
  summary = {
    **metadata,
    'best_epoch': classifier.epoch,
    'num_epochs': config.training.num_epochs,
    'num_parameters': num_parameters,
    'variables_sha256': checkpoint.variables_sha256(classifier.variables),
    'num_clips': {name: len(split) for name, split in splits.items()},
    **results,
    'device': parallel.device_summary(mesh),
  }
  path = os.path.join(workdir, 'summary.json')
  parallel.on_lead(
    lambda: storage.write_json(path, summary), f'{path} is written'
  )
  return summary
