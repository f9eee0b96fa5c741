"""Gradients guessed from scores: what is asked, counted and made of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks

BATCH, TIME = 4, 40
KEYS = jax.random.split(jax.random.key(3), BATCH)
AUDIO = jax.random.uniform(
  jax.random.key(4), (BATCH, TIME), minval=0.3, maxval=0.7
)
WEIGHTS = jnp.sin(jnp.arange(TIME) ** 2 / 30)[None]
# Clips from near the goal to far from it, the last out of reach.
FAR = jnp.array([0.3, 0.75, 1.05, 9.0])
EPSILON = 0.05


def margin_of(audio, clean, far):
  """A curved margin, `far` below the goal at the clean clip."""
  change = audio - clean
  return jnp.sum(change * WEIGHTS - change**2, -1) - far


def score_fn(audio):
  return margin_of(audio, AUDIO, FAR)


@functools.cache
def search(**kw):
  kw = {'counts': (), **kw}
  return jax.jit(functools.partial(attacks.nes_search, score_fn, **kw))


def asked_of(clip, **kw):
  """Returns the search on one clip, and all audio that it asked for."""
  seen = []

  def watching(audio):
    jax.debug.callback(
      lambda x: seen.append(np.asarray(x, np.float64)), audio, ordered=True
    )
    return margin_of(audio, AUDIO[clip : clip + 1], FAR[clip])

  found = jax.jit(functools.partial(attacks.nes_search, watching, **kw))(
    AUDIO[clip : clip + 1], jnp.array([EPSILON]), KEYS[clip : clip + 1]
  )
  jax.block_until_ready(found)
  jax.effects_barrier()
  return found, np.concatenate(seen)


def test_every_step_is_what_numpy_makes_of_the_answers():
  """FAKEBOB's loop over again, in float64, from the draws that were asked."""
  found, asked = asked_of(3, num_queries=1000)
  clean = np.asarray(AUDIO[3], np.float64)
  weights = np.asarray(WEIGHTS[0], np.float64)

  def score(audio):
    change = audio - clean
    return change @ weights - (change**2).sum(-1) - 9

  steps = asked[:-1].reshape(-1, 51, TIME)
  centres = np.concatenate([steps[:, 0], asked[-1:]])
  np.testing.assert_array_equal(centres[0], clean)
  rate, velocity, last, rates = 0.5 * EPSILON, 0, [], []
  for number, step in enumerate(steps):
    above, below = step[1::2], step[2::2]
    np.testing.assert_allclose(
      (above + below) / 2,
      np.broadcast_to(centres[number], above.shape),
      atol=1e-6,
    )
    draws = (above - below) / (EPSILON)  # twice .5 of the radius
    slopes = score(above) - score(below)
    velocity = 0.9 * velocity + 0.1 * (slopes @ draws)
    last = [*last, score(centres[number])][-5:]
    if len(last) == 5 and last[-1] < last[0]:
      rate, last = max(rate / 2, 0.0005 * EPSILON), []
    rates.append(rate)
    ahead = centres[number] + rate * np.sign(velocity)
    expected = clean + np.clip(ahead - clean, -EPSILON, EPSILON)
    np.testing.assert_allclose(centres[number + 1], expected, atol=1e-6)
  assert len(set(rates)) > 1  # it did fall
  spread = (steps[:, 1:] - steps[:, :1]).std() / EPSILON
  assert spread == pytest.approx(0.5, rel=0.02)
  assert len(asked) == found.num_asked[0, 0] == 970  # of 1,000 allowed
  best = score(centres).argmax()
  np.testing.assert_allclose(found.audio[0, 0], centres[best], atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('num_queries', 'expected'), [(1, 1), (10, 10), (120, 103)]
)
def test_queries_are_counted_and_never_more_than_allowed(num_queries, expected):
  found, asked = asked_of(3, num_queries=num_queries)
  assert len(asked) == expected == int(found.num_asked[0, 0]) <= num_queries
  assert found.reached[0, 0] == 0


RADII = jnp.array([0.0, EPSILON])
COUNTS = attacks.milestones(400)


def test_a_clip_is_done_at_the_query_that_reaches_the_goal():
  found = search(num_queries=400, counts=COUNTS)(AUDIO, RADII, KEYS)
  reached = np.asarray(found.reached[1])
  assert (np.diff(reached[:3]) > 0).all()
  assert reached[3] == 0
  np.testing.assert_array_equal(found.num_asked[1, :3], reached[:3])
  assert found.num_asked[1, 3] == 358
  assert (score_fn(found.audio[1])[:3] > 0).all()


@pytest.mark.slow
def test_a_clip_alone_ends_its_program_there():
  found = search(num_queries=400, counts=COUNTS)(AUDIO, RADII, KEYS)
  reached = np.asarray(found.reached[1])
  alone, asked = asked_of(1, num_queries=400)
  assert len(asked) == alone.num_asked[0, 0] == reached[1]
  np.testing.assert_array_equal(alone.audio[0, 0], found.audio[1, 1])


def test_the_curve_holds_the_best_so_far():
  assert COUNTS == (1, 10, 20, 50, 100, 200, 400)
  found = search(num_queries=400, counts=COUNTS)(AUDIO, RADII, KEYS)
  assert (np.diff(found.best, axis=1) >= 0).all()
  np.testing.assert_array_equal(found.best[0], jnp.tile(-FAR[None], (7, 1)))
  np.testing.assert_allclose(
    found.best[1, -1], score_fn(found.audio[1]), atol=1e-6
  )
  np.testing.assert_array_equal(found.best[1, -1] > 0, found.reached[1] > 0)


@pytest.mark.slow
def test_the_curve_of_one_run_is_what_shorter_runs_reach():
  found = search(num_queries=400, counts=COUNTS)(AUDIO, RADII, KEYS)
  shorter = search(num_queries=200)(AUDIO, RADII, KEYS)
  np.testing.assert_allclose(
    found.best[1, 5], score_fn(shorter.audio[1]), atol=1e-6
  )


@pytest.mark.slow
def test_square_has_a_curve_of_its_own():
  counts = attacks.milestones(60)
  seen = []

  def watching(audio):
    score = score_fn(audio)
    jax.debug.callback(
      lambda x: seen.append(np.asarray(x)), score, ordered=True
    )
    return score

  found = jax.jit(
    functools.partial(
      attacks.square_search, watching, num_queries=60, counts=counts
    )
  )(AUDIO, jnp.array([EPSILON]), KEYS)
  jax.block_until_ready(found)
  jax.effects_barrier()
  so_far = np.maximum.accumulate(seen, 0)
  np.testing.assert_allclose(
    found.best[0], so_far[np.array(counts) - 1], atol=1e-7
  )
  first = np.argmax(np.array(seen) > 0, 0) + 1
  np.testing.assert_array_equal(
    found.reached[0], np.where(so_far[-1] > 0, first, 0)
  )
  assert 0 < (found.reached[0] > 0).sum() < BATCH
  assert (found.num_asked == len(seen)).all()


def test_another_norm_is_refused():
  with pytest.raises(ValueError, match="the norm 'linf' alone, got 'l2'"):
    attacks.nes(score_fn, AUDIO, [0.1], KEYS, norm='l2')
