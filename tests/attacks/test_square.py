"""Random search by windows: its schedule, its queries, and no gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks.square import window_shares

KEYS = jax.random.split(jax.random.key(0), 6)
AUDIO = jax.random.uniform(jax.random.key(1), (6, 90), minval=0.3, maxval=0.7)
WEIGHTS = jnp.sin(jnp.arange(90) ** 2 / 300)[None]


@jax.custom_vjp
def score_fn(audio):
  """A linear score whose gradient raises."""
  return jnp.sum(audio * WEIGHTS[:, : audio.shape[1]], -1)


def refuse(*_):
  raise AssertionError('a gradient was taken')


score_fn.defvjp(refuse, refuse)


@functools.cache
def attack(**kw):
  return jax.jit(functools.partial(attacks.square, score_fn, **kw))


def test_takes_no_gradient_and_comes_near_the_best_corner():
  with pytest.raises(AssertionError, match='a gradient was taken'):
    jax.grad(lambda a: score_fn(a).sum())(AUDIO)
  out = attack(num_queries=1000)(AUDIO, jnp.array([0.1]), KEYS)[0]
  best = 0.1 * jnp.abs(WEIGHTS).sum()
  share = (score_fn(out) - score_fn(AUDIO)) / best
  assert float(share.min()) > 0.85
  np.testing.assert_allclose(jnp.abs(out - AUDIO), 0.1, atol=1e-6)


def test_more_queries_of_a_schedule_never_lose():
  out = [
    attack(num_queries=number)(AUDIO, jnp.array([0.1]), KEYS)[0]
    for number in (1, 1000)
  ]
  gain = [score_fn(o) - score_fn(AUDIO) for o in out]
  assert (gain[1] > gain[0]).all()


def test_starts_with_as_many_blocks_of_random_sign_as_each_is_long():
  out = attack(num_queries=1)(AUDIO[:, :81], jnp.array([0.1]), KEYS)
  signs = np.sign(np.asarray(out[0] - AUDIO[:, :81])).reshape(6, 9, 9)
  assert (signs == signs[:, :, :1]).all()
  assert 0.2 < (signs[:, :, 0] > 0).mean() < 0.8


def test_windows_shrink_on_the_authors_schedule():
  """Of 10,000 queries; art 1.20.1 has the same table."""
  shares = window_shares(10_000, 0.8)
  for query, halvings in (
    (1, 0),
    (10, 0),
    (11, 1),
    (51, 2),
    (201, 3),
    (501, 4),
    (1001, 5),
    (2001, 6),
    (4001, 7),
    (6001, 8),
    (8001, 9),
    (9999, 9),
  ):
    assert shares[query] == 0.8 / 2**halvings


def test_every_query_changes_one_window_of_samples_that_may_change():
  seen = []

  def watching(audio):
    jax.debug.callback(lambda a: seen.append(np.asarray(a)), audio)
    return -jnp.abs(audio - 0.5).sum(-1)  # nothing is ever kept

  audio = jnp.full((1, 90), 0.5)
  mask = (jnp.arange(90) % 3 < 2).at[60:].set(False)[None] * 1  # 40 samples
  out = jax.jit(functools.partial(attacks.square, watching, num_queries=600))(
    audio, jnp.array([0.1]), KEYS[:1], mask=mask
  )
  jax.block_until_ready(out)
  jax.effects_barrier()
  start, *queries = [np.sign(s[0] - np.float32(0.5)) for s in seen]
  movable = np.flatnonzero(mask[0])
  assert len(queries) == 599
  lengths = []
  for query in queries:
    assert not query[np.asarray(mask[0]) == 0].any()
    changed = np.flatnonzero((query != start)[movable])
    lengths.append(np.ptp(changed) + 1 if changed.size else 0)
  shares = window_shares(600, 0.8)[1:]
  limits = np.maximum(np.round(np.array(shares) * len(movable)), 1)
  assert (np.array(lengths) <= limits).all()
  assert max(lengths[-50:]) == 1
  changed = np.array([(q != start)[movable] for q in queries])
  assert changed.any(0).all()  # the last sample's turn comes too


def test_a_clip_without_samples_to_change_stays():
  mask = jnp.ones_like(AUDIO, dtype=int).at[2].set(0)
  out = attack(num_queries=20)(AUDIO, jnp.array([0.1]), KEYS, mask=mask)[0]
  np.testing.assert_array_equal(out[2], AUDIO[2])
  assert (out != AUDIO).any(-1).sum() == 5


def test_bad_requests_are_refused():
  with pytest.raises(ValueError, match="the norm 'linf' alone, got 'l2'"):
    attacks.square(score_fn, AUDIO, [0.1], KEYS, norm='l2')
  with pytest.raises(ValueError, match='num_queries must be at least 1'):
    attacks.square(score_fn, AUDIO, [0.1], KEYS, num_queries=0)
