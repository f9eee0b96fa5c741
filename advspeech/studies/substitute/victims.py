"""Who is asked: models of the run, or an embedder that names speakers."""

from typing import Any

import numpy as np
from jax import sharding

from advspeech import checkpoint, errors, input_pipeline
from advspeech.studies import named_embedders
from advspeech.studies.substitute import clips, identifier


def check(config: Any) -> None:
  """Raises errors.InputError at a victim that a run cannot have.

  Args:
    config: See configs/paper.py.
  """
  named_embedders.check(config, 'substitute', 'victims')
  for name in config.substitute.victims:
    if name not in config.models and config.task != 'speaker':
      raise errors.InputError(
        f'config.substitute.victims names the embedder {name}, which can only '
        f"be asked who speaks: config.task must be 'speaker', got "
        f'{config.task!r}'
      )


def load(run: Any, name: str, mesh: sharding.Mesh) -> checkpoint.Classifier:
  """Returns a victim.

  A model of the run is that of the first seed. Any other name is an embedder's,
  with whom the first training clips of each speaker are enrolled, in the order
  of the seed.

  Args:
    run: An `experiment.Run`.
    name: As in `config.substitute.victims`.
    mesh: The devices.

  Raises:
    errors.InputError: If it is not trained, no embedder, or cannot be enrolled
      with.
    preemption.Stopped: If a signal asked for it.
  """
  config = run.config
  if name in config.models:
    return run.classifier(name, config.seeds[0])
  embedder = named_embedders.load(run, (name,))[0].embedder
  split, num = run.data.splits['train'], config.substitute.num_enrolled
  ordered = clips.order(split.ids, config.seeds[0], 0)
  rows = [
    ordered[split.labels[ordered] == label][:num]
    for label in range(len(run.classes))
  ]
  return identifier.enrol(
    embedder,
    input_pipeline.subset(split, np.concatenate(rows)),
    run.classes,
    mesh,
  )
