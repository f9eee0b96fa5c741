"""Speaker embedders: functions from audio to vectors that cosines compare.

One from outside (`resemblyzer`), the inside of a trained classifier, or one of
the user's own. None is a model of this package; all are plain functions that
JAX traces and differentiates.
"""

from advspeech.embedders.embedder import (
  NAMES,
  Embedder,
  check_finite,
  check_gradients,
  load,
  of_classifier,
  unit,
)

__all__ = [
  'NAMES',
  'Embedder',
  'check_finite',
  'check_gradients',
  'load',
  'of_classifier',
  'unit',
]
