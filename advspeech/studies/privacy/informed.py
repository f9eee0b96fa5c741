"""What attackers hear who answer a protection: parts on disk.

Clips are protected against the speaker model as it was, and are made again for
them; they are not stored. One attacker trains the network on them
(`retrained`), another puts a transform before it. A part is of one protection
and one embedder.
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import sharding

from advspeech import (
  audio,
  embedders,
  input_pipeline,
  over_clips,
  randomness,
  registry,
  transforms,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import named_embedders
from advspeech.studies.privacy import examples, retrained, retraining
from advspeech.studies.verification import scoring

logger = logging.getLogger(__name__)

# Of embedder, protection and weight, by number, name and number.
Key = tuple[int, str, int]


class Protected(NamedTuple):
  """Clips that can be protected at one epsilon.

  Attributes:
    split: Clean, as the study has them.
    fitted: Numbers of those that networks are trained on.
    shared: Variables of the embedders and of the models.
    columns: Of the clips, as protections take them, `radii` of one epsilon.
    seed: Of everything random.
    mesh: The devices.
  """

  split: input_pipeline.Split
  fitted: np.ndarray
  shared: tuple[Any, Any]
  columns: Mapping[str, np.ndarray]
  seed: int
  mesh: sharding.Mesh

  def made(
    self, name: str, protection: examples.Protection, weight: float
  ) -> input_pipeline.Split:
    """Returns the clips as 16-bit files under a protection have them."""
    pcm = over_clips.map_clips(
      _Encoding(protection),
      self.split,
      self.mesh,
      over_clips.chunk_size(self.mesh, **scoring.CHUNK),
      shared=(*self.shared, np.array([weight], np.float32)),
      columns=self.columns,
      seed=self.seed,
      name=f'clips under {name} again',
    )
    return dataclasses.replace(self.split, pcm=pcm)


class _Encoding(NamedTuple):
  """Clips under a protection as PCM, for `over_clips.map_clips`."""

  protection: examples.Protection

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns int16 clips of the first epsilon and weight, [chunk, time]."""
    sounds = examples.Sounding(self.protection)(shared, rows)
    return audio.to_pcm(sounds[:, 0])


class Heard(NamedTuple):
  """What is heard, by embedder, protection and weight.

  Attributes:
    retrained: By networks trained again; see `retrained.Network.heard`.
    filtered: Of all protected clips through each transform, by its number,
      [num_clips, dimension].
  """

  retrained: dict[Key, Any]
  filtered: dict[Key, Any]


def make(
  folder: str,
  protections: Sequence[tuple[str, examples.Protection, tuple[float, ...]]],
  protected: Protected,
  named: Sequence[named_embedders.Named],
  settings: retraining.Settings,
  filters: Sequence[str],
) -> Heard:
  """Returns what is heard; parts that are there are read.

  Args:
    folder: Of the study.
    protections: Names, what is compiled, and weights.
    protected: The clips.
    named: Embedders, of which those with nothing to train are not trained.
    settings: How the others are; not at all in 0 steps.
    filters: Transforms before an embedder.

  Raises:
    errors.InputError: If an embedding is not finite after training.
    errors.NonFiniteLossError: If a loss stops being finite.
    preemption.Stopped: If a signal asked for it.
  """
  networks = _networks(protected, named, settings)
  found = Heard({}, {})

  for name, protection, weights in protections:
    for i, weight in enumerate(weights):
      clips = functools.cache(
        functools.partial(protected.made, name, protection, weight)
      )
      end = f'{registry.short_name(name)}-{i}.npz'
      for number, network in networks.items():
        found.retrained[number, name, i] = folder_lib.cached(
          os.path.join(folder, f'retrained-{number}-{end}'),
          lambda network=network, clips=clips, name=name: network.heard(
            clips(), name
          ),
        )
      for number, each in enumerate(named if filters else ()):
        found.filtered[number, name, i] = folder_lib.cached(
          os.path.join(folder, f'filtered-{number}-{end}'),
          lambda each=each, clips=clips: _filtered(
            each.embedder, clips(), filters, protected
          ),
        )
  return found


def _networks(protected, named, settings):
  """Returns the embedders that are trained, by number."""
  found = {}
  for number, each in enumerate(named if settings.num_steps else ()):
    if retraining.can_be_trained(each.embedder):
      found[number] = retrained.Network(
        each.embedder,
        protected.split,
        protected.fitted,
        settings,
        protected.mesh,
      )
    else:
      logger.warning(
        'privacy: %s has no variables that can be trained: no attacker '
        'retrains it',
        each.embedder.title,
      )
  return found


class _Through(NamedTuple):
  """An embedder behind a transform, for `over_clips.map_clips`."""

  embedder: embedders.Embedder
  transform: transforms.Transform

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns embeddings, [chunk, dimension]."""
    # Other draws than where the protection is a transform itself.
    draws = randomness.stream(rows['key'], 'answering_transform')
    clips = self.transform.apply(rows['audio'], draws, rows['mask'])
    return self.embedder.apply(shared, clips, rows['mask'])


def _filtered(embedder, clips, filters, protected):
  """Returns what an embedder says behind each transform."""
  return {
    str(number): scoring.unit(
      over_clips.map_clips(
        _Through(embedder, transforms.make(name)),
        clips,
        protected.mesh,
        over_clips.chunk_size(protected.mesh, **scoring.CHUNK),
        shared=embedder.variables,
        seed=protected.seed,
        name=f'embeddings by {embedder.title} behind {name}',
      )
    )
    for number, name in enumerate(filters)
  }
