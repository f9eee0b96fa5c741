"""A speaker model's network, trained further on protected speech.

Speakers are told apart by softmax over cosines to a learned vector of each,
with an additive margin (AM-softmax, Wang et al. 2018, "Additive margin softmax
for face verification"). The vectors begin as the mean embeddings of the
speakers (Qi et al. 2018, "Low-shot learning with imprinted weights"), so that
nothing is drawn but the order of the clips. Batch norm keeps its statistics.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import sharding
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  embedders,
  errors,
  input_pipeline,
  parallel,
  preemption,
)

# Of cosines, and what is taken off that of the right speaker.
SCALE, MARGIN = 30.0, 0.2
# In the place of the logits of speakers who are not trained on.
_NEVER = -1e4
_EXACT = jax.lax.Precision.HIGHEST


class Settings(NamedTuple):
  """How a network is trained.

  Attributes:
    num_steps: Of Adam.
    learning_rate: Of the first; it falls to 0 along a line.
    batch_size: Clips a step.
    seed: Of the order of the clips.
  """

  num_steps: int
  learning_rate: float
  batch_size: int
  seed: int


def can_be_trained(embedder: embedders.Embedder) -> bool:
  """Returns whether anything in an embedder was learnt that can be again."""
  return any(_is_trained(embedder.variables))


def _is_trained(variables):
  """Returns which leaves are trained: floats, of a Flax model its parameters.

  Statistics of batch norm are none: they have a gradient, and must not move.
  """
  has_params = isinstance(variables, Mapping) and 'params' in variables
  return [
    bool(
      jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
      and (not has_params or path[0].key == 'params')
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
  ]


def losses(
  vectors: jax.Array, speakers: jax.Array, labels: jax.Array, known: jax.Array
) -> jax.Array:
  """Returns the AM-softmax of clips, [batch].

  Args:
    vectors: [batch, dimension] embeddings.
    speakers: [num_speakers, dimension] a vector of each.
    labels: [batch] who speaks.
    known: [num_speakers] 1 of those who are trained on.
  """
  cosines = jnp.matmul(_unit(vectors), _unit(speakers).T, precision=_EXACT)
  is_own = labels[:, None] == jnp.arange(len(speakers))[None]
  logits = SCALE * jnp.where(is_own, cosines - MARGIN, cosines)
  return attacks.cross_entropy(
    jnp.where(known[None] > 0, logits, _NEVER), labels
  )


def _unit(x):
  """Returns rows over their L2 norm, 0 for 0, whose gradient is finite."""
  square = jnp.sum(x * x, -1, keepdims=True)
  return x / jnp.sqrt(jnp.where(square == 0, 1, square))


class _State(NamedTuple):
  """What a step changes.

  Attributes:
    speakers: [num_speakers, dimension].
    network: Leaves that are trained.
    optimizer: Of both.
  """

  speakers: Any
  network: Any
  optimizer: Any


class Trainer:
  """The steps of one embedder, compiled once for all that it is trained on."""

  def __init__(
    self, embedder: embedders.Embedder, settings: Settings, mesh: sharding.Mesh
  ):
    """Plans the steps; compiles nothing.

    Args:
      embedder: One that can be trained.
      settings: How.
      mesh: Where to run.
    """
    self._embedder, self._settings, self._mesh = embedder, settings, mesh
    self._leaves, self._tree = jax.tree.flatten(embedder.variables)
    self._trained = _is_trained(embedder.variables)
    self._adam = optax.scale_by_adam()
    copies = PartitionSpec()
    self._step = jax.jit(
      jax.shard_map(
        self._next,
        mesh=mesh,
        in_specs=(copies, copies, PartitionSpec('data'), copies),
        out_specs=copies,
        # Without it JAX would sum the gradients on its own.
        check_vma=False,
      )
    )

  def fit(
    self, split: input_pipeline.Split, speakers: np.ndarray, known: np.ndarray
  ) -> Any:
    """Returns the embedder's variables after training.

    Args:
      split: Clips of the speakers known, labelled by their numbers.
      speakers: [num_speakers, dimension] their mean embeddings.
      known: [num_speakers] whether clips of each are in the split.

    Raises:
      errors.NonFiniteLossError: If the loss stops being finite.
      preemption.Stopped: If a signal asked for it.
    """
    settings, mesh = self._settings, self._mesh
    network = [
      np.asarray(x) for x, is_one in self._pairs(self._leaves) if is_one
    ]
    fixed = parallel.bring(
      [x for x, is_one in self._pairs(self._leaves) if not is_one], mesh
    )
    vectors = np.asarray(speakers, np.float32)
    state = parallel.bring(
      _State(vectors, network, self._adam.init((vectors, network))), mesh
    )
    is_known = parallel.replicate(np.asarray(known, np.float32), mesh)
    loss = np.float32(0)
    for step, batch in enumerate(
      input_pipeline.batches(
        split, settings.batch_size, mesh, _order(len(split), settings)
      )
    ):
      preemption.check()
      rate = settings.learning_rate * (1 - step / settings.num_steps)
      state, loss = self._step(
        state,
        (fixed, is_known),
        input_pipeline.step_arrays(batch),
        parallel.replicate(np.float32(rate), mesh),
      )
    if not np.isfinite(loss):
      raise errors.NonFiniteLossError(
        f'the loss of {self._embedder.name} trained on protected speech must '
        f'stay finite, got {float(loss)}; lower '
        '--config.privacy.retraining.learning_rate'
      )
    return self._joined(state.network, fixed)

  def _pairs(self, leaves):
    return zip(leaves, self._trained, strict=True)

  def _joined(self, network, fixed):
    """Returns variables of trained leaves and the others."""
    trained, others = iter(network), iter(fixed)
    return jax.tree.unflatten(
      self._tree,
      [next(trained if is_one else others) for is_one in self._trained],
    )

  def _next(self, state, shared, batch, rate):
    """Returns the next state and the loss, for one device's clips."""
    fixed, known = shared

    def loss_fn(learnt):
      speakers, network = learnt
      vectors = self._embedder.apply(
        self._joined(network, fixed), batch['audio'], batch['mask']
      )
      found = losses(vectors, speakers, batch['label'], known)
      return jnp.sum(found * batch['valid'])

    learnt = state.speakers, state.network
    loss, gradients = jax.value_and_grad(loss_fn)(learnt)
    loss, gradients, number = jax.lax.psum(
      (loss, gradients, batch['valid'].sum()), 'data'
    )
    gradients = jax.tree.map(lambda g: g / number, gradients)
    directions, optimizer = self._adam.update(gradients, state.optimizer)
    speakers, network = optax.apply_updates(
      learnt, jax.tree.map(lambda d: -rate * d, directions)
    )
    return _State(speakers, network, optimizer), loss / number


def _order(num_clips, settings):
  """Returns which clips all steps take, epoch after epoch."""
  num = settings.num_steps * settings.batch_size
  orders = [
    input_pipeline.epoch_order(num_clips, settings.seed, epoch)
    for epoch in range(-(-num // num_clips))
  ]
  return np.concatenate(orders)[:num]
