"""A speaker model refitted to protected speech: what stands behind an embedder.

Not the network is trained again, which would be a stronger attacker still, but
what compares its embeddings: they are centred, and whitened by how those of one
speaker vary (within-class covariance normalisation, Hatch et al. 2006).
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


def refit(
  protected: np.ndarray, clean: np.ndarray, speakers: Sequence[str]
) -> tuple[Backend, str]:
  """Returns what finds speakers best who were not fitted to, and the enrolment.

  To enrol clean clips or protected ones, each with every shrinkage and without
  a back-end: each is fitted to one half of the speakers and tried on the other,
  and the reverse; the one of the lowest EER is then fitted to all. Where clean
  clips are enrolled it is fitted to both, so that what the protection does is
  part of how one speaker varies.

  Args:
    protected: [num_clips, dimension] embeddings, of L2 norm 1, or 0.
    clean: [num_clips, dimension] of the same clips unprotected.
    speakers: [num_clips] four of them or more.
  """
  speakers = np.asarray(speakers)
  is_first = np.isin(speakers, np.unique(speakers)[::2])

  def fitted(enrols, half, shrinkage):
    if enrols == PROTECTED:
      return fit(protected[half], speakers[half], shrinkage)
    both = np.concatenate([protected[half], clean[half]])
    return fit(both, np.tile(speakers[half], 2), shrinkage)

  def error(choice):
    enrols, shrinkage = choice
    enrolled = protected if enrols == PROTECTED else clean
    found = 0.0
    for half in (is_first, ~is_first):
      backend = fitted(enrols, half, shrinkage)
      found += pair_error(
        backend(protected[~half]), backend(enrolled[~half]), speakers[~half]
      )
    return found

  choices = itertools.product((CLEAN, PROTECTED), (None, *SHRINKAGES[::-1]))
  enrols, shrinkage = min(choices, key=error)
  return fitted(enrols, np.full(len(speakers), True), shrinkage), enrols


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
