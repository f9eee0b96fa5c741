"""Keys by id: no two alike, of clips, of seeds and of purposes."""

import jax
import numpy as np

from advspeech import randomness


def test_no_two_of_many_ids_share_a_key():
  ids = [
    *(f'clip-{i}' for i in range(100_000)),
    *(f'Ses01F_impro01_F{i:03d}' for i in range(1000)),
    *(f'03-01-01-01-01-01-{i:02d}' for i in range(100)),
  ]
  words = randomness.id_words(ids)
  keys = jax.jit(randomness.clip_keys)(jax.random.key(0), words)
  assert len(np.unique(jax.random.key_data(keys), axis=0)) == len(ids)
  other = jax.jit(randomness.clip_keys)(jax.random.key(1), words)
  both = np.concatenate([jax.random.key_data(k) for k in (keys, other)])
  assert len(np.unique(both, axis=0)) == 2 * len(ids)


def test_streams_are_of_their_own_for_every_clip_and_purpose():
  words = randomness.id_words([f'clip-{i}' for i in range(5000)])
  keys = randomness.clip_keys(jax.random.key(0), words)
  drawn = [keys, *(randomness.stream(keys, p) for p in randomness.STREAMS)]
  data = np.concatenate([jax.random.key_data(k) for k in drawn])
  assert len(np.unique(data, axis=0)) == len(data)
