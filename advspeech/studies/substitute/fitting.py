"""A substitute, trained by the steps of any other network."""

from typing import Any

import jax
import numpy as np
import optax
from jax import sharding

from advspeech import input_pipeline, models, parallel, preemption, training


class Fitting:
  """The steps of one architecture, compiled once for all rounds.

  Attributes:
    model: The network, in the precision of attacks.
  """

  def __init__(
    self,
    run: Any,
    name: str,
    num_samples: int,
    mesh: sharding.Mesh,
  ):
    """Plans the steps; compiles nothing.

    No augmentation and no defence: the attacker knows of none.

    Args:
      run: An `experiment.Run`.
      name: Of the architecture.
      num_samples: Of a clip.
      mesh: Where to run.
    """
    known = name in run.config.models
    config = run.config_of(name) if known else run.config
    self._training, self._settings = config.training, config.substitute
    self._seed, self._mesh = config.seeds[0], mesh
    metadata = training.describe(
      config, name, self._seed, run.classes, num_samples
    )
    self.model = models.create_model(
      **metadata['model'], precision=config.sweep.precision
    )
    self._steps = training.make_steps(
      training.make_model(config.training, metadata),
      optax.scale_by_adam(),
      num_samples,
      mesh,
    )

  def fit(
    self, split: input_pipeline.Split, variables: Any | None, number: int
  ) -> Any:
    """Returns variables trained for one round, on the host.

    The rate falls within the round as in any training.

    Args:
      split: All clips asked about so far.
      variables: Of the round before; None to begin.
      number: Of the round, from 0.

    Raises:
      errors.NonFiniteLossError: If the loss stops being finite.
      preemption.Stopped: If a signal asked for it.
    """
    settings = self._settings
    key = jax.random.fold_in(jax.random.key(self._seed), number)
    state = self._steps.init(key)
    if variables is not None:
      state = state._replace(variables=parallel.bring(variables, self._mesh))
    size = settings.batch_size
    num_steps = settings.num_epochs * -(-len(split) // size)
    left = training.decay(self._training.decay_factor, num_steps)
    step, found, rate = 0, None, 0.0
    for epoch in range(settings.num_epochs):
      order = input_pipeline.epoch_order(
        len(split), self._seed, number * settings.num_epochs + epoch
      )
      for batch in input_pipeline.batches(split, size, self._mesh, order):
        preemption.check()
        rate = self._training.learning_rate * float(left(step))
        state, found = self._steps.train(
          state,
          input_pipeline.step_arrays(batch),
          parallel.replicate(np.float32(rate), self._mesh),
        )
        step += 1
    loss = float(found['loss']) / float(found['num_clips'])
    training.check_finite(loss, step - 1, rate)
    return jax.device_get(state.variables)
