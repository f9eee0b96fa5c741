"""What is compiled of a sweep: clips perturbed and judged, a chunk at a time.

What does not depend on epsilon, the gradient of a single-step attack above all,
is computed once a clip. Perturbed clips live only inside the compiled function,
a few at a time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  audio,
  over_clips,
  quality,
  randomness,
  transforms,
)
from advspeech.sweep import masks, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.settings import REPAIRED, Chunks


class Judgements(NamedTuple):
  """What one planned attack did to some clips.

  Attributes:
    clean: [num_targets, num_clips] classes given to the untouched clips (after
      the planned transform).
    predictions: [num_epsilons, num_variants, num_targets, num_clips] classes
      given to the perturbed ones; see `variants`.
    snr_db: [num_epsilons, 1 + num_controls, num_clips] over recorded samples,
      of the attack and of each control.
    max_norm: [num_epsilons, num_clips] largest change of a sample.
    heard_snr_db: As `snr_db`, of what the judges hear: behind a simulation, at
      its microphone, against the clean clip in the same room; nan elsewhere.
    segmental_snr_db: [num_epsilons, num_clips].
    log_spectral_distance_db: [num_epsilons, num_clips].
  """

  clean: np.ndarray
  predictions: np.ndarray
  snr_db: np.ndarray
  heard_snr_db: np.ndarray
  max_norm: np.ndarray
  segmental_snr_db: np.ndarray
  log_spectral_distance_db: np.ndarray


# Over clips, that come first inside the compiled function, and over epsilons.
MEASURED = PartitionSpec('data', 'epsilon')
SPECS = over_clips.Specs(
  # The source's variables, the targets', and directions learnt before.
  shared=(PartitionSpec(), PartitionSpec(), PartitionSpec('epsilon')),
  columns=(('radii', MEASURED),),
  results=Judgements(PartitionSpec('data'), *[MEASURED] * 6),
)
COLUMNS = ('goal', 'radii')


class Program(NamedTuple):
  """All that is compiled into a step; a function for `over_clips.map_clips`."""

  source: nn.Module
  targets: tuple[nn.Module, ...]
  attack: attacks.Attack
  mask: masks.Mask
  transform: transforms.Transform | None
  adaptive: bool
  num_draws: int
  variants: tuple[str, ...]
  bounds: tuple[float, float]
  chunks: Chunks
  mesh: sharding.Mesh
  masked: bool

  @property
  def num_clips(self) -> int:
    """Returns the clips that a step takes, a chunk a device."""
    return self.chunks.clips * self.mesh.shape['data']

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Judgements:
    """Returns judgements of a chunk, clips first.

    For one device's clips and epsilons: nothing is left to communicate.

    Args:
      shared: The source model's variables; for each module of targets its
        members' variables, stacked; and directions [num_epsilons, time or 0].
      rows: The clips, with the columns `goal` [chunk] and `radii` [chunk,
        num_epsilons].
    """
    source, targets, fitted = shared
    return _judge_chunk(self, source, targets, fitted, rows)


def _judge_chunk(program, source, targets, fitted, rows):
  """Returns `Judgements` of a chunk, clips first; see `Program`."""
  clips, recorded, keys = rows['audio'], rows['mask'], rows['key']
  problem = problem_lib.pose(
    program.source,
    source,
    rows,
    program.attack,
    program.mask,
    program.transform if program.adaptive else None,
    program.bounds,
    program.num_draws,
    masked=program.masked,
  )
  # Outside of the loop over epsilons, on which it does not depend: the gradient
  # of a single step serves all of them.
  prepared = program.attack.prepare(problem)

  def hear(x):
    """Returns clips behind the transform, [batch, time]."""
    if not program.transform:
      return x
    return program.transform.apply(
      x, randomness.stream(keys, 'transform'), recorded
    )

  def predict(x):
    """Returns [num_targets, batch] classes for clips [batch, time]."""
    x = hear(x)
    # Members of one architecture, one after another: side by side their feature
    # maps would take the memory of all.
    predicted = [
      jax.lax.map(
        lambda variables, model=model: jnp.argmax(
          model.apply(variables, x, train=False), -1
        ).astype(jnp.int32),
        variables,
      )
      for model, variables in zip(program.targets, targets, strict=True)
    ]
    return jnp.concatenate(predicted)

  def judge_epsilon(radius, direction):
    perturbed = problem_lib.carry_out(
      program.attack, problem, prepared, direction, radius
    )
    # As large as what the bounds left of the attack, not as its radius.
    noisy = controls(
      keys,
      perturbed,
      problem,
      [name for name in planning.CONTROLS if name in program.variants],
    )
    max_norm = jnp.abs(perturbed - clips).max(-1)
    saved = _saved(perturbed)
    if REPAIRED in program.variants:
      # In the ball that the attack has used: a repair must not add to it.
      saved[REPAIRED] = attacks.repair(
        problem.loss_fn, clips, perturbed[None], max_norm[None]
      )[0]
    variants_of = [saved[n] for n in program.variants if n in saved] + noisy
    predictions = jax.lax.map(
      predict, jnp.stack(variants_of), batch_size=program.chunks.variants
    )
    sent = (perturbed, *noisy)
    snr_db = jnp.stack([audio.snr_db(clips, x, recorded) for x in sent])
    heard_snr_db = jnp.full_like(snr_db, jnp.nan)
    if program.transform and program.transform.is_simulated:
      clean = hear(clips)
      heard_snr_db = jnp.stack(
        [audio.snr_db(clean, hear(x), recorded) for x in sent]
      )
      # Where nothing was sent, what is heard differs by rounding.
      heard_snr_db = jnp.where(jnp.isinf(snr_db), snr_db, heard_snr_db)
    return {
      'predictions': predictions,
      'snr_db': snr_db,
      'heard_snr_db': heard_snr_db,
      'max_norm': max_norm,
      'segmental_snr_db': quality.segmental_snr_db(clips, perturbed, recorded),
      'log_spectral_distance_db': quality.log_spectral_distance_db(
        clips, perturbed, recorded
      ),
    }

  # Perturbed clips of a few epsilons exist at a time; of all the others there
  # are only verdicts.
  judged = jax.lax.map(
    lambda x: judge_epsilon(*x),
    (rows['radii'].T, fitted),
    batch_size=program.chunks.epsilons,
  )
  judged['clean'] = predict(clips)
  return Judgements(**{k: jnp.moveaxis(x, -1, 0) for k, x in judged.items()})


def _control(name, keys, perturbed, problem):
  """Returns clips under noise as large as an attack's perturbation."""
  make = {
    'random_sign': attacks.random_sign_like,
    'gaussian': attacks.gaussian_like,
    'shuffled': attacks.shuffled,
  }[name]
  clips = problem.audio
  limits = {'mask': problem.mask, 'band': problem.band}
  if name == 'random_sign':  # the one of the attack's own size, by any budget
    limits['ceiling'] = problem.ceiling
  noise = make(randomness.stream(keys, name), perturbed - clips, **limits)
  # Samples without noise stay bit for bit, also those out of bounds.
  return jnp.where(noise == 0, clips, jnp.clip(clips + noise, *problem.bounds))


def controls(
  keys: jax.Array,
  perturbed: jax.Array,
  problem: attacks.Problem,
  names: Sequence[str] = planning.CONTROLS,
) -> list[jax.Array]:
  """Returns clips under noise as large as an attack's perturbation.

  Args:
    keys: [batch] the clips' own.
    perturbed: [batch, time] what the attack made of them.
    problem: Of the attack.
    names: Of the controls.
  """
  return [_control(name, keys, perturbed, problem) for name in names]


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
