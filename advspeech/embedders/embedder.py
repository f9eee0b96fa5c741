"""What an embedder is, and where one of a name comes from."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio as audio_lib
from advspeech import checkpoint, errors, registry
from advspeech.embedders import resemblyzer, resemblyzer_weights

NAMES = ('resemblyzer',)
_LAST_LAYER = 'logits'


@dataclasses.dataclass(frozen=True)
class Embedder:
  """A function from clips to embeddings.

  Attributes:
    name: What tells it from others.
    apply: Maps (variables, audio [batch, time] in [0, 1], mask [batch, time]
      with 1 on recorded samples) to [batch, dimension], clip by clip.
    variables: What was learnt, a tree of arrays.
    title: What figures call it.
  """

  name: str
  apply: Callable[[Any, jax.Array, jax.Array], jax.Array]
  variables: Any = dataclasses.field(compare=False, repr=False)
  title: str = ''

  def __call__(self, audio: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns embeddings, [batch, dimension]."""
    return self.apply(self.variables, audio, mask)


def load(name: str, num_samples: int) -> Embedder:
  """Returns an embedder by name.

  One of one's own is a function of (samples [batch, time], mask [batch, time])
  to [batch, dimension] which says what samples it takes: its `sample_rate_hz`,
  and the lowest and the highest of them, `sample_range`. It may carry a
  `title`.

  Args:
    name: One of `NAMES`, or `package.module:function`.
    num_samples: Of the clips that it is to take.

  Raises:
    errors.InputError: If there is none of that name, it takes another rate,
      does not say what it takes, or returns no embeddings.
  """
  found = registry.resolve('an embedder', name, dict.fromkeys(NAMES))
  if found is None:
    return Embedder(
      name, _resemblyzer, resemblyzer_weights.load(), resemblyzer.TITLE
    )
  low, high = _taken(name, found)

  def apply(variables, audio, mask):
    del variables
    return found(low + (high - low) * audio, mask)

  embedder = Embedder(name, apply, (), registry.title(name, {}))
  _check_shape(embedder, num_samples)
  return embedder


def _resemblyzer(weights, audio, mask):
  return resemblyzer.embed(weights, audio_lib.to_full_scale(audio), mask)


def _taken(name, found):
  """Returns the lowest and the highest sample a function of one's own takes."""
  rate_hz = getattr(found, 'sample_rate_hz', None)
  ends = getattr(found, 'sample_range', None)
  if not callable(found) or rate_hz is None or ends is None:
    raise errors.InputError(
      'an embedder must be a function of (samples, mask) that carries '
      f'sample_rate_hz and sample_range, got {found!r} for {name}; set '
      f'{name.partition(":")[2]}.sample_range = (-1, 1), for example'
    )
  if rate_hz != audio_lib.SAMPLE_RATE_HZ:
    raise errors.InputError(
      f'{name} takes {rate_hz} Hz, and clips have '
      f'{audio_lib.SAMPLE_RATE_HZ} Hz; let it resample them itself '
      '(advspeech.features.resample) and state that rate'
    )
  if not (
    isinstance(ends, Sequence)
    and len(ends) == 2
    and np.isfinite(ends).all()
    and ends[0] < ends[1]
  ):
    raise errors.InputError(
      f'sample_range of {name} must be its lowest and its highest sample, such '
      f'as (-1, 1), got {ends!r}'
    )
  return tuple(map(float, ends))


def _check_shape(embedder, num_samples):
  clips = jax.ShapeDtypeStruct((2, num_samples), jnp.float32)
  found = jax.eval_shape(embedder.apply, embedder.variables, clips, clips)
  shape = getattr(found, 'shape', ())
  is_real = jnp.issubdtype(getattr(found, 'dtype', bool), jnp.floating)
  if len(shape) != 2 or shape[0] != 2 or not is_real:
    raise errors.InputError(
      f'{embedder.name} must return embeddings [batch, dimension] of real '
      f'numbers, got {jax.tree.map(lambda x: (x.shape, x.dtype), found)} for '
      'two clips'
    )


def check_gradients(
  embedder: Embedder, audio: jax.Array, mask: jax.Array
) -> None:
  """Refuses an embedder that cannot be attacked by gradients.

  Args:
    embedder: The victim, or what examples are transferred from.
    audio: [batch, time] clips with sound, in [0, 1].
    mask: [batch, time], 1 on recorded samples.

  Raises:
    errors.InputError: If it has none, none but zeros, or some not finite.
  """
  try:
    gradient = np.asarray(jax.grad(lambda x: embedder(x, mask).sum())(audio))
  except (TypeError, ValueError, NotImplementedError) as e:
    raise errors.InputError(
      f'{embedder.name} has no gradient, which attacks follow '
      f'({str(e).splitlines()[0]}); write it in differentiable JAX'
    ) from e
  if not np.isfinite(gradient).all() or not gradient.any():
    found = 'only zeros' if np.isfinite(gradient).all() else 'not finite'
    raise errors.InputError(
      f'{embedder.name} must have a gradient, which attacks follow, and on the '
      f'first clips it is {found}; look for rounding, argmax or a division by '
      'zero in it'
    )


def check_finite(
  embedder: Embedder, ids: np.ndarray, embeddings: np.ndarray
) -> None:
  """Refuses embeddings that cannot be compared.

  Args:
    embedder: That they are by.
    ids: [num_clips] of the clips.
    embeddings: [num_clips, dimension] of them.

  Raises:
    errors.InputError: If one is not finite.
  """
  bad = ~np.isfinite(embeddings).all(-1)
  if bad.any():
    raise errors.InputError(
      f'{embedder.name} must give every clip a finite embedding, and for '
      f'{ids[bad][0]} and {bad.sum() - 1} more it does not; look '
      'for silence there'
    )


def unit(x: jax.Array) -> jax.Array:
  """Returns vectors over their L2 norm, [..., dimension].

  0, with a gradient of 0, for 0.
  """
  square = jnp.sum(x * x, -1, keepdims=True)
  is_zero = square == 0
  return jnp.where(is_zero, 0, x / jnp.sqrt(jnp.where(is_zero, 1, square)))


def of_classifier(name: str, classifier: checkpoint.Classifier) -> Embedder:
  """Returns what a trained model's last layer is given, as an embedder.

  The 64 units of WaveCNN, the LSTM's last state of WaveRNN.

  Args:
    name: What tells it from others.
    classifier: Its last layer is called 'logits'.

  Raises:
    errors.InputError: If it has no such layer.
  """
  model = classifier.model

  def apply(variables, audio, mask):
    del mask  # it was trained on whole clips
    seen = []

    def look(call, arguments, keywords, context):
      if context.module.name == _LAST_LAYER:
        seen.append(arguments[0])
      return call(*arguments, **keywords)

    with nn.intercept_methods(look):
      model.apply(variables, audio, train=False)
    if len(seen) != 1:
      raise errors.InputError(
        f'{name} must have one layer called {_LAST_LAYER!r} to be an embedder, '
        f'got {len(seen)}; name its last layer so'
      )
    return seen[0].astype(jnp.promote_types(seen[0].dtype, jnp.float32))

  embedder = Embedder(name, apply, classifier.variables, name)
  _check_shape(embedder, classifier.metadata['clip_samples'])
  return embedder
