"""A planned attack, judged: the program for it, and its arguments."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from advspeech import attacks, input_pipeline, over_clips, parallel, transforms
from advspeech.sweep import masks, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.member import Member
from advspeech.sweep.program import (
  COLUMNS,
  MEASURED,
  SPECS,
  Judgements,
  Program,
)
from advspeech.sweep.settings import Settings, chunks, variants


def judge(
  planned: planning.PlannedAttack,
  members: Sequence[Member],
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: Settings,
  *,
  rows: slice = slice(None),
  levels: problem_lib.Levels | None = None,
  fitted: np.ndarray | None = None,
) -> Judgements:
  """Returns every member's verdict on some clips of a split.

  Epsilons that bound a norm, and those of masking thresholds, are two programs.

  Args:
    planned: What is done to the clips.
    members: Targets; `planned.source` is an index into them.
    split: The clips.
    attack: The planned one's.
    settings: Of the sweep.
    rows: Which clips; where they begin and end must be whole chunks of the
      split for results that do not depend on it.
    levels: Of the split's clips, as `problem.levels` returns; None to take
      them.
    fitted: [num_epsilons, numbers] learnt before, for an attack that wants
      them.
  """
  if levels is None:
    levels = problem_lib.levels(split.pcm, split.spans, planned.epsilons)
  kinds = [epsilon.of_masking for epsilon in planned.epsilons]
  if any(kinds) and not all(kinds):
    parts = [[e for e, k in enumerate(kinds) if k == kind] for kind in (0, 1)]
    found = [
      judge(
        dataclasses.replace(
          planned, epsilons=tuple(planned.epsilons[e] for e in part)
        ),
        members,
        split,
        attack,
        settings,
        rows=rows,
        levels=levels,
        fitted=None if fitted is None else fitted[part],
      )
      for part in parts
    ]
    order = np.argsort(np.concatenate(parts))
    by_epsilon = zip(*(judged[1:] for judged in found), strict=True)
    merged = [np.concatenate(x)[order] for x in by_epsilon]
    return Judgements(found[0].clean, *merged)
  program = program_of(planned, members, split.pcm.shape[1], attack, settings)
  source, num_epsilons = members[planned.source], len(planned.epsilons)
  fill = _num_epsilons(program, planned) - num_epsilons
  if fitted is None:
    fitted = np.zeros((num_epsilons, 0), np.float32)
  variables = [m.classifier.variables for m in members]
  radii = np.stack([e.radii(*levels) for e in planned.epsilons], 1)
  found = over_clips.map_clips(
    program,
    split,
    program.mesh,
    program.chunks.clips,
    shared=(
      variables[planned.source],
      _stack(_groups(members), variables),
      np.pad(fitted, ((0, fill), (0, 0)), mode='edge'),
    ),
    columns={
      'goal': source.goal(attack),
      'radii': np.pad(radii, ((0, 0), (0, fill)), mode='edge'),
    },
    seed=source.seed,
    rows=rows,
    specs=SPECS,
  )
  order = np.concatenate(list(_groups(members).values()))
  place = np.argsort(order)

  def clips_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))

  clean = clips_last(found.clean)[place]
  by_epsilon = [clips_last(x[:, :num_epsilons]) for x in found[1:]]
  judged = Judgements(clean, *by_epsilon)
  return judged._replace(predictions=judged.predictions[:, :, place])


def program_of(
  planned: planning.PlannedAttack,
  members: Sequence[Member],
  num_samples: int,
  attack: attacks.Attack,
  settings: Settings,
) -> Program:
  """Returns what is compiled to judge an attack on clips of so many samples."""
  model_list = tuple(m.classifier.model for m in members)
  judged = variants(planned, settings)
  return Program(
    model_list[planned.source],
    tuple(_groups(members)),
    attack,
    masks.parse(planned.mask),
    transforms.make(planned.transform) if planned.transform else None,
    planned.adaptive,
    settings.num_draws,
    judged,
    settings.bounds,
    chunks(
      model_list, num_samples, len(judged), len(planned.epsilons), settings
    ),
    settings.mesh,
    any(epsilon.of_masking for epsilon in planned.epsilons),
  )


def compiled(program: Program) -> Callable[..., Judgements]:
  """Returns the compiled step of a program."""
  return over_clips.compiled(program, program.mesh, COLUMNS, SPECS)


def abstract_arguments(
  program: Program,
  planned: planning.PlannedAttack,
  members: Sequence[Member],
  num_samples: int,
) -> tuple[Any, ...]:
  """Returns shapes, types and placement of a step's arguments, unmade.

  To compile without clips, for devices that this process need not have.

  Args:
    program: As `program_of` returns it.
    planned: Of the same.
    members: Whose variables may be abstract too.
    num_samples: Of a clip.
  """
  num_clips, mesh = program.num_clips, program.mesh
  num_epsilons = _num_epsilons(program, planned)
  attack = program.attack
  learnt = attack.length_learnt(num_samples) if attack.fitted else 0
  variables = [m.classifier.variables for m in members]
  return (
    (
      parallel.abstract_replicated(
        lambda v: v, mesh, variables[planned.source]
      ),
      parallel.abstract_replicated(
        functools.partial(_stack, _groups(members)), mesh, variables
      ),
      jax.ShapeDtypeStruct((num_epsilons, learnt), np.float32),
    ),
    jax.ShapeDtypeStruct((), np.uint32),
    over_clips.abstract_batch(num_clips, num_samples, mesh),
    {
      **parallel.abstract_sharded({'goal': ((num_clips,), np.int32)}, mesh),
      'radii': jax.ShapeDtypeStruct(
        (num_clips, num_epsilons),
        np.float32,
        sharding=sharding.NamedSharding(mesh, MEASURED),
      ),
    },
  )


def _num_epsilons(program, planned):
  """Returns how many epsilons there are, filled up to share them evenly."""
  return (
    len(planned.epsilons)
    + -len(planned.epsilons) % program.mesh.shape['epsilon']
  )


def _groups(members):
  """Returns {module: indices of its members}."""
  indices: dict[nn.Module, list[int]] = {}
  for i, member in enumerate(members):
    indices.setdefault(member.classifier.model, []).append(i)
  return indices


def _stack(groups, variables):
  return tuple(
    jax.tree.map(lambda *x: jnp.stack(x), *(variables[i] for i in which))
    for which in groups.values()
  )
