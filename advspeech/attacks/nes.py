"""Gradients guessed from scores: natural evolution strategies.

Ilyas et al. (2018), with the values of FAKEBOB (Chen et al. 2021), an attack on
speaker recognition. Its deviation and rates, .001 and less beside a budget of
.002, are shares of the radius here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints, queries

NUM_DRAWS = 50
SIGMA = 0.5  # of the draws, over the radius
MOMENTUM = 0.9
# Steps over the radius. A rate is halved where a score is below the fifth
# last.
FIRST_RATE, LAST_RATE = 0.5, 0.0005
_PLATEAU, _DROP = 5, 2.0


def nes(
  score_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  **settings: Any,
) -> jax.Array:
  """Returns examples along guessed gradients, [num_epsilons, batch, time].

  Arguments and errors are those of `nes_search`.
  """
  return nes_search(score_fn, audio, epsilons, keys, **settings).audio


def nes_search(
  score_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  *,
  counts: Sequence[int] = (),
  norm: str = 'linf',
  num_queries: int = 1000,
  enough: float = 0.0,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  epsilons_at_once: int | None = None,
) -> queries.Searched:
  """Returns examples along guessed gradients, and the best after each count.

  A step asks for the score of the clip as it stands, then of pairs of Gaussian
  draws on either side, whose scores weight them. Only the former is a
  candidate: draws leave the radius. A clip is done at the first that reaches
  the goal, whatever the others do.

  Args:
    score_fn: Maps audio [batch, time] to scores [batch], to be raised, such as
      margins. It needs no gradient.
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] max-norm radii, in the unit of `audio`, or
      [num_epsilons, batch] with a radius a clip.
    keys: [batch] typed PRNG keys, one a clip.
    counts: Queries after which the best score is recorded.
    norm: 'linf'; steps are signs.
    num_queries: Of a clip at most; below 52 for one step of fewer draws.
    enough: Score above which a clip is done; inf for none.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample, of queries too.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: If `norm` is not 'linf', `num_queries` is not positive, or
      `epsilons`, `keys`, `mask` or `band` has a shape that does not go with
      `audio`.
  """
  if norm != 'linf':
    raise ValueError(f"nes knows the norm 'linf' alone, got {norm!r}; use apgd")
  audio = jnp.asarray(audio)
  threat = constraints.Threat(norm, mask, band, bounds)
  threat.check(audio)
  arguments.check_keys(keys, audio)
  arguments.check_counts(num_queries=num_queries)
  num_pairs = min(NUM_DRAWS, max(num_queries - 2, 0)) // 2
  num_steps = (num_queries - 1) // (2 * num_pairs + 1) if num_pairs else 0

  def attack(epsilon):
    def ask(perturbation):
      return score_fn(threat.add(audio, perturbation))

    def guess(step, perturbation):
      """Returns a multiple of the gradient, [batch, time]."""
      of_step = jax.vmap(jax.random.fold_in, (0, None))(keys, step)

      def add_pair(pair, total):
        drawn = jax.vmap(jax.random.fold_in, (0, None))(of_step, pair)
        draw = threat.restrict(constraints.normal(drawn, audio))
        reach = SIGMA * epsilon[:, None] * draw
        slope = ask(perturbation + reach) - ask(perturbation - reach)
        return total + slope[:, None] * draw

      total = jax.lax.fori_loop(0, num_pairs, add_pair, jnp.zeros_like(audio))
      return total / max(1, num_pairs)

    def goes_on(state):
      return (state['step'] < num_steps) & (state['record'].reached == 0).any()

    def move(state):
      done = state['record'].reached > 0
      gradient = guess(state['step'], state['at'])
      velocity = MOMENTUM * state['velocity'] + (1 - MOMENTUM) * gradient
      ahead = (state['rate'] * epsilon)[:, None] * threat.steepest(velocity)
      at = threat.project(audio, state['at'] + ahead, epsilon)
      score = jnp.where(done, -jnp.inf, ask(at))
      number = 1 + (state['step'] + 1) * (2 * num_pairs + 1)
      better = score > state['score']
      recent = jnp.concatenate([state['recent'][:, 1:], score[:, None]], 1)
      falls = recent[:, 0] > recent[:, -1]
      return {
        'step': state['step'] + 1,
        'at': at,
        'velocity': velocity,
        'rate': jnp.where(
          falls, jnp.maximum(state['rate'] / _DROP, LAST_RATE), state['rate']
        ),
        'recent': jnp.where(falls[:, None], -jnp.inf, recent),
        'best': jnp.where(better[:, None], at, state['best']),
        'score': jnp.where(better, score, state['score']),
        'record': queries.noted(state['record'], counts, number, score, enough),
      }

    nothing = jnp.zeros_like(audio)
    score = ask(nothing)
    recent = jnp.full((len(audio), _PLATEAU), -jnp.inf, audio.dtype)
    start = {
      'step': 0,
      'at': nothing,
      'velocity': nothing,
      'rate': jnp.full(len(audio), FIRST_RATE, audio.dtype),
      'recent': recent.at[:, -1].set(score),
      'best': nothing,
      'score': score,
      'record': queries.noted(
        queries.nothing_asked(counts, audio), counts, 1, score, enough
      ),
    }
    end = jax.lax.while_loop(goes_on, move, start)
    best, reached = end['record']
    asked = 1 + num_steps * (2 * num_pairs + 1)
    return queries.Searched(
      threat.add(audio, end['best']),
      best,
      reached,
      jnp.where(reached > 0, reached, asked),
    )

  radii = arguments.radii(epsilons, audio)
  return arguments.each_epsilon(attack, radii, epsilons_at_once)
