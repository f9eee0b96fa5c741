"""A speaker model refitted to protected speech: what stands behind an embedder.

Not the network is trained again, which would be a stronger attacker still, but
what compares its embeddings: they are centred, and whitened by how those of one
speaker vary (within-class covariance normalisation, Hatch et al. 2006).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from advspeech.statistics import verification
from advspeech.studies.verification import scoring

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


def refit(vectors: np.ndarray, speakers: Sequence[str]) -> Backend:
  """Returns the back-end that has the lowest EER on speakers not fitted to.

  Each shrinkage, and no back-end at all, is fitted to one half of the speakers
  and tried on all pairs of clips of the other, and the reverse; the best is
  then fitted to all.

  Args:
    vectors: [num_clips, dimension] of L2 norm 1, or 0.
    speakers: [num_clips] four of them or more.
  """
  speakers = np.asarray(speakers)
  names = np.unique(speakers)
  is_first = np.isin(speakers, names[::2])

  def error(shrinkage):
    return sum(
      pair_error(
        fit(vectors[half], speakers[half], shrinkage)(vectors[~half]),
        speakers[~half],
      )
      for half in (is_first, ~is_first)
    )

  best = min((None, *SHRINKAGES[::-1]), key=error)
  return fit(vectors, speakers, best)


def pair_error(vectors: np.ndarray, speakers: np.ndarray) -> float:
  """Returns the EER of all pairs of clips; 0.5 if it has none of a kind.

  Args:
    vectors: [num_clips, dimension] of L2 norm 1, or 0.
    speakers: [num_clips] who speaks.
  """
  one, other = np.triu_indices(len(vectors), 1)
  scores = np.sum(vectors[one] * vectors[other], -1)
  same = speakers[one] == speakers[other]
  if not same.any() or same.all():
    return 0.5
  return verification.equal_error_rate(verification.points(scores, same))[0]
