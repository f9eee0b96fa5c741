"""The compiled function of a sweep: clips perturbed and judged, chunk by chunk.

What does not depend on epsilon, the gradient of a single-step attack above all,
is made once a clip. Perturbed clips live only inside the compiled function, a
few at a time: chunks have one fixed number of clips, so that a clip is computed
in the same company, to the same bits, whatever the batch size and the number of
devices.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  audio,
  input_pipeline,
  models,
  parallel,
  quality,
  transforms,
)
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import masks
from advspeech.sweep import problem as problem_lib

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# How a perturbed clip reaches the model that judges it.
FORMATS = ('memory', 'float32', 'int16')
REPAIRED = 'repaired'
# Multiples of a model's largest map that its layers need at a time, measured as
# XLA's temporary memory (tests/sweep/test_engine.py holds it to the bound).
_FORWARD_MAPS, _GRADIENT_MAPS = 4, 10
# Clips in a CPU's chunk at most, however many would fit its cache.
_CPU_CLIPS = 8


class Judgements(NamedTuple):
  """What one cell's attack did to some clips.

  Attributes:
    clean: [num_targets, num_clips] classes given to the untouched clips (after
      the cell's transform).
    predictions: [num_epsilons, num_variants, num_targets, num_clips] classes
      given to the perturbed ones; see `variants`.
    snr_db: [num_epsilons, 1 + num_controls, num_clips] over recorded samples,
      of the attack and of each control.
    max_norm: [num_epsilons, num_clips] largest change of a sample.
    segmental_snr_db: [num_epsilons, num_clips].
    log_spectral_distance_db: [num_epsilons, num_clips].
  """

  clean: np.ndarray
  predictions: np.ndarray
  snr_db: np.ndarray
  max_norm: np.ndarray
  segmental_snr_db: np.ndarray
  log_spectral_distance_db: np.ndarray


class Settings(NamedTuple):
  """What all cells of a sweep have in common.

  Attributes:
    bounds: Smallest and largest legal sample.
    repair: Whether to judge 16-bit clips mended on the integer lattice too.
    memory_mb: What a device may use for clips in progress.
    batch_size: Clips of a unit of work, about; on an accelerator no chunk has
      more.
    mesh: The devices.
  """

  bounds: tuple[float, float]
  repair: bool
  memory_mb: int
  batch_size: int
  mesh: sharding.Mesh


def make_settings(
  config: 'ml_collections.ConfigDict',
  devices: Sequence[jax.Device] | None = None,
) -> Settings:
  """Returns a config's settings.

  Args:
    config: See configs/paper.py.
    devices: All there are if None.
  """
  sweep = config.sweep
  return Settings(
    bounds=(0.0, 1.0) if sweep.clip_to_range else (-np.inf, np.inf),
    repair=sweep.repair,
    memory_mb=sweep.memory_mb,
    batch_size=sweep.batch_size,
    mesh=parallel.make_mesh(sweep.epsilon_devices, devices),
  )


class Chunks(NamedTuple):
  """How much is computed at a time.

  Attributes:
    clips: In a chunk.
    epsilons: For each of them.
    variants: Formats and controls of each of those.
  """

  clips: int
  epsilons: int
  variants: int


def variants(cell: cells_lib.Cell, settings: Settings) -> tuple[str, ...]:
  """Returns what is judged for each clip and epsilon of a cell.

  The attack in each format, then its controls; in memory alone where clips are
  transformed. Mending asks for the least favourable rounding of samples, which
  is an attack on these: an attack on features is not mended.
  """
  if not cell.is_plain:
    return FORMATS[:1]
  mended = settings.repair and not cell.on_features
  repaired = (REPAIRED,) if mended else ()
  return (*FORMATS, *repaired, *cells_lib.CONTROLS)


def chunks(
  model_list: Sequence[nn.Module],
  num_samples: int,
  num_variants: int,
  num_epsilons: int,
  settings: Settings,
) -> Chunks:
  """Returns chunks that stay under the memory bound on every device.

  A CPU takes what fits its cache, one epsilon at a time, and never asks for the
  batch size: vector code and its remainder may differ in the last bit. An
  accelerator takes as much as the bound allows.
  """
  largest = max(models.activation_bytes(m, num_samples) for m in model_list)
  budget = settings.memory_mb * 2**20
  fitting = max(1, budget // (_GRADIENT_MAPS * largest))
  on_cpu = parallel.is_host(settings.mesh)
  clips = min(fitting, _CPU_CLIPS if on_cpu else settings.batch_size)
  for model in model_list:
    clips = models.clips_at_once(model, clips, num_samples, settings.mesh)
  if on_cpu:
    return Chunks(clips, 1, 1)
  forwards = max(1, budget // (_FORWARD_MAPS * largest * clips))
  at_once = min(forwards, num_variants)
  return Chunks(clips, min(num_epsilons, max(1, forwards // at_once)), at_once)


def shard_size(
  members: Sequence[cells_lib.Member], num_samples: int, settings: Settings
) -> int:
  """Returns clips of a unit of work: whole chunks, whatever the devices."""
  clips = chunks(_models(members), num_samples, 1, 1, settings).clips
  return -(-settings.batch_size // clips) * clips


def _models(members):
  return tuple(m.classifier.model for m in members)


def judge(
  cell: cells_lib.Cell,
  members: Sequence[cells_lib.Member],
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: Settings,
  *,
  rows: slice = slice(None),
  fitted: np.ndarray | None = None,
) -> Judgements:
  """Returns every member's verdict on some clips of a split.

  Args:
    cell: What is done to the clips.
    members: Targets; `cell.source` is an index into them.
    split: The clips.
    attack: The cell's.
    settings: Of the sweep.
    rows: Which clips; where they begin and end must be whole chunks of the
      split for results that do not depend on it.
    fitted: [num_epsilons, time] directions learnt before, for an attack that
      wants them.
  """
  first, last, _ = rows.indices(len(split))
  program = program_of(cell, members, split.pcm.shape[1], attack, settings)
  step = compiled(program)
  arguments = _arguments(program, cell, members, split, attack)
  # Always the same number of clips, so that one program serves all.
  parts = [
    parallel.fetch(step(*arguments(slice(start, last), fitted)))
    for start in range(first, last, program.num_clips)
  ]
  out = {
    name: np.concatenate([p[name] for p in parts], -1) for name in parts[0]
  }
  order = np.concatenate(list(_groups(members).values()))
  place = np.argsort(order)
  out['clean'] = out['clean'][place]
  out['predictions'] = out['predictions'][:, :, place]
  return Judgements(
    **{
      key: (x if key == 'clean' else x[: len(cell.epsilons)])[
        ..., : last - first
      ]
      for key, x in out.items()
    }
  )


def program_of(
  cell: cells_lib.Cell,
  members: Sequence[cells_lib.Member],
  num_samples: int,
  attack: attacks.Attack,
  settings: Settings,
) -> 'Program':
  """Returns what is compiled to judge a cell, for clips of so many samples."""
  model_list, judged = _models(members), variants(cell, settings)
  return Program(
    model_list[cell.source],
    tuple(_groups(members)),
    attack,
    masks.parse(cell.mask),
    transforms.make(cell.transform) if cell.transform else None,
    cell.adaptive,
    judged,
    settings.bounds,
    chunks(model_list, num_samples, len(judged), len(cell.epsilons), settings),
    settings.mesh,
  )


def _arguments(program, cell, members, split, attack):
  """Returns a function that makes the arguments of `compiled(program)`.

  Of (rows, fitted): for the first so many clips of a slice, filled up where it
  has fewer.
  """
  mesh, at_once = program.mesh, program.num_clips
  num_epsilons = len(cell.epsilons)
  fill_epsilons = _num_epsilons(program, cell) - num_epsilons
  source, stacked = members[cell.source], _stacked(members)
  goal = source.goal(attack)

  def make(rows, fitted):
    rows = slice(rows.start, min(rows.stop, rows.start + at_once))
    fill_rows = at_once - (rows.stop - rows.start)
    pcm, spans = split.pcm[rows], split.spans[rows]
    columns = {
      'pcm': pcm,
      'span': spans,
      'goal': goal[rows],
      'id_words': input_pipeline.id_words(split.ids[rows]),
    }
    batch = {
      name: np.pad(x, [(0, fill_rows)] + [(0, 0)] * (x.ndim - 1))
      for name, x in columns.items()
    }
    rms = problem_lib.signal_rms(pcm, spans)
    radii = np.stack([epsilon.radii(rms) for epsilon in cell.epsilons])
    if fitted is None:
      fitted = np.zeros((num_epsilons, 0), np.float32)
    return (
      source.classifier.variables,
      stacked,
      parallel.shard_batch(batch, mesh),
      np.uint32(source.seed),
      np.pad(radii, ((0, fill_epsilons), (0, fill_rows)), mode='edge'),
      np.pad(fitted, ((0, fill_epsilons), (0, 0)), mode='edge'),
    )

  return make


def abstract_arguments(
  program: 'Program',
  cell: cells_lib.Cell,
  members: Sequence[cells_lib.Member],
  num_samples: int,
) -> tuple[Any, ...]:
  """Returns shapes, types and placement of a step's arguments, unmade.

  To compile without clips, for devices that this process need not have.

  Args:
    program: As `program_of` makes it.
    cell: Of the same.
    members: Whose variables may be abstract too.
    num_samples: Of a clip.
  """
  num_clips, mesh = program.num_clips, program.mesh
  num_epsilons = _num_epsilons(program, cell)
  learnt = num_samples if program.attack.fitted else 0
  batch = {
    'pcm': ((num_clips, num_samples), np.int16),
    'span': ((num_clips, 2), np.int32),
    'goal': ((num_clips,), np.int32),
    'id_words': ((num_clips, 2), np.uint32),
  }
  variables = [m.classifier.variables for m in members]
  return (
    parallel.abstract_replicated(lambda v: v, mesh, variables[cell.source]),
    parallel.abstract_replicated(
      functools.partial(_stack, _groups(members)), mesh, variables
    ),
    parallel.abstract_sharded(batch, mesh),
    jax.ShapeDtypeStruct((), np.uint32),
    jax.ShapeDtypeStruct((num_epsilons, num_clips), np.float32),
    jax.ShapeDtypeStruct((num_epsilons, learnt), np.float32),
  )


def _num_epsilons(program, cell):
  """Returns epsilons of a cell, filled up to share them out evenly."""
  return (
    len(cell.epsilons) + -len(cell.epsilons) % program.mesh.shape['epsilon']
  )


def attacked_clips(
  cell: cells_lib.Cell,
  source: cells_lib.Member,
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: Settings,
  epsilon: audio.Epsilon,
  fitted: np.ndarray | None = None,
) -> np.ndarray:
  """Returns the adversarial clips of one epsilon, [num_clips, time] float32.

  For a few clips, one after another on this process's first device.

  Args:
    cell: Which attack; its epsilons are not looked at.
    source: The member attacked.
    split: The clips.
    attack: The cell's.
    settings: Of the sweep.
    epsilon: How large.
    fitted: [time] direction learnt before, for an attack that wants it.
  """
  variables = jax.device_get(source.classifier.variables)
  known = transforms.make(cell.transform) if cell.adaptive else None
  part = masks.parse(cell.mask)

  @jax.jit
  def make(pcm, span, goal, id_words, radius):
    clips, recorded = problem_lib.decode(pcm, span)
    problem = problem_lib.pose(
      source.classifier.model,
      variables,
      clips,
      recorded,
      goal,
      problem_lib.streams(np.uint32(source.seed), id_words),
      attack,
      part,
      known,
      settings.bounds,
    )
    return problem_lib.carry_out(
      attack, problem, attack.prepare(problem), fitted, radius
    )

  columns = (
    split.pcm,
    split.spans,
    source.goal(attack),
    input_pipeline.id_words(split.ids),
    epsilon.radii(problem_lib.signal_rms(split.pcm, split.spans)).astype(
      np.float32
    ),
  )
  rows = [make(*(x[i : i + 1] for x in columns)) for i in range(len(split))]
  return np.concatenate([np.zeros((0, split.pcm.shape[1]), np.float32), *rows])


def _groups(members):
  """Returns {module: indices of its members}."""
  indices: dict[nn.Module, list[int]] = {}
  for i, model in enumerate(_models(members)):
    indices.setdefault(model, []).append(i)
  return indices


def _stacked(members):
  """Returns the variables of each group's members, stacked."""
  return _stack(_groups(members), [m.classifier.variables for m in members])


def _stack(groups, variables):
  return tuple(
    jax.tree.map(lambda *x: jnp.stack(x), *(variables[i] for i in which))
    for which in groups.values()
  )


class Program(NamedTuple):
  """All that is compiled into a step."""

  source: nn.Module
  targets: tuple[nn.Module, ...]
  attack: attacks.Attack
  mask: masks.Mask
  transform: transforms.Transform | None
  adaptive: bool
  variants: tuple[str, ...]
  bounds: tuple[float, float]
  chunks: Chunks
  mesh: sharding.Mesh

  @property
  def num_clips(self) -> int:
    """Returns the clips that a step takes, a chunk a device."""
    return self.chunks.clips * self.mesh.shape['data']


@functools.lru_cache
def compiled(program: Program) -> Callable[..., dict[str, jax.Array]]:
  """Returns the compiled function behind `judge`.

  Written for one device's clips and epsilons: nothing is left to communicate.
  """

  def step(source, targets, batch, seed, radii, fitted):
    return _judge_chunk(program, source, targets, seed, fitted, batch, radii)

  copies, rows = PartitionSpec(), PartitionSpec('data')
  measured = PartitionSpec('epsilon', 'data')
  return jax.jit(
    jax.shard_map(
      step,
      mesh=program.mesh,
      in_specs=(
        copies,
        copies,
        rows,
        copies,
        measured,
        PartitionSpec('epsilon'),
      ),
      out_specs={
        'clean': PartitionSpec(None, 'data'),
        'predictions': PartitionSpec('epsilon', None, None, 'data'),
        'snr_db': PartitionSpec('epsilon', None, 'data'),
        'max_norm': measured,
        'segmental_snr_db': measured,
        'log_spectral_distance_db': measured,
      },
      check_vma=False,
    )
  )


def _judge_chunk(program, source, targets, seed, fitted, batch, radii):
  """Returns `Judgements` of a chunk, by name.

  Args:
    program: What is compiled.
    source: The source model's variables.
    targets: For each module of targets its members' variables, stacked.
    seed: Of everything random, folded with each clip's id.
    fitted: [num_epsilons, time or 0].
    batch: `pcm`, `span`, `goal` and `id_words` of the clips.
    radii: [num_epsilons, batch].
  """
  clips, recorded = problem_lib.decode(batch['pcm'], batch['span'])
  keys = problem_lib.streams(seed, batch['id_words'])
  problem = problem_lib.pose(
    program.source,
    source,
    clips,
    recorded,
    batch['goal'],
    keys,
    program.attack,
    program.mask,
    program.transform if program.adaptive else None,
    program.bounds,
  )
  prepared = program.attack.prepare(problem)

  def predict(x):
    """Returns [num_targets, batch] classes for clips [batch, time]."""
    if program.transform:
      x = program.transform.apply(x, keys.transform, recorded)
    answers = [
      jax.lax.map(
        lambda variables, model=model: jnp.argmax(
          model.apply(variables, x, train=False), -1
        ).astype(jnp.int32),
        variables,
      )
      for model, variables in zip(program.targets, targets, strict=True)
    ]
    return jnp.concatenate(answers)

  def judge_epsilon(radius, direction):
    perturbed = problem_lib.carry_out(
      program.attack, problem, prepared, direction, radius
    )
    controls = [
      _control(name, getattr(keys, name), perturbed, problem, program.bounds)
      for name in cells_lib.CONTROLS
      if name in program.variants
    ]
    max_norm = jnp.abs(perturbed - clips).max(-1)
    saved = _saved(perturbed)
    if REPAIRED in program.variants:
      saved[REPAIRED] = attacks.repair(
        problem.loss_fn, clips, perturbed[None], max_norm[None]
      )[0]
    heard = [saved[n] for n in program.variants if n in saved] + controls
    predictions = jax.lax.map(
      predict, jnp.stack(heard), batch_size=program.chunks.variants
    )
    return {
      'predictions': predictions,
      'snr_db': jnp.stack(
        [audio.snr_db(clips, x, recorded) for x in (perturbed, *controls)]
      ),
      'max_norm': max_norm,
      'segmental_snr_db': quality.segmental_snr_db(clips, perturbed, recorded),
      'log_spectral_distance_db': quality.log_spectral_distance_db(
        clips, perturbed, recorded
      ),
    }

  judged = jax.lax.map(
    lambda x: judge_epsilon(*x),
    (radii, fitted),
    batch_size=program.chunks.epsilons,
  )
  return {'clean': predict(clips), **judged}


def _control(name, keys, perturbed, problem, bounds):
  """Returns clips under noise as large as an attack's perturbation."""
  make = {
    'random_sign': attacks.random_sign_like,
    'gaussian': attacks.gaussian_like,
    'shuffled': attacks.shuffled,
  }[name]
  clips = problem.audio
  noise = make(
    keys,
    perturbed - clips,
    mask=problem.mask,
    band=problem.band,
  )
  return jnp.where(noise == 0, clips, jnp.clip(clips + noise, *bounds))


def _saved(perturbed):
  """Returns clips as they come back in each of `FORMATS`."""
  # Optimisation must not cancel a conversion against its inverse.
  full_scale, pcm = jax.lax.optimization_barrier(
    (audio.to_full_scale(perturbed), audio.to_pcm(perturbed))
  )
  return {
    'memory': perturbed,
    'float32': audio.from_full_scale(full_scale),
    'int16': audio.from_pcm(pcm),
  }
