"""What a network hears that was trained on protected speech.

It is trained on clips of speakers who are not judged, protected and clean: on
all of them, and on either half of the speakers, by whose trial on the other
half the attacker chooses.
"""

import logging
from typing import Any

import numpy as np
from jax import sharding

from advspeech import embedders, errors, input_pipeline, over_clips
from advspeech.studies.privacy import backend, retraining
from advspeech.studies.verification import scoring

logger = logging.getLogger(__name__)


class Network:
  """An embedder that is trained anew for every protection."""

  def __init__(
    self,
    embedder: embedders.Embedder,
    split: input_pipeline.Split,
    fitted: np.ndarray,
    settings: retraining.Settings,
    mesh: sharding.Mesh,
  ):
    """Plans the training; compiles nothing.

    Args:
      embedder: One that can be trained.
      split: Clean clips.
      fitted: Numbers of those that it is trained on.
      settings: How.
      mesh: Where to run.
    """
    self._embedder, self._split, self._fitted = embedder, split, fitted
    self._trainer = retraining.Trainer(embedder, settings, mesh)
    self._mesh = mesh

  def heard(self, clips: input_pipeline.Split, name: str) -> dict[str, Any]:
    """Returns what the network says after training.

    `all` is by the network trained on all speakers, of all clips, `first` and
    `second` are by those trained on either half, of the clips trained on; each
    `protected` and `clean`, [num_clips, dimension].

    Args:
      clips: Protected, in the order of the clean ones.
      name: Of the protection.

    Raises:
      errors.InputError: If an embedding is not finite.
      errors.NonFiniteLossError: If a loss stops being finite.
      preemption.Stopped: If a signal asked for it.
    """
    clean, fitted = self._split, self._fitted
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
    found = over_clips.map_clips(
      scoring.Embedding(self._embedder),
      split,
      self._mesh,
      over_clips.chunk_size(self._mesh, **scoring.CHUNK),
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
