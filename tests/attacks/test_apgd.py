"""Auto-PGD against its schedule, a loop in NumPy, and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import constraints
from advspeech.attacks.apgd import checkpoint_windows

KEYS = jax.random.split(jax.random.key(0), 6)
AUDIO = jax.random.uniform(jax.random.key(1), (6, 20), minval=0.2, maxval=0.8)
WEIGHTS = jax.random.normal(jax.random.key(2), (20, 8)) * 4
FREQUENCIES = jnp.arange(1.0, 9)[None] * 3


def waves(audio):
  """A loss with many hills, row by row."""
  return jnp.sum(jnp.sin((audio - 0.5) @ WEIGHTS * FREQUENCIES), -1)


def test_checkpoints_come_where_the_paper_puts_them():
  """For 100 steps: p = 0.22, then 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99."""
  windows = checkpoint_windows(100)
  assert len(windows) == 100
  ends = [i + 1 for i, w in enumerate(windows) if w]
  assert ends == [22, 41, 57, 70, 80, 87, 93, 99]
  assert [w for w in windows if w] == [22, 19, 16, 13, 10, 7, 6, 6]
  assert checkpoint_windows(1) == [1]


def distance(audio):
  return -jnp.abs(audio - 0.5).sum(-1)


# Two clips in 300 where the loss rises in more than three steps of four and the
# best is still what it was: condition 2 of the algorithm decides.
_RARE = jnp.array([21, 254])


def by_hand(loss_fn, start, audio, epsilon, num_steps, norm):
  """Algorithm 1 of the paper for one clip, in a Python loop."""
  threat = constraints.Threat(norm)
  value = jax.jit(loss_fn)
  gradient = jax.jit(jax.grad(lambda a: loss_fn(a).sum()))

  def project(x):
    return audio + threat.project(audio, x - audio, jnp.array([epsilon]))

  checkpoints = np.cumsum([w for w in checkpoint_windows(num_steps) if w])
  x, f = [start], [value(start)]
  before, step = start, 2 * epsilon
  best, best_f = start, f[0]
  last_best, last_step = None, None
  for k in range(num_steps):
    z = project(x[k] + step * threat.steepest(gradient(x[k])))
    moved = 0.75 * (z - x[k]) + 0.25 * (x[k] - before)
    new = z if k == 0 else project(x[k] + moved)
    before, f_new = x[k], value(new)
    if f_new > best_f:
      best, best_f = new, f_new
    x.append(new)
    f.append(f_new)
    if k + 1 in checkpoints:
      i = list(checkpoints).index(k + 1)
      since = 0 if i == 0 else checkpoints[i - 1]
      rises = sum(bool(f[j + 1] > f[j]) for j in range(since, k + 1))
      first = rises <= 0.75 * (k + 1 - since)
      second = i > 0 and last_step == step and last_best == best_f
      last_best, last_step = best_f, step
      if first or second:
        step, x[k + 1], f[k + 1] = step / 2, best, best_f
  return best, step


@pytest.mark.parametrize(
  ('loss_fn', 'norm', 'rows'),
  [
    (waves, 'linf', jnp.arange(3)),
    (waves, 'l2', jnp.arange(3)),
    (distance, 'l2', _RARE),
  ],
)
def test_agrees_with_the_papers_algorithm_step_by_step(loss_fn, norm, rows):
  """In float64: on such losses a last bit grows with every step."""
  attack = functools.partial(
    attacks.apgd, lambda a: (loss_fn(a),) * 2, norm=norm, num_steps=30
  )
  epsilon = {'linf': 0.1, 'l2': 0.05}[norm]
  keys = jax.random.split(jax.random.key(0), 300)[rows]
  with jax.enable_x64(True):
    audio = jax.random.uniform(
      jax.random.key(1), (300, 20), jnp.float64, 0.2, 0.8
    )[rows]
    radius = jnp.full(len(rows), epsilon)
    out = jax.jit(attack)(audio, radius[:1], keys)[0]
    starts = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    start = audio + constraints.Threat(norm).random_start(starts, audio, radius)
    halved = []
    for i in range(len(rows)):
      row = slice(i, i + 1)
      expected, step = by_hand(
        loss_fn, start[row], audio[row], epsilon, 30, norm
      )
      halved.append(step < epsilon)
      np.testing.assert_allclose(out[row], expected, atol=1e-6)
  assert any(halved)  # more than once


def test_finds_more_than_pgd_with_as_many_gradients():
  epsilons = jnp.array([0.1])
  ours = attacks.apgd(
    lambda a: (waves(a),) * 2, AUDIO, epsilons, KEYS, num_steps=50
  )[0]
  pgd = attacks.pgd(waves, AUDIO, epsilons, KEYS, num_steps=50)[0]
  assert float(waves(ours).mean()) > float(waves(pgd).mean())


def test_steps_follow_the_loss_and_clips_are_kept_by_their_margin():
  """The margin is highest half way up the hill that the loss climbs."""

  def objective_fn(audio):
    x = audio.mean(-1)
    return x, -jnp.abs(x - 0.55)

  audio = jnp.full((6, 1), 0.5)
  out = attacks.apgd(objective_fn, audio, [0.1], KEYS, num_steps=20)[0]
  top = attacks.apgd(
    lambda a: (a.mean(-1),) * 2, audio, [0.1], KEYS, num_steps=20
  )[0]
  np.testing.assert_allclose(top, 0.6, atol=1e-6)
  start = constraints.Threat().random_start(
    jax.vmap(jax.random.fold_in, (0, None))(KEYS, 0), audio, jnp.full(6, 0.1)
  )
  at_start = objective_fn(audio + start)[1]
  best = objective_fn(out)[1]
  assert (best >= jnp.maximum(at_start, -0.05) - 1e-6).all()
  assert float(best.max()) > -0.03


def test_a_clip_keeps_its_best_restart():
  few, many = (
    attacks.apgd(
      lambda a: (waves(a),) * 2,
      AUDIO,
      [0.1],
      KEYS,
      num_steps=5,
      num_restarts=number,
    )[0]
    for number in (1, 8)
  )
  assert (waves(many) >= waves(few)).all()
  assert (waves(many) > waves(few)).any()


@pytest.mark.parametrize('count', ['num_steps', 'num_restarts'])
def test_counts_below_one_are_refused(count):
  with pytest.raises(ValueError, match=f'{count} must be at least 1, got 0'):
    attacks.apgd(lambda a: (waves(a),) * 2, AUDIO, [0.1], KEYS, **{count: 0})
