"""Universal perturbations, learnt on other clips before a cell is judged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from advspeech import attacks, input_pipeline, models, parallel, preemption
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import engine, masks
from advspeech.sweep import problem as problem_lib

# Epsilons that the steps towards a universal perturbation cover together.
_UNIVERSAL_REACH = 2.5


def fit_universal(
  cell: cells_lib.Cell,
  source: cells_lib.Member,
  split: input_pipeline.Split,
  attack: attacks.Attack,
  settings: engine.Settings,
  *,
  num_passes: int,
) -> np.ndarray:
  """Returns directions that break many clips, [num_epsilons, time].

  Args:
    cell: Of a fitted attack.
    source: The member attacked; its labels are not these clips'.
    split: Clips to learn on.
    attack: The cell's.
    settings: Of the sweep.
    num_passes: Over the clips.
  """
  num_samples = split.pcm.shape[1]
  num_batches = -(-len(split) // settings.batch_size)
  rms = problem_lib.signal_rms(split.pcm, split.spans)
  radii = np.stack([epsilon.radii(rms) for epsilon in cell.epsilons])
  columns = {
    'pcm': split.pcm,
    'span': split.spans,
    'goal': dataclasses.replace(source, labels=split.labels).goal(attack),
    'id_words': input_pipeline.id_words(split.ids),
    'radii': radii.T,
  }
  step = _universal_step(
    source.classifier.model,
    masks.parse(cell.mask),
    attack,
    settings,
    _UNIVERSAL_REACH / (num_passes * num_batches),
  )
  direction = np.zeros((len(cell.epsilons), num_samples), np.float32)
  for _ in range(num_passes):
    for start in range(0, len(split), settings.batch_size):
      preemption.check()
      batch = {}
      for name, x in columns.items():
        rows = x[start : start + settings.batch_size]
        fill = settings.batch_size - len(rows)
        batch[name] = np.pad(rows, [(0, fill)] + [(0, 0)] * (x.ndim - 1))
      direction = step(
        source.classifier.variables,
        parallel.shard_batch(batch, settings.mesh),
        direction,
        np.uint32(source.seed),
      )
  return np.asarray(direction.addressable_data(0))


def _universal_step(model, part, attack, settings, relative_step):
  """Returns the compiled step behind `fit_universal`."""

  def step(variables, batch, direction, seed):
    clips, recorded = problem_lib.decode(batch['pcm'], batch['span'])

    def loss_fn(x, batch, recorded):
      keys = problem_lib.streams(seed, batch['id_words'])
      posed = problem_lib.pose(
        model,
        variables,
        x,
        recorded,
        batch['goal'],
        keys,
        attack,
        part,
        None,
        settings.bounds,
      )
      return posed.loss_fn(x)

    at_once = models.clips_at_once(model, 1, clips.shape[1])
    # Rows that only fill a batch hold no samples, and so take no part.
    touched = (batch['span'][:, 1:] > 0) * jnp.ones_like(clips)
    mask = part.samples(recorded)
    return attacks.universal_step(
      lambda x: parallel.map_rows(loss_fn, at_once, x, batch, recorded),
      direction,
      clips,
      batch['radii'].T,
      relative_step=relative_step,
      mask=touched if mask is None else touched * mask,
      band=part.band(clips.shape[1]),
      bounds=settings.bounds,
      axis_name='data',
    )

  copies, rows = PartitionSpec(), PartitionSpec('data')
  return jax.jit(
    jax.shard_map(
      step,
      mesh=settings.mesh,
      in_specs=(copies, rows, copies, copies),
      out_specs=copies,
      check_vma=False,
    )
  )
