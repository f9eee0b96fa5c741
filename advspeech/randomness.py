"""What is drawn for a clip: from a seed, its id and the purpose alone.

So that nothing depends on the order of the clips, the batch, the number of
devices, or on what else is drawn.
"""

import hashlib
from collections.abc import Sequence

import jax
import numpy as np

# What is drawn at random for a clip, each from a stream of its own.
STREAMS = (
  'attack',  # what an attack draws, its random starts above all
  'transform',  # between attack and judgement
  'known_transform',  # what an adaptive attack draws for that transform
  'random_sign',  # the noise controls
  'gaussian',
  'shuffled',
  'subsets',  # of samples that are moved
  'jacobian',  # where the iteration for its norm begins
  'rectangles',  # of features that are moved
  'dither',  # in the place of digital silence
  'smoothing',  # noise that answers are counted under
  'more_transforms',  # further draws of an attack that averages over several
  'queries',  # which clips a victim is asked about
  'augmented',  # what becomes of them before it is asked again
  'answering_transform',  # before a speaker model, by who knows of a protection
  'starts',  # clips of other classes that a search by decisions begins at
)


def id_words(ids: Sequence[str]) -> np.ndarray:
  """Returns numbers of clips, [num_clips, 2] uint32, from their ids alone.

  64 bits of a digest: with 32 two of a corpus of 80,000 clips would more likely
  than not share theirs, and with them everything random.
  """
  digests = [hashlib.sha256(str(x).encode()).digest()[:8] for x in ids]
  return (
    np.frombuffer(b''.join(digests), '<u4').astype(np.uint32).reshape(-1, 2)
  )


def clip_keys(key: jax.Array, words: jax.Array) -> jax.Array:
  """Returns a typed key a clip, [batch].

  Args:
    key: Typed, of all clips.
    words: [batch, 2] as `id_words` returns.
  """

  def of_clip(of_id):
    return jax.random.fold_in(jax.random.fold_in(key, of_id[0]), of_id[1])

  return jax.vmap(of_clip)(words)


def stream(keys: jax.Array, purpose: str) -> jax.Array:
  """Returns the keys of one purpose, [batch], independent of all others'.

  All are folded from a clip's own key side by side: one folded from another's
  would be what that other's owner gets when it folds the same number.

  Args:
    keys: [batch] as `clip_keys` returns.
    purpose: One of `STREAMS`.
  """
  number = STREAMS.index(purpose)
  return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
