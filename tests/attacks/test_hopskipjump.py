"""The nearest change of answer, from answers alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import constraints

TIME, CLASSES, NUM_QUERIES = 48, 2, 3000
WEIGHTS = jax.random.normal(jax.random.key(2), (TIME, CLASSES))
COUNTS = attacks.milestones(NUM_QUERIES)
# Three clips to walk with, one without any start of the other answer, one that
# is wrong as it is.
WALKS, LOST, WRONG = slice(0, 3), 3, 4
BATCH = 5
KEYS = jax.random.split(jax.random.key(0), BATCH)
AUDIO = jax.random.uniform(
  jax.random.key(1), (BATCH, TIME), minval=0.4, maxval=0.6
)
MASK = (jnp.arange(TIME)[None] < jnp.array([[48], [40], [30], [48], [48]])) * 1


def logits_fn(audio):
  """Sums of single rows: their bits do not depend on the batch."""
  return jnp.stack(
    [constraints.sum_of((audio - 0.5) * w[None]) for w in WEIGHTS.T], -1
  )


ANSWER = logits_fn(AUDIO).argmax(-1)
LABEL = ANSWER.at[WRONG].set(1 - ANSWER[WRONG])


def clip_of(answer):
  return jnp.clip(0.5 + 0.1 * WEIGHTS[:, answer].T, 0, 1)


# One of the same answer first, which does not help.
STARTS = jnp.stack([clip_of(ANSWER), clip_of(1 - ANSWER)], 1)
STARTS = STARTS.at[LOST, 1].set(STARTS[LOST, 0])


def reached_fn(audio):
  return logits_fn(audio).argmax(-1) != LABEL


def one_hot_reached_fn(audio):
  """All that a victim gives away is one class, as a one-hot row."""
  answer = jax.nn.one_hot(logits_fn(audio).argmax(-1), CLASSES)
  return answer.argmax(-1) != LABEL


@functools.cache
def found_by(norm, fn=reached_fn):
  attack = functools.partial(
    attacks.hopskipjump,
    fn,
    norm=norm,
    num_queries=NUM_QUERIES,
    counts=COUNTS,
  )
  return jax.jit(attack)(AUDIO, STARTS, KEYS, mask=MASK)


def nearest(norm):
  """Returns the distance to the plane between the classes, [batch]."""
  weights = np.asarray(WEIGHTS[:, 0] - WEIGHTS[:, 1], np.float64)
  signal = np.asarray(AUDIO, np.float64) - 0.5
  order = 1 if norm == 'linf' else 2
  return np.abs(signal @ weights) / np.linalg.norm(
    weights * np.asarray(MASK), order, axis=-1
  )


@pytest.mark.parametrize(
  'norm', ['l2', pytest.param('linf', marks=pytest.mark.slow)]
)
def test_comes_near_the_known_distance_of_a_linear_model(norm):
  found = found_by(norm)
  change = np.asarray(found.audio - AUDIO)
  orders = jnp.inf, 2
  sizes = np.stack([np.linalg.norm(change, o, axis=-1) for o in orders])
  own = ('linf', 'l2').index(norm)
  assert reached_fn(found.audio)[WALKS].all()
  np.testing.assert_allclose(
    found.distance[WALKS], sizes[own, WALKS], rtol=1e-5
  )
  ratio = (np.asarray(found.distance) / nearest(norm))[WALKS]
  assert (ratio > 1 - 1e-3).all()
  assert ratio.max() < 1.1
  assert (change[np.asarray(MASK) == 0] == 0).all()
  assert (found.audio >= 0).all()
  assert (found.audio <= 1).all()
  recorded = np.asarray(found.sizes)[:, :, WALKS]
  assert (recorded[:, 0] == np.inf).all()  # that was the clean clip
  assert (recorded[own, 1:] <= recorded[own, :-1]).all()
  assert (recorded[own, 3] > 1.1 * recorded[own, -1]).all()
  np.testing.assert_allclose(recorded[:, -1], sizes[:, WALKS], rtol=1e-5)


def test_what_is_lost_and_what_is_wrong_already_is_told_apart():
  found = found_by('l2')
  assert found.distance[LOST] == jnp.inf
  assert (found.sizes[:, :, LOST] == jnp.inf).all()
  assert found.num_asked[LOST] == 1 + STARTS.shape[1]
  assert found.distance[WRONG] == 0
  assert (found.sizes[:, :, WRONG] == 0).all()
  assert found.num_asked[WRONG] == 1
  for clip in (LOST, WRONG):
    np.testing.assert_array_equal(found.audio[clip], AUDIO[clip])
  asked = found.num_asked[WALKS]
  assert (asked > NUM_QUERIES / 2).all()
  assert (asked <= NUM_QUERIES).all()


@pytest.mark.slow
def test_the_decision_is_all_it_knows():
  one_hot = found_by('l2', one_hot_reached_fn)
  for mine, theirs in zip(found_by('l2'), one_hot, strict=True):
    np.testing.assert_array_equal(mine, theirs)


def asked_of(clip, num_queries):
  """Returns what is found for one clip alone, and all that was asked."""
  seen, row = [], slice(clip, clip + 1)

  def watching(audio):
    jax.debug.callback(
      lambda x: seen.append(np.asarray(x)), audio, ordered=True
    )
    return logits_fn(audio).argmax(-1) != LABEL[row]

  found = jax.jit(
    functools.partial(
      attacks.hopskipjump, watching, num_queries=num_queries, counts=COUNTS
    )
  )(AUDIO[row], STARTS[row], KEYS[row], mask=MASK[row])
  jax.block_until_ready(found)
  jax.effects_barrier()
  return found, np.concatenate(seen)


@pytest.mark.slow
def test_every_query_is_counted_and_lies_within_mask_and_bounds():
  alone, asked = asked_of(1, NUM_QUERIES)
  found = found_by('l2')
  assert len(asked) == alone.num_asked[0] == found.num_asked[1]
  np.testing.assert_allclose(alone.audio[0], found.audio[1], atol=1e-6)
  assert asked.min() >= 0
  assert asked.max() <= 1
  assert (asked == np.asarray(AUDIO[1]))[:, np.asarray(MASK[1]) == 0].all()


@pytest.mark.slow
def test_a_clip_alone_is_the_same():
  row = slice(2, 3)
  alone = jax.jit(
    functools.partial(
      attacks.hopskipjump,
      lambda x: logits_fn(x).argmax(-1) != LABEL[row],
      num_queries=NUM_QUERIES,
      counts=COUNTS,
    )
  )(AUDIO[row], STARTS[row], KEYS[row], mask=MASK[row])
  found = found_by('l2')
  np.testing.assert_array_equal(alone.audio[0], found.audio[2])
  np.testing.assert_array_equal(alone.sizes[..., 0], found.sizes[..., 2])


@pytest.mark.slow
@pytest.mark.parametrize(('num_queries', 'expected'), [(2, 2), (100, 20)])
def test_a_budget_is_never_exceeded(num_queries, expected):
  found, asked = asked_of(0, num_queries)
  # A hundred are too few for the first step's probes.
  assert len(asked) == int(found.num_asked[0]) <= num_queries
  assert len(asked) == pytest.approx(expected, abs=3)


def curved(audio, xp):
  """Logits of a small network, of JAX's arrays or of NumPy's."""
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(TIME, 8)), rng.normal(size=(8, CLASSES))
  return xp.tanh((audio - 0.5) @ first) @ second


def in_numpy(clean, start, wanted, norm, num_steps, rng):
  """HopSkipJump as its paper writes it, in float64; returns a distance."""
  dimension, order = len(clean), np.inf if norm == 'linf' else 2

  def is_otherwise(x):
    return curved(x, np).argmax(-1) != wanted

  def size(x):
    return np.linalg.norm(x - clean, order)

  def to_boundary(x):
    low, high = 0.0, size(x)
    for _ in range(40):
      middle = (low + high) / 2
      change = x - clean
      if norm == 'linf':
        at = clean + np.clip(change, -middle, middle)
      else:
        at = clean + change * middle / size(x)
      low, high = (low, middle) if is_otherwise(at) else (middle, high)
    change = x - clean
    if norm == 'linf':
      return clean + np.clip(change, -high, high)
    return clean + change * high / size(x)

  x = to_boundary(start)
  for t in range(num_steps):
    draws = rng.normal(size=(int(100 * np.sqrt(t + 1)), dimension))
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    reach = size(x) / dimension
    asked = np.clip(x + reach * draws, 0, 1)
    verdict = np.where(is_otherwise(asked), 1.0, -1.0)
    draws = (asked - x) / reach
    if abs(verdict.mean()) < 1:
      verdict -= verdict.mean()
    normal = verdict @ draws
    normal = np.sign(normal) if norm == 'linf' else normal
    normal /= np.linalg.norm(normal, order)
    length = size(x) / np.sqrt(t + 1)
    while not is_otherwise(np.clip(x + length * normal, 0, 1)):
      length /= 2
    x = to_boundary(np.clip(x + length * normal, 0, 1))
  return size(x)


@pytest.mark.slow
@pytest.mark.parametrize('norm', ['linf', 'l2'])
def test_is_as_near_as_the_papers_loop_in_float64(norm):
  audio = jax.random.uniform(
    jax.random.key(5), (12, TIME), minval=0.3, maxval=0.7
  )
  answer = curved(audio, jnp).argmax(-1)
  assert 3 <= int(answer.sum()) <= 9
  starts = jnp.stack(
    [audio[jnp.argmax(answer != answer[i])][None] for i in range(12)]
  )
  found = jax.jit(
    functools.partial(
      attacks.hopskipjump,
      lambda x: curved(x, jnp).argmax(-1) != answer,
      norm=norm,
      num_queries=6000,
    )
  )(audio, starts, jax.random.split(jax.random.key(6), 12))
  rng = np.random.default_rng(1)
  theirs = [
    in_numpy(*map(np.float64, pair), wanted, norm, 18, rng)
    for pair, wanted in zip(
      zip(audio, starts[:, 0], strict=True), np.asarray(answer), strict=True
    )
  ]
  ratio = np.asarray(found.distance) / theirs
  assert np.median(ratio) == pytest.approx(1, abs=0.05)
  assert ratio.max() < 1.5


def test_bad_requests_are_refused():
  for kwargs, message in (
    ({'norm': 'l1'}, "'linf', 'l2'.*got 'l1'"),
    ({'num_queries': 0}, 'num_queries must be at least 1'),
    ({'tolerance': 0.0}, 'tolerance must be above 0, got 0'),
    ({'starts': STARTS[:, 0]}, r'\[batch, num_starts, time\], got shape'),
    ({'keys': KEYS[:1]}, 'keys must be 5 typed PRNG keys'),
  ):
    given = {'starts': STARTS, 'keys': KEYS, **kwargs}
    with pytest.raises(ValueError, match=message):
      attacks.hopskipjump(reached_fn, AUDIO, **given)
