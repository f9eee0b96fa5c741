"""Input gradients of trained models over a split, reduced on the device.

Every clip is computed by itself, in a fixed unit, so that its numbers depend on
neither the order nor the number of devices; of a gradient only what
`gradients.summarise` returns leaves the device.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  gradients,
  input_pipeline,
  models,
  over_clips,
  parallel,
)
from advspeech.models import frontend

Tree = dict[str, Any]
REGIONS = ('all', 'recorded')
# Where a recording shorter than the clip lies in it; 'start' is the paper's.
ALIGNMENTS = ('start', 'end')
# What profiles are of, whatever frames a model itself has.
FRAME_SAMPLES = audio.SAMPLE_RATE_HZ * frontend.FRAME_MS // 1000


def map_clips(
  fn: over_clips.Function,
  shared: Any,
  split: input_pipeline.Split,
  name: str,
) -> Tree:
  """Returns a function of every clip, [num_clips, ...], from all devices.

  Args:
    fn: See `over_clips.map_clips`.
    shared: What all clips need, such as parameters, on the whole mesh.
    split: The clips.
    name: Of the progress shown.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  mesh = parallel.make_mesh()
  return over_clips.map_clips(
    fn, split, mesh, over_clips.chunk_size(mesh), shared=shared, name=name
  )


def logits(model: nn.Module, variables: Any, clips: jax.Array) -> jax.Array:
  """Returns a model's logits, [batch, num_classes], as it predicts."""
  return model.apply(variables, clips, train=False)


def loss_fn(
  model: nn.Module, variables: Any, label: jax.Array
) -> Callable[[jax.Array], jax.Array]:
  """Returns a function of clips to their losses, [batch]."""
  return lambda x: attacks.cross_entropy(logits(model, variables, x), label)


def _aligned(rows, alignment):
  """Returns the rows with their recordings at the clips' start or end.

  Wherever `config.clip.pad` has put them.
  """
  time = rows['mask'].shape[1]
  shift = -jnp.argmax(rows['mask'], -1)
  if alignment == 'end':
    shift += time - rows['mask'].sum(-1).astype(shift.dtype)
  roll = jax.vmap(jnp.roll)
  return {
    **rows,
    'audio': roll(rows['audio'], shift),
    'mask': roll(rows['mask'], shift),
  }


def clip_statistics(
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
  *,
  alignment: str = 'start',
) -> Tree:
  """Returns what is kept of every model's gradient of every clip.

  Args:
    classifiers: Models by name.
    split: The clips.
    alignment: One of `ALIGNMENTS`.

  Returns:
    `all` and `recorded`: by statistic of `gradients.summarise` [clips, models],
    over all samples (`outside_energy` then is that on padding) and over
    recorded ones; `profile` [clips, models, frames]; `pairs`: by statistic of
    `gradients.compare` [clips, pairs], in the order of `pairs`. With
    `speech_correlation`, the rank correlation of gradient and level over
    recorded frames, in both regions.
  """
  fn = statistics_fn(tuple(c.model for c in classifiers.values()), alignment)
  variables = tuple(c.variables for c in classifiers.values())
  return map_clips(fn, variables, split, 'gradients')


def statistics_fn(
  model_list: Sequence[nn.Module], alignment: str
) -> Callable[[Any, Tree], Tree]:
  """Returns the function of one unit of clips behind `clip_statistics`."""

  def fn(variables, rows):
    rows = _aligned(rows, alignment)
    grads = [
      gradients.input_gradient(loss_fn(m, v, rows['label']), rows['audio'])
      for m, v in zip(model_list, variables, strict=True)
    ]
    result = reduce_gradients(grads, rows['mask'], FRAME_SAMPLES)
    following = _speech_correlations(result['profile'], rows)
    for region in REGIONS:
      result[region]['speech_correlation'] = following
    between = [
      gradients.compare(grads[a], grads[b], frame_samples=FRAME_SAMPLES)
      for a, b in pairs(range(len(grads)))
    ]
    if between:
      result['pairs'] = side_by_side(between)
    return result

  return fn


def _speech_correlations(profile, rows):
  """Returns how far gradients follow the speech, [clips, models].

  The rank correlation, over frames that are recorded whole, of the gradient's
  mean magnitude and that of the samples.

  Args:
    profile: [clips, models, frames] of gradients.
    rows: The clips.
  """
  whole = gradients.frame_profile(rows['mask'], FRAME_SAMPLES) == 1
  level = gradients.frame_profile(rows['audio'] - audio.SILENCE, FRAME_SAMPLES)
  return jnp.stack(
    [
      gradients.rank_correlation(profile[:, m], level, whole)
      for m in range(profile.shape[1])
    ],
    -1,
  )


def reduce_gradients(
  grads: Sequence[jax.Array], mask: jax.Array, frame_samples: int
) -> Tree:
  """Returns the part of `clip_statistics` that is each model's own."""
  summarise = functools.partial(
    gradients.summarise,
    frame_samples=frame_samples,
    frame_ms=frontend.FRAME_MS,
  )
  everywhere = [summarise(g, jnp.ones_like(mask)) for g in grads]
  recorded = [summarise(g, mask) for g in grads]
  # Of all samples, what lies outside of the recorded ones.
  for whole, part in zip(everywhere, recorded, strict=True):
    whole['outside_energy'] = part['outside_energy']
  profile = [gradients.frame_profile(g, frame_samples) for g in grads]
  return {
    'all': side_by_side(everywhere),
    'recorded': side_by_side(recorded),
    'profile': jnp.stack(profile, 1),
  }


def pairs(names: Sequence[Any]) -> list[tuple[Any, Any]]:
  """Returns all pairs, in the order of the names."""
  names = list(names)
  return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def side_by_side(dicts):
  """Returns a dict of [rows, n] for n dicts of [rows]."""
  return {key: jnp.stack([d[key] for d in dicts], -1) for key in dicts[0]}


def whole_gradients(
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
) -> np.ndarray:
  """Returns every sample's gradient, [clips, models, time]: for few clips."""
  model_list = tuple(c.model for c in classifiers.values())

  def fn(variables, rows):
    return jnp.stack(
      [
        gradients.input_gradient(loss_fn(m, v, rows['label']), rows['audio'])
        for m, v in zip(model_list, variables, strict=True)
      ],
      1,
    )

  variables = tuple(c.variables for c in classifiers.values())
  return map_clips(fn, variables, split, 'whole gradients')


def in_precision(
  classifier: checkpoint.Classifier, precision: str
) -> nn.Module:
  """Returns the classifier's module computing in another arithmetic.

  Its own module if that has no field for it: its layers go by the type of what
  they are given.
  """
  if not models.takes_precision(classifier.model):
    return classifier.model
  return models.create_model(
    **classifier.metadata['model'], precision=precision
  )


def cast(tree: Any, dtype: Any) -> Any:
  """Returns a tree with its floating-point arrays in another type."""
  return jax.tree.map(
    lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
    tree,
  )
