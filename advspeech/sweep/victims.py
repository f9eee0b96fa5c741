"""Victims that are no model of this package: a function from audio to logits.

It need not be Flax, only traceable by JAX and differentiable, and must treat
each clip by itself.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from advspeech import checkpoint, errors, registry

LogitsFn = Callable[[jax.Array], jax.Array]
# Maps of a clip's own length that a function is taken to hold of each clip.
_MAPS = 64


@dataclasses.dataclass(frozen=True)
class FunctionModel:
  """A function in the place of a module, as a sweep calls one.

  Attributes:
    name: What tells it from others; not its address, which changes.
    logits_fn: Maps audio [batch, time] to logits [batch, num_classes].
    num_classes: Width of the logits.
  """

  name: str
  logits_fn: LogitsFn = dataclasses.field(repr=False)
  num_classes: int

  def apply(
    self, variables: Mapping[str, Any], audio: jax.Array, *, train: bool
  ) -> jax.Array:
    """Returns logits [batch, num_classes] of at least float32."""
    del variables, train
    logits = self.logits_fn(audio)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

  def activation_bytes(self, num_samples: int) -> int:
    """Returns bytes of one clip's largest map: the function's own, or many."""
    own = getattr(self.logits_fn, 'activation_bytes', None)
    return own(num_samples) if own else 4 * _MAPS * num_samples


def classifier_of(
  name: str,
  logits_fn: LogitsFn,
  classes: Sequence[str],
  *,
  task: str = '',
  seed: int = 0,
) -> checkpoint.Classifier:
  """Returns a function as a trained model.

  Args:
    name: What tells it from others.
    logits_fn: Maps audio [batch, time] in [0, 1] to logits [batch, classes].
    classes: Names of the logits.
    task: What they are values of, one of `tasks.NAMES`.
    seed: That its random draws in a sweep come from.
  """
  # One leaf, for variables of several members are stacked.
  return checkpoint.Classifier(
    FunctionModel(name, logits_fn, len(classes)),
    {'nothing': jnp.zeros(())},
    {
      'model': {'name': name, 'num_classes': len(classes)},
      'task': task,
      'classes': list(classes),
      'seed': seed,
    },
    0,
  )


def load(
  name: str, *, task: str, classes: Sequence[str], num_samples: int
) -> checkpoint.Classifier:
  """Returns a victim by name, `package.module:function`.

  The function may carry `classes` and `task` of its own, and a `title`.

  Args:
    name: As in `config.sweep.victims`.
    task: The run's, the victim's if it carries none.
    classes: The run's, the same.
    num_samples: Of a clip.

  Raises:
    errors.InputError: If there is no such function, or it returns no logits.
  """
  logits_fn = registry.resolve('a victim', name, {})
  if not callable(logits_fn):
    raise errors.InputError(
      'a victim must be a function from audio [batch, time] to logits, got '
      f'{logits_fn!r} for {name}'
    )
  classes = getattr(logits_fn, 'classes', classes)
  clips = jax.ShapeDtypeStruct((2, num_samples), jnp.float32)
  logits = jax.eval_shape(logits_fn, clips)
  expected = (2, len(classes))
  if getattr(logits, 'shape', None) != expected:
    raise errors.InputError(
      f'{name} must return logits [batch, num_classes], {expected} for two '
      f'clips and the classes {", ".join(classes)}, got '
      f'{jax.tree.map(lambda x: x.shape, logits)}; give it its own `classes`'
    )
  task = getattr(logits_fn, 'task', task)
  return classifier_of(name, logits_fn, classes, task=task)
