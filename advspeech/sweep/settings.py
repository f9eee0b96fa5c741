"""What all attacks of a sweep have in common, and how much runs at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax import sharding

from advspeech import models, over_clips, parallel, transforms
from advspeech.sweep import planning
from advspeech.sweep.member import Member

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# How a perturbed clip reaches the model that judges it.
FORMATS = ('memory', 'float32', 'int16')
REPAIRED = 'repaired'
# Multiples of a model's largest map that its layers need at a time, measured as
# XLA's temporary memory (tests/sweep/test_judging.py holds it to the bound).
_FORWARD_MAPS, _GRADIENT_MAPS = 4, 10
# Clips in a CPU's chunk at most, however many would fit its cache.
_CPU_CLIPS = 8


class Settings(NamedTuple):
  """What all attacks of a sweep have in common.

  Attributes:
    bounds: Smallest and largest legal sample.
    repair: Whether to judge 16-bit clips repaired on the integer lattice too.
    memory_mb: What a device may use for clips in progress.
    batch_size: Clips of a part, about; on an accelerator no chunk has more.
    mesh: The devices.
    num_draws: Of a transform, that an attack which knows of it averages over.
  """

  bounds: tuple[float, float]
  repair: bool
  memory_mb: int
  batch_size: int
  mesh: sharding.Mesh
  num_draws: int = 1


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
    num_draws=sweep.transform_draws,
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


def variants(
  planned: planning.PlannedAttack, settings: Settings
) -> tuple[str, ...]:
  """Returns what is judged for each clip and epsilon of a planned attack.

  The attack in each format, then its controls; in memory alone where clips are
  transformed, with its controls where the transform is a simulation, since
  rooms alone break clips. Repair asks for the least favourable rounding of
  samples, which is an attack on these: an attack on features is not repaired.
  """
  if not planned.is_plain:
    is_simulated = transforms.make(planned.transform).is_simulated
    return (*FORMATS[:1], *(planning.CONTROLS if is_simulated else ()))
  repairs = settings.repair and not planned.on_features
  repaired = (REPAIRED,) if repairs else ()
  return (*FORMATS, *repaired, *planning.CONTROLS)


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
  clips = over_clips.chunk_size(
    settings.mesh,
    on_host=_CPU_CLIPS,
    on_accelerator=settings.batch_size,
    clip_bytes=_GRADIENT_MAPS * largest,
    memory_bytes=budget,
  )
  for model in model_list:
    clips = models.clips_at_once(model, clips, num_samples, settings.mesh)
  if parallel.is_host(settings.mesh):
    return Chunks(clips, 1, 1)
  forwards = max(1, budget // (_FORWARD_MAPS * largest * clips))
  at_once = min(forwards, num_variants)
  return Chunks(clips, min(num_epsilons, max(1, forwards // at_once)), at_once)


def shard_size(
  members: Sequence[Member], num_samples: int, settings: Settings
) -> int:
  """Returns clips of a part: whole chunks, whatever the devices."""
  model_list = tuple(m.classifier.model for m in members)
  clips = chunks(model_list, num_samples, 1, 1, settings).clips
  return -(-settings.batch_size // clips) * clips
