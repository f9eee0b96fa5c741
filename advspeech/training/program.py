"""What a training runs: its steps, compiled once, whatever seed and rate."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import sharding

from advspeech import input_pipeline, parallel, transforms
from advspeech.training import defence
from advspeech.training.model import describe, make_model
from advspeech.training.step import Steps, abstract_rate, decay, make_steps

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections


def augmentation(settings: Mapping[str, Any]) -> transforms.Apply | None:
  """Returns what is done to clips that are trained on; None for nothing.

  Args:
    settings: `config.training`.
  """
  name = settings['augmentation']
  return transforms.make(name).augment if name else None


class Program:
  """The steps of trainings that differ in nothing but seed and first rate.

  They are compiled when they are first needed, and for all of these trainings
  on one mesh.

  Attributes:
    mesh: Where it runs.
    steps_per_epoch: Batches of the training clips, the last, partial one
      counted.
    num_steps: From the first epoch to the last.
    init: Maps a PRNG key to the first `TrainState`.
  """

  def __init__(
    self,
    settings: Mapping[str, Any],
    metadata: Mapping[str, Any],
    num_clips: int,
    mesh: sharding.Mesh,
  ):
    """Plans the steps; compiles nothing.

    Args:
      settings: `config.training`.
      metadata: As `describe` gives it; its seed does not matter.
      num_clips: To train on.
      mesh: Where to run.
    """
    self.mesh = mesh
    self._batch_size = settings['batch_size']
    self._clip_samples = metadata['clip_samples']
    self.steps_per_epoch = -(-num_clips // self._batch_size)
    self.num_steps = settings['num_epochs'] * self.steps_per_epoch
    self._schedule = decay(settings['decay_factor'], self.num_steps)
    self._steps = make_steps(
      make_model(settings, metadata),
      optax.scale_by_adam(),
      self._clip_samples,
      mesh,
      self._schedule,
      augmentation(settings),
      defence.make(settings['defence'], self.num_steps),
    )
    self.init = self._steps.init

  @property
  def is_compiled(self) -> bool:
    """Whether the steps are there, or whoever asks for them waits."""
    return 'compiled' in vars(self)

  @functools.cached_property
  def compiled(self) -> Steps:
    """The steps, compiled for batches of one size.

    Both: a program that compiles saves nothing when it is stopped, and so the
    evaluation is not left to the end of an epoch.
    """
    state = parallel.abstract_replicated(
      self.init, self.mesh, jax.random.key(0)
    )
    rate = abstract_rate(self.mesh)
    batch = input_pipeline.abstract_batch(
      self._batch_size, self._clip_samples, self.mesh
    )
    train, *evaluations = self._steps[1:]
    return Steps(
      self.init,
      train.lower(state, batch, rate).compile(),
      *(
        step and step.lower(state.variables, batch).compile()
        for step in evaluations
      ),
    )

  def place_rate(self, learning_rate: float) -> jax.Array:
    """Returns the first rate as the training step takes it."""
    return parallel.replicate(np.float32(learning_rate), self.mesh)

  def rate_at(self, learning_rate: float, step: int) -> float:
    """Returns the rate of a step, for a first one."""
    return float(jnp.float32(learning_rate) * self._schedule(step))


def programs(
  config: 'ml_collections.ConfigDict',
  model_name: str,
  splits: Mapping[str, input_pipeline.Split],
  classes: Sequence[str],
) -> Callable[[sharding.Mesh], Program]:
  """Returns a function of the mesh: what all trainings of a model run on it.

  Args:
    config: See configs/paper.py.
    model_name: Of all of them; seeds and rates may differ.
    splits: Clips.
    classes: Class names.
  """
  train = splits['train']
  metadata = describe(
    config, model_name, config.seeds[0], classes, train.pcm.shape[1]
  )
  return functools.cache(
    functools.partial(Program, config.training, metadata, len(train))
  )
