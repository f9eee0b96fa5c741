"""An embedder as a classifier of speakers: which of the enrolled is heard."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  checkpoint,
  embedders,
  errors,
  input_pipeline,
  over_clips,
)
from advspeech.studies.verification import scoring

# What cosines are multiplied by to be logits: the scale that training of GE2E
# begins with (Wan et al. 2018). Answers do not depend on it.
_SCALE = 10.0
# Maps of a clip's own length that an embedder is taken to hold of each clip.
_MAPS = 64


@dataclasses.dataclass(frozen=True)
class Identifier:
  """An embedder in the place of a module, as a study calls one.

  It hears whole clips, padding too: what is sent to it is a file.

  Attributes:
    embedder: By which clips are compared.
    num_classes: How many speakers are enrolled.
  """

  embedder: embedders.Embedder
  num_classes: int

  def apply(
    self, variables: Mapping[str, Any], audio: jax.Array, *, train: bool
  ) -> jax.Array:
    """Returns logits [batch, num_classes]: cosines to who is enrolled, scaled.

    Args:
      variables: `embedder`, its own, and `enrolled` [num_classes, dimension],
        of L2 norm 1.
      audio: [batch, time] in [0, 1].
      train: Not used.
    """
    del train
    heard = self.embedder.apply(
      variables['embedder'], audio, jnp.ones_like(audio)
    )
    return _SCALE * embedders.unit(heard) @ variables['enrolled'].T

  def activation_bytes(self, num_samples: int) -> int:
    """Returns bytes of one clip's largest map, a guess."""
    return 4 * _MAPS * num_samples


class _Heard(NamedTuple):
  """Embeddings of whole clips; a function for `over_clips.map_clips`."""

  embedder: embedders.Embedder

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns embeddings of L2 norm 1, [chunk, dimension]."""
    clips = rows['audio']
    return embedders.unit(
      self.embedder.apply(shared, clips, jnp.ones_like(clips))
    )


def enrol(
  embedder: embedders.Embedder,
  split: input_pipeline.Split,
  classes: Sequence[str],
  mesh: jax.sharding.Mesh,
) -> checkpoint.Classifier:
  """Returns who answers with the enrolled speaker that a clip is most like.

  A speaker is the mean of the embeddings, of L2 norm 1, of their clips.

  Args:
    embedder: By which.
    split: Clips that are enrolled, with speakers as labels.
    classes: Names of the speakers.
    mesh: The devices.

  Raises:
    errors.InputError: If a speaker has no clip, or an embedding is not finite.
    preemption.Stopped: If a signal asked for it.
  """
  labels = np.asarray(split.labels)
  for number, name in enumerate(classes):
    if number not in labels:
      raise errors.InputError(
        f'{embedder.name} needs a clip of every speaker to enrol, and there is '
        f'none of {name}; leave that speaker out of config.classes'
      )
  heard = over_clips.map_clips(
    _Heard(embedder),
    split,
    mesh,
    over_clips.chunk_size(mesh, **scoring.CHUNK),
    shared=embedder.variables,
  )
  heard = np.asarray(heard, np.float64)
  embedders.check_finite(embedder, split.ids, heard)
  means = np.stack([heard[labels == i].mean(0) for i in range(len(classes))])
  return checkpoint.Classifier(
    Identifier(embedder, len(classes)),
    {
      'embedder': embedder.variables,
      'enrolled': scoring.unit(means).astype(np.float32),
    },
    {
      'model': {'name': embedder.name, 'num_classes': len(classes)},
      'task': 'speaker',
      'classes': list(classes),
      'seed': 0,
    },
    0,
  )
