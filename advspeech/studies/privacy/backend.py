"""A speaker model refitted to protected speech: what stands behind an embedder.

What compares embeddings is fitted, the network is not: they are centred, and
whitened by how those of one speaker vary (within-class covariance
normalisation, Hatch et al. 2006). `retraining` trains the network.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from advspeech.statistics import verification
from advspeech.studies.verification import scoring

# What is enrolled beside it.
CLEAN, PROTECTED = 'clean', 'protected'
# Of the covariance towards a multiple of the identity: 1 centres alone.
SHRINKAGES = (0.03, 0.1, 0.3, 0.6, 1.0)


class Backend(NamedTuple):
  """A map of embeddings, before cosines.

  Attributes:
    shrinkage: With which it was fitted; None for the identity.
    mean: [dimension] taken off.
    whitening: [dimension, dimension] that what is left is multiplied by.
  """

  shrinkage: float | None
  mean: np.ndarray
  whitening: np.ndarray

  def __call__(self, vectors: np.ndarray) -> np.ndarray:
    """Returns embeddings of L2 norm 1, or 0, [..., dimension].

    Args:
      vectors: [..., dimension] of L2 norm 1, or 0.
    """
    return scoring.unit((vectors - self.mean) @ self.whitening)


def fit(
  vectors: np.ndarray, speakers: Sequence[str], shrinkage: float | None
) -> Backend:
  """Returns a back-end with one shrinkage.

  Args:
    vectors: [num_clips, dimension] of L2 norm 1, or 0.
    speakers: [num_clips] who speaks.
    shrinkage: See `SHRINKAGES`; None fits nothing.
  """
  dimension = vectors.shape[-1]
  if shrinkage is None:
    return Backend(None, np.zeros(dimension), np.eye(dimension))
  _, place = np.unique(speakers, return_inverse=True)
  means = np.stack(
    [vectors[place == i].mean(0) for i in range(place.max() + 1)]
  )
  within = vectors - means[place]
  covariance = within.T @ within / len(vectors)
  spread = np.trace(covariance) / dimension or 1.0
  mixed = (1 - shrinkage) * covariance + shrinkage * spread * np.eye(dimension)
  values, axes = np.linalg.eigh(mixed)
  return Backend(
    shrinkage, vectors.mean(0), axes * (1 / np.sqrt(values)) @ axes.T
  )


class Heard(NamedTuple):
  """What a network says of the clips that are fitted to.

  Attributes:
    protected: [num_clips, dimension] embeddings, of L2 norm 1, or 0.
    clean: [num_clips, dimension] of the same clips unprotected.
  """

  protected: np.ndarray
  clean: np.ndarray


class Network(NamedTuple):
  """What a speaker model says that was itself trained, or may have been.

  Attributes:
    by_all: As trained on all speakers.
    by_halves: As trained on the first half of them, and on the second.
  """

  by_all: Heard
  by_halves: tuple[Heard, Heard]


class Refitted(NamedTuple):
  """What finds speakers best.

  Attributes:
    network: Number of the network.
    backend: Behind it.
    enrols: `CLEAN` or `PROTECTED` clips.
  """

  network: int
  backend: Backend
  enrols: str


def halves(speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Returns which clips are of the first half of speakers, and of the second.

  Args:
    speakers: [num_clips] who speaks.
  """
  speakers = np.asarray(speakers)
  is_first = np.isin(speakers, np.unique(speakers)[::2])
  return is_first, ~is_first


def refit(networks: Sequence[Network], speakers: Sequence[str]) -> Refitted:
  """Returns what finds speakers best who were not fitted to.

  Each network, to enrol clean clips or protected ones, with every shrinkage and
  without a back-end: each is fitted to one half of the speakers and tried on
  the other, and the reverse; the one of the lowest EER is then fitted to all,
  the first of those that are equal. Where clean clips are enrolled it is fitted
  to both, so that what the protection does is part of how one speaker varies.

  Args:
    networks: To choose from.
    speakers: [num_clips] four of them or more.
  """
  speakers = np.asarray(speakers)

  def fitted(heard, enrols, which, shrinkage):
    if enrols == PROTECTED:
      return fit(heard.protected[which], speakers[which], shrinkage)
    both = np.concatenate([heard.protected[which], heard.clean[which]])
    return fit(both, np.tile(speakers[which], 2), shrinkage)

  def error(choice):
    number, enrols, shrinkage = choice
    found = 0.0
    for heard, half in zip(
      networks[number].by_halves, halves(speakers), strict=True
    ):
      backend = fitted(heard, enrols, half, shrinkage)
      enrolled = heard.protected if enrols == PROTECTED else heard.clean
      found += pair_error(
        backend(heard.protected[~half]),
        backend(enrolled[~half]),
        speakers[~half],
      )
    return found

  choices = itertools.product(
    range(len(networks)), (CLEAN, PROTECTED), (None, *SHRINKAGES[::-1])
  )
  number, enrols, shrinkage = min(choices, key=error)
  everybody = np.full(len(speakers), True)
  backend = fitted(networks[number].by_all, enrols, everybody, shrinkage)
  return Refitted(number, backend, enrols)


def pair_error(
  tested: np.ndarray, enrolled: np.ndarray, speakers: np.ndarray
) -> float:
  """Returns the EER of pairs of different clips; 0.5 with none of a kind.

  Args:
    tested: [num_clips, dimension] of L2 norm 1, or 0.
    enrolled: [num_clips, dimension] of the same clips, as they are enrolled.
    speakers: [num_clips] who speaks.
  """
  is_pair = ~np.eye(len(speakers), dtype=bool)
  same = (speakers[:, None] == speakers[None])[is_pair]
  if not same.any() or same.all():
    return 0.5
  scores = (tested @ enrolled.T)[is_pair]
  return verification.equal_error_rate(verification.points(scores, same))[0]
