"""Adversarial clips themselves: a few, of one attack at one epsilon."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from advspeech import (
  attacks,
  audio,
  input_pipeline,
  over_clips,
  parallel,
  transforms,
)
from advspeech.sweep import masks, parts, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.member import Member
from advspeech.sweep.settings import Settings


class Attacking(NamedTuple):
  """All that is compiled into an attack; a function for `map_clips`."""

  model: nn.Module
  attack: attacks.Attack
  mask: masks.Mask
  known: transforms.Transform | None
  bounds: tuple[float, float]
  num_draws: int
  masked: bool

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns adversarial clips, [chunk, time].

    Args:
      shared: The model's variables, and a direction [time] or None.
      rows: The clips, with the columns `goal` and `radius` [chunk].
    """
    variables, fitted = shared
    problem = problem_lib.pose(
      self.model,
      variables,
      rows,
      self.attack,
      self.mask,
      self.known,
      self.bounds,
      self.num_draws,
      masked=self.masked,
    )
    prepared = self.attack.prepare(problem)
    return problem_lib.carry_out(
      self.attack, problem, prepared, fitted, rows['radius']
    )


def attacked_clips(
  planned: planning.PlannedAttack,
  source: Member,
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: Settings,
  epsilon: audio.Epsilon,
  fitted: np.ndarray | None = None,
) -> np.ndarray:
  """Returns the adversarial clips of one epsilon, [num_clips, time] float32.

  For a few clips, one after another on this process's first device. Another
  epsilon compiles nothing.

  Args:
    planned: Which attack; its epsilons are not looked at.
    source: The member attacked.
    split: The clips.
    attack: The planned one's.
    settings: Of the sweep.
    epsilon: How large.
    fitted: [time] direction learnt before, for an attack that wants it.
  """
  if not len(split):
    return np.zeros((0, split.pcm.shape[1]), np.float32)
  mesh = parallel.own_mesh()
  attacking = Attacking(
    source.classifier.model,
    attack,
    masks.parse(planned.mask),
    transforms.make(planned.transform) if planned.adaptive else None,
    settings.bounds,
    settings.num_draws,
    epsilon.of_masking,
  )
  levels = problem_lib.levels(split.pcm, split.spans, [epsilon])
  return over_clips.map_clips(
    attacking,
    split,
    mesh,
    1,
    shared=(parallel.bring(source.classifier.variables, mesh), fitted),
    columns={
      'goal': source.goal(attack),
      'radius': np.asarray(epsilon.radii(*levels), np.float32),
    },
    seed=source.seed,
  )


def attacked_rows(
  sweep: parts.Sweep,
  planned: planning.PlannedAttack,
  rows: np.ndarray,
  epsilon: audio.Epsilon,
) -> np.ndarray:
  """Returns the adversarial clips of some rows, [num_rows, time].

  A learnt direction is that of the sweep's epsilon nearest to this one.
  """
  source = sweep.members[planned.source]
  some = input_pipeline.subset(sweep.split, rows)
  fitted = parts.directions(sweep, planned)
  if fitted is not None:
    levels = problem_lib.levels(
      some.pcm, some.spans, (epsilon, *planned.epsilons)
    )
    size = [float(np.mean(e.radii(*levels))) for e in planned.epsilons]
    wanted = float(np.mean(epsilon.radii(*levels)))
    fitted = fitted[int(np.abs(np.array(size) - wanted).argmin())]
  return attacked_clips(
    planned,
    dataclasses.replace(source, labels=source.labels[rows]),
    some,
    sweep.attacks[planned.attack],
    sweep.settings,
    epsilon,
    fitted,
  )


def shown_attacks(sweep: parts.Sweep) -> list[planning.PlannedAttack]:
  """Returns the plain attacks of each source's first seed and first mask."""
  first: dict[str, tuple[int, str]] = {}
  for planned in sweep.plan:
    source = sweep.members[planned.source]
    first.setdefault(source.name, (source.seed, planned.mask))
  return [
    planned
    for planned in sweep.plan
    if planned.is_plain
    and first[sweep.members[planned.source].name]
    == (sweep.members[planned.source].seed, planned.mask)
  ]
