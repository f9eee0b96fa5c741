"""What retrained networks hear: a part on disk for each protection and model.

Clips are protected against the network as it was, and are made again for it;
they are not stored. It is trained on the clips of speakers who are not judged,
protected and clean: on all of them, and on either half of the speakers, by
whose trial on the other half the attacker chooses.
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

from advspeech import audio, errors, input_pipeline, over_clips, registry
from advspeech.studies import folder as folder_lib
from advspeech.studies import named_embedders
from advspeech.studies.privacy import backend, examples, retraining
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


def make(
  folder: str,
  protections: Sequence[tuple[str, examples.Protection, tuple[float, ...]]],
  protected: Protected,
  named: Sequence[named_embedders.Named],
  settings: retraining.Settings,
) -> dict[Key, dict[str, Any]]:
  """Returns what every retrained network says; parts that are there are read.

  `all` is by the network trained on all speakers, of all clips, `first` and
  `second` are by those trained on either half, of the clips trained on; each
  `protected` and `clean`, [num_clips, dimension].

  Args:
    folder: Of the study.
    protections: Names, what is compiled, and weights.
    protected: The clips.
    named: Embedders, of which those with nothing to train are left out.
    settings: How they are trained.

  Raises:
    errors.InputError: If an embedding is not finite.
    errors.NonFiniteLossError: If a loss stops being finite.
    preemption.Stopped: If a signal asked for it.
  """
  networks = {}
  for number, each in enumerate(named):
    if not protections:
      break
    if retraining.can_be_trained(each.embedder):
      networks[number] = _Network(each.embedder, protected, settings)
    else:
      logger.warning(
        'privacy: %s has no variables that can be trained: no attacker '
        'retrains it',
        each.embedder.title,
      )
  found = {}
  for name, protection, weights in protections:
    for i, weight in enumerate(weights):
      clips = functools.cache(
        functools.partial(protected.made, name, protection, weight)
      )
      for number, network in networks.items():
        file = f'retrained-{number}-{registry.short_name(name)}-{i}.npz'
        found[number, name, i] = folder_lib.cached(
          os.path.join(folder, file),
          lambda network=network, clips=clips, name=name: network.heard(
            clips(), name
          ),
        )
  return found


class _Network:
  """An embedder that is trained anew for every protection."""

  def __init__(self, embedder, protected, settings):
    self._embedder, self._protected = embedder, protected
    self._trainer = retraining.Trainer(embedder, settings, protected.mesh)

  def heard(self, clips, name):
    """Returns the part of one protection; see `make`."""
    clean, fitted = self._protected.split, self._protected.fitted
    both = [input_pipeline.subset(x, fitted) for x in (clips, clean)]
    names, labels = np.unique(both[0].speakers, return_inverse=True)
    vectors = [self._embed(self._embedder.variables, x, '') for x in both]
    means = np.stack(
      [
        np.mean([x[labels == i].mean(0) for x in vectors], axis=0)
        for i in range(len(names))
      ]
    )
    joined = _joined(*both, labels)
    halves = backend.halves(both[0].speakers)
    part = {}
    for key, which, heard in (
      ('all', np.full(len(labels), True), (clips, clean)),
      ('first', halves[0], both),
      ('second', halves[1], both),
    ):
      logger.info(
        'privacy: %s is trained on clips under %s (%s)',
        self._embedder.title,
        name,
        key,
      )
      variables = self._trainer.fit(
        input_pipeline.subset(joined, np.flatnonzero(np.tile(which, 2))),
        means,
        np.isin(np.arange(len(names)), labels[which]),
      )
      part[key] = {
        what: self._embed(variables, x, key)
        for what, x in zip(('protected', 'clean'), heard, strict=True)
      }
    return part

  def _embed(self, variables, split, name):
    """Returns embeddings of a split, [num_clips, dimension]."""
    mesh = self._protected.mesh
    found = over_clips.map_clips(
      scoring.Embedding(self._embedder),
      split,
      mesh,
      over_clips.chunk_size(mesh, **scoring.CHUNK),
      shared=variables,
      name=f'embeddings by {self._embedder.title} trained on {name}'
      if name
      else '',
    )
    if not np.isfinite(found).all():
      raise errors.InputError(
        f'{self._embedder.name} must give every protected clip a finite '
        'embedding, and after training it does not; lower '
        '--config.privacy.retraining.learning_rate'
      )
    return scoring.unit(found)


def _joined(one, other, labels):
  """Returns two splits of the same clips as one, labelled by speaker."""
  return input_pipeline.Split(
    ids=np.concatenate([one.ids, other.ids]),
    pcm=np.concatenate([np.asarray(one.pcm), np.asarray(other.pcm)]),
    num_samples=np.tile(one.num_samples, 2),
    labels=np.tile(labels.astype(np.int32), 2),
    starts=np.tile(one.starts, 2),
    speakers=np.tile(one.speakers, 2),
  )
