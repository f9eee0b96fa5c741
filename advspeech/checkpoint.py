"""Checkpoints: every epoch, the last and the best kept, resumed bit for bit.

Arrays and JSON on disk (Orbax), never pickle.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from advspeech import errors, models, parallel

# Latest two, so that a save that never ended leaves one to go back to.
_NUM_LATEST = 2
RANKING = ('validation_accuracy', 'validation_loss')


def _rank(metrics: Mapping[str, float]) -> tuple[float, float]:
  """Returns the order of epochs: by accuracy, at a tie by lower loss."""
  accuracy, loss = RANKING
  return metrics[accuracy], -metrics[loss]


class Checkpoints:
  """The checkpoints of one training run; a context manager.

  Leaving the context waits for saves in flight: Orbax loses the last one
  otherwise.
  """

  def __init__(self, workdir: str):
    """Opens (and creates) `<workdir>/checkpoints`."""
    self._path = os.path.abspath(os.path.join(workdir, 'checkpoints'))
    self._manager = ocp.CheckpointManager(
      self._path,
      options=ocp.CheckpointManagerOptions(
        best_fn=_rank,
        best_mode='max',
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
          [
            checkpoint_managers.LatestN(_NUM_LATEST),
            checkpoint_managers.BestN(get_metric_fn=_rank, n=1),
          ]
        ),
        cleanup_tmp_directories=True,
      ),
    )

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *exc_info):
    """Waits for saves in flight and closes."""
    self._manager.close()

  def save(
    self,
    epoch: int,
    metadata: dict[str, Any],
    metrics: Mapping[str, float],
    **trees: Any,
  ) -> None:
    """Starts saving what training has reached at the end of `epoch`.

    Args:
      epoch: Epochs finished; checkpoints are numbered by it.
      metadata: JSON-like description; `model` says what the arrays belong to.
      metrics: The two of `RANKING`.
      **trees: Named trees of arrays.
    """
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    items['metadata'] = ocp.args.JsonSave(metadata)
    self._manager.save(
      epoch, args=ocp.args.Composite(**items), metrics=dict(metrics)
    )

  @property
  def latest_epoch(self) -> int | None:
    """The last epoch saved, None if there is none."""
    return self._manager.latest_step()

  @property
  def best_epoch(self) -> int | None:
    """The best epoch by validation accuracy, None if there is none."""
    return self._manager.best_step()

  def metadata(self, epoch: int) -> dict[str, Any]:
    """Returns the description saved with `epoch`."""
    restored = self._manager.restore(
      epoch, args=ocp.args.Composite(metadata=ocp.args.JsonRestore())
    )
    return restored.metadata

  def restore(
    self, epoch: int, metadata: Mapping[str, Any], **like: Any
  ) -> dict[str, Any]:
    """Returns saved trees by name, placed as their templates say.

    Args:
      epoch: Which checkpoint.
      metadata: What it must have been saved with.
      **like: For each tree wanted, a tree of arrays or
        jax.ShapeDtypeStruct with shardings.

    Raises:
      errors.InputError: If the checkpoint is another model's.
    """
    _check(self._path, self.metadata(epoch), metadata)
    items = {
      name: ocp.args.StandardRestore(tree) for name, tree in like.items()
    }
    restored = self._manager.restore(epoch, args=ocp.args.Composite(**items))
    return {name: restored[name] for name in like}


def _check(path, found, expected):
  """Raises errors.InputError unless a checkpoint is the one expected."""
  found, expected = ({**x, **x['model']} for x in (found, expected))
  different = ', '.join(
    f'{key}={found.get(key)!r} where {expected.get(key)!r} is expected'
    for key in sorted({*found, *expected} - {'model'})
    if found.get(key) != expected.get(key)
  )
  if different:
    raise errors.InputError(
      f'{path} holds a checkpoint of another model, {different}; use another '
      '--workdir or remove it'
    )


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained model.

  Attributes:
    model: Linen module; `model.apply(variables, audio, train=False)`.
    variables: Its parameters and running statistics.
    metadata: What it is: `model`, `classes`, `task`, `seed`, `clip_samples`.
    epoch: The epoch it was taken from.
  """

  model: nn.Module
  variables: dict[str, Any]
  metadata: dict[str, Any]
  epoch: int

  @property
  def logits_fn(self) -> Callable[[jax.Array], jax.Array]:
    """Maps audio [batch, time] in [0, 1] to logits [batch, num_classes]."""
    return lambda audio: self.model.apply(self.variables, audio, train=False)


def load_classifier(
  workdir: str, expected: Mapping[str, Any] | None = None
) -> Classifier:
  """Returns the best classifier of a training run, replicated on all devices.

  Args:
    workdir: The folder of one model, such as `runs/quickstart/wavecnn-seed0`.
    expected: Metadata it must have been saved with; None for any.

  Raises:
    errors.InputError: If the folder holds no checkpoint, or another model's.
  """
  if not os.path.isdir(os.path.join(workdir, 'checkpoints')):
    raise errors.InputError(
      f'{workdir} holds no checkpoints; name the folder of a trained model, '
      'such as runs/quickstart/wavecnn-seed0'
    )
  with Checkpoints(workdir) as checkpoints:
    epoch = checkpoints.best_epoch
    if epoch is None:
      raise errors.InputError(
        f'{workdir} holds no finished checkpoint; train it first'
      )
    metadata = checkpoints.metadata(epoch)
    model = models.create_model(**metadata['model'])
    like = parallel.abstract_replicated(
      lambda: model.init(
        jax.random.key(0),
        jnp.zeros((1, metadata['clip_samples'])),
        train=False,
      ),
      parallel.make_mesh(),
    )
    trees = checkpoints.restore(epoch, expected or metadata, variables=like)
  return Classifier(model, trees['variables'], metadata, epoch)
