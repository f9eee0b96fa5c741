"""Universal perturbations, learnt on other clips before they are judged."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  input_pipeline,
  models,
  over_clips,
  parallel,
  preemption,
  transforms,
)
from advspeech.sweep import masks, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.member import Member
from advspeech.sweep.settings import Settings

# Epsilons that the steps towards a universal perturbation cover together.
_UNIVERSAL_REACH = 2.5


def fit_universal(
  planned: planning.PlannedAttack,
  source: Member,
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: Settings,
  *,
  num_passes: int,
) -> np.ndarray:
  """Returns what breaks many clips, a direction or a filter an epsilon.

  Args:
    planned: Of a fitted attack.
    source: The member attacked; its labels are not these clips'.
    split: Clips to learn on.
    attack: The planned one's.
    settings: Of the sweep.
    num_passes: Over the clips.

  Returns:
    [num_epsilons, time], or as many numbers as the attack learns.
  """
  size, mesh = settings.batch_size, settings.mesh
  num_batches = -(-len(split) // size)
  levels = problem_lib.levels(split.pcm, split.spans, planned.epsilons)
  columns = {
    'goal': dataclasses.replace(source, labels=split.labels).goal(attack),
    'radii': np.stack([e.radii(*levels) for e in planned.epsilons], 1),
  }
  step = over_clips.compiled(
    Fitting(
      source.classifier.model,
      attack,
      masks.parse(planned.mask),
      transforms.make(planned.transform) if planned.adaptive else None,
      settings.num_draws,
      settings.bounds,
      _UNIVERSAL_REACH / (num_passes * num_batches),
    ),
    mesh,
    tuple(columns),
    over_clips.Specs(results=PartitionSpec()),
  )
  num_learnt = attack.length_learnt(split.pcm.shape[1])
  direction = np.zeros((len(planned.epsilons), num_learnt), np.float32)
  for _ in range(num_passes):
    for _, batch in over_clips.batches(split, size, mesh, columns):
      preemption.check()
      direction = step(
        (source.classifier.variables, direction), np.uint32(source.seed), *batch
      )
  return np.asarray(direction.addressable_data(0))


class Fitting(NamedTuple):
  """One step towards a universal perturbation, on one device's clips."""

  model: nn.Module
  attack: attacks.Attack
  mask: masks.Mask
  known: transforms.Transform | None
  num_draws: int
  bounds: tuple[float, float]
  relative_step: float

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns directions, [num_epsilons, time], the same on every device.

    Args:
      shared: The model's variables and the directions before.
      rows: The clips, with the columns `goal` [batch] and `radii` [batch,
        num_epsilons].
    """
    variables, direction = shared
    clips = rows['audio']

    def loss_fn(x, rows):
      posed = problem_lib.pose(
        self.model,
        variables,
        {**rows, 'audio': x},
        self.attack,
        self.mask,
        self.known,
        self.bounds,
        self.num_draws,
      )
      return posed.loss_fn(x)

    at_once = models.clips_at_once(self.model, 1, clips.shape[1])
    # Rows that only fill a batch take no part.
    touched = rows['valid'][:, None] * jnp.ones_like(clips)
    mask = self.mask.samples(rows['mask'])
    learn = self.attack.learn or attacks.universal_step
    num_samples = clips.shape[1]
    return learn(
      lambda x: parallel.map_rows(loss_fn, at_once, x, rows),
      direction,
      clips,
      problem_lib.norms(self.attack, rows['radii'].T, mask, num_samples),
      relative_step=self.relative_step,
      mask=touched if mask is None else touched * mask,
      band=self.mask.band(num_samples),
      bounds=self.bounds,
      axis_name='data',
    )
