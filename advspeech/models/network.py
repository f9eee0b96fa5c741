"""What any model must be to take part, and how one of the user's own is built.

A model is a Flax Linen module, made as `Class(num_classes=..., **options)`,
whose `__call__(audio, *, train, valid=None)` maps audio [batch, time] in [0, 1]
to logits [batch, num_classes]. Besides, it may have

  title: What figures call it.
  frame_samples: Clips must be whole frames of so many samples.
  activation_bytes(num_samples): Bytes of the largest map of one clip.
  dtype, precision: Fields, filled with what the config's precision says.
  norm_axis: A field, filled with the mesh axis over which its batch statistics
    sum while it is trained; those of a model without are averaged over devices
    after each step.

Dropout draws from the stream of that name.
"""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import errors, registry

# Fields that are filled in, not options of the user's.
_ARITHMETIC = ('dtype', 'precision')
_FILLED_IN = ('num_classes', *_ARITHMETIC, 'norm_axis')
_RESERVED = ('name', 'parent', 'title')


def own_class(name: str, options: Mapping[str, Any]) -> type[nn.Module]:
  """Returns the class of a model of the user's own.

  Args:
    name: `package.module:Class`.
    options: That it is to be made with.

  Raises:
    errors.InputError: If there is none, it does not keep the protocol, or it
      has no such options.
  """
  found = registry.resolve('a model', name, {})
  if not (inspect.isclass(found) and issubclass(found, nn.Module)):
    raise errors.InputError(
      f'a model must be a class of flax.linen.Module, got {found!r} for {name}'
    )
  arguments = inspect.signature(found.__call__).parameters
  missing = [
    f'argument {key}' for key in ('train', 'valid') if key not in arguments
  ]
  if 'num_classes' not in _fields(found):
    missing.append('field num_classes')
  if missing:
    raise errors.InputError(
      f'{name} must have a field num_classes and be called as '
      '__call__(audio, *, train, valid=None), it has no '
      f'{" and no ".join(missing)}'
    )
  legal = [
    key for key in _fields(found) if key not in (*_FILLED_IN, *_RESERVED)
  ]
  for key in options:
    if key not in legal:
      raise errors.InputError(
        f'config.model_options.{registry.short_name(name)} must be among '
        f'{", ".join(legal) or "no options"} of {name}, got {key!r}'
      )
  return found


def make_own(
  name: str,
  num_classes: int,
  options: Mapping[str, Any],
  arithmetic: tuple[Any, jax.lax.Precision],
  precision: str,
  norm_axis: str | None,
) -> nn.Module:
  """Returns an unbound model of the user's own.

  Args:
    name: `package.module:Class`.
    num_classes: Width of the logits.
    options: Its own.
    arithmetic: Type of the computation, and precision of its products.
    precision: What that is called.
    norm_axis: Mesh axis over which its batch statistics sum.

  Raises:
    errors.InputError: See `own_class`; or if the precision is another than
      float32, and it has no fields to set it by.
  """
  found = own_class(name, options)
  filled = dict(zip(_ARITHMETIC, arithmetic, strict=True))
  if precision != 'float32' and not {*filled} <= {*_fields(found)}:
    raise errors.InputError(
      f'{name} computes as it is written, and so the precision must be '
      f'float32, got {precision!r}; give it the fields dtype and precision, '
      'and its layers these'
    )
  filled |= {'num_classes': num_classes, 'norm_axis': norm_axis}
  known = {key: filled[key] for key in _fields(found) if key in filled}
  # Lists of JSON, which a module, being hashed, cannot have.
  options = {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in options.items()
  }
  return found(**known, **options)


def check(name: str, model: nn.Module, num_samples: int) -> None:
  """Refuses a model that cannot take clips of so many samples.

  Args:
    name: As the config names it.
    model: Unbound.
    num_samples: Of a clip.

  Raises:
    errors.InputError: If they are not whole frames, or what comes out are no
      logits.
  """
  frame = getattr(model, 'frame_samples', 1)
  if num_samples % frame:
    raise errors.InputError(
      f'clips must be whole frames of {frame} samples for {name}, got '
      f'{num_samples} samples; change config.clip_s'
    )
  clips = jnp.zeros((2, num_samples))
  logits, _ = jax.eval_shape(
    lambda key: model.init_with_output(key, clips, train=False),
    jax.random.key(0),
  )
  expected = (2, model.num_classes)
  if getattr(logits, 'shape', None) != expected:
    raise errors.InputError(
      f'{name} must return logits [batch, num_classes], {expected} for two '
      f'clips, got {jax.tree.map(lambda x: x.shape, logits)}'
    )


@functools.lru_cache
def activation_bytes(model: nn.Module, num_samples: int) -> int:
  """Returns bytes of the largest map that a model makes of one clip.

  What the model says of itself, or the largest of what its layers return, if
  none is smaller than four copies of the clip.

  Args:
    model: Unbound.
    num_samples: Of a clip.
  """
  if hasattr(model, 'activation_bytes'):
    return model.activation_bytes(num_samples)
  clip = jnp.zeros((1, num_samples))

  def forward(key):
    _, intermediates = model.init_with_output(
      key, clip, train=False, capture_intermediates=True
    )
    return intermediates.get('intermediates', {})

  found = jax.tree.leaves(jax.eval_shape(forward, jax.random.key(0)))
  sizes = [x.size * x.dtype.itemsize for x in found]
  return max([4 * num_samples * 4, *sizes])


def takes_precision(model: nn.Module) -> bool:
  """Returns whether a model has an arithmetic of its own set."""
  return all(hasattr(model, key) for key in _ARITHMETIC)


def norms_over_the_mesh(model: nn.Module) -> bool:
  """Returns whether a model in training sums its batch statistics itself."""
  return getattr(model, 'norm_axis', None) is not None


def _fields(found):
  return [field.name for field in dataclasses.fields(found)]
