"""A walk along the boundary between two answers, by decisions alone.

What HopSkipJump is made of (Chen, Jordan & Wainwright 2020): a bisection to the
boundary, its normal from random probes, a step along it that is halved until it
stays on the far side.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from advspeech.attacks import constraints

# Of the first step; others take so many times the root of their number.
NUM_PROBES = 100


class State(NamedTuple):
  """Where a walk has come to.

  Attributes:
    at: [batch, time] perturbation at the boundary, or as near as it got.
    best: [batch, time] the nearest one that reaches the goal.
    distance: [batch] its size in the norm; inf before there is one.
    sizes: [2, num_counts, batch] of the nearest, by norm, after so many
      queries.
    num_asked: [batch] int32.
    goes_on: [batch] whether a clip walks on.
  """

  at: jax.Array
  best: jax.Array
  distance: jax.Array
  sizes: jax.Array
  num_asked: jax.Array
  goes_on: jax.Array


class Walk(NamedTuple):
  """What a walk goes by: all clips at once, each with queries of its own.

  Attributes:
    reached_fn: Maps audio [batch, time] to bool [batch].
    audio: [batch, time] clean clips.
    threat: Norm, mask and bounds.
    num_queries: Of a clip at most.
    counts: Queries after which sizes are recorded.
    tolerance: See `hopskipjump`.
  """

  reached_fn: Callable[[jax.Array], jax.Array]
  audio: jax.Array
  threat: constraints.Threat
  num_queries: int
  counts: Sequence[int]
  tolerance: float

  @property
  def num_movable(self) -> jax.Array:
    """Returns how many samples of a clip may change, [batch], at least 1."""
    movable = constraints.masked(jnp.ones_like(self.audio), self.threat.mask)
    return jnp.maximum(constraints.sum_of(movable), 1)

  @property
  def anywhere(self) -> jax.Array:
    """Returns a radius that holds every clip, [batch]."""
    return jnp.full(len(self.audio), jnp.inf, self.audio.dtype)

  @property
  def near(self) -> jax.Array:
    """Returns the tolerance in the norm, [batch]."""
    if self.threat.norm == 'linf':
      return jnp.full_like(self.num_movable, self.tolerance)
    return self.tolerance * jnp.sqrt(self.num_movable)

  def size(self, perturbation: jax.Array) -> jax.Array:
    """Returns distances, [batch], of clips as they are asked for."""
    change = self.threat.add(self.audio, perturbation) - self.audio
    return constraints.norm_of(change, self.threat.norm)

  def ask(
    self, state: State, perturbation: jax.Array, wanted: jax.Array
  ) -> tuple[State, jax.Array]:
    """Returns the state after a query, and whether it was reached, [batch].

    Args:
      state: Before.
      perturbation: [batch, time] a candidate.
      wanted: [batch] whether to ask for a clip; not of one whose queries are
        spent.
    """
    asked = wanted & (state.num_asked < self.num_queries)
    adv = self.threat.add(self.audio, perturbation)
    reached = self.reached_fn(adv) & asked
    num_asked = state.num_asked + asked
    change = adv - self.audio
    names = constraints.NORMS
    norms = jnp.stack([constraints.norm_of(change, name) for name in names])
    distance = norms[names.index(self.threat.norm)]
    nearer = reached & (distance < state.distance)
    in_time = jnp.asarray(self.counts, jnp.int32)[:, None] >= num_asked[None]
    state = state._replace(
      num_asked=num_asked,
      best=jnp.where(nearer[:, None], perturbation, state.best),
      distance=jnp.where(nearer, distance, state.distance),
      sizes=jnp.where(
        (in_time & nearer[None])[None], norms[:, None], state.sizes
      ),
    )
    return state, reached

  def begin(self, starts: jax.Array) -> State:
    """Returns the state at the boundary, or beyond it where none was found."""
    num_clips, nothing = len(self.audio), jnp.zeros_like(self.audio)
    state = State(
      at=nothing,
      best=nothing,
      distance=jnp.full(num_clips, jnp.inf, self.audio.dtype),
      sizes=jnp.full(
        (2, len(self.counts), num_clips), jnp.inf, self.audio.dtype
      ),
      num_asked=jnp.zeros(num_clips, jnp.int32),
      goes_on=jnp.zeros(num_clips, bool),
    )
    state, is_otherwise = self.ask(state, nothing, jnp.full(num_clips, True))

    def sought(state):
      able = state.num_asked < self.num_queries
      return ~is_otherwise & ~state.goes_on & able

    def try_start(carry):
      i, state = carry
      change = self.threat.restrict(starts[:, i] - self.audio)
      state, reached = self.ask(state, change, sought(state))
      return i + 1, state._replace(
        at=jnp.where(reached[:, None], change, state.at),
        goes_on=state.goes_on | reached,
      )

    _, state = jax.lax.while_loop(
      lambda carry: (carry[0] < starts.shape[1]) & sought(carry[1]).any(),
      try_start,
      (0, state),
    )
    return self.bisect(state, state.at, state.goes_on)

  def bisect(self, state: State, outside: jax.Array, moves: jax.Array) -> State:
    """Returns the state with clips moved to the boundary.

    Between the clean clip and one decided otherwise: on the line to it in L2,
    sample by sample in the max-norm.

    Args:
      state: Before.
      outside: [batch, time] perturbations that reach the goal.
      moves: [batch] which clips are moved.
    """
    near = self.near

    def wide(bracket):
      low, high, state = bracket
      apart = (high - low > near) & moves
      # Where float32 has nothing between the two, that is near enough.
      apart &= ((low + high) / 2 > low) & ((low + high) / 2 < high)
      return apart & (state.num_asked < self.num_queries)

    def halve(bracket):
      low, high, state = bracket
      apart, middle = wide(bracket), (low + high) / 2
      inside = self.threat.project(self.audio, outside, middle)
      state, reached = self.ask(state, inside, apart)
      return (
        jnp.where(apart & ~reached, middle, low),
        jnp.where(apart & reached, middle, high),
        state,
      )

    high = self.size(outside)
    low, high, state = jax.lax.while_loop(
      lambda bracket: wide(bracket).any(),
      halve,
      (jnp.zeros_like(high), high, state),
    )
    del low
    at = self.threat.project(self.audio, outside, high)
    return state._replace(at=jnp.where(moves[:, None], at, state.at))

  def step(self, number: jax.Array, keys: jax.Array, state: State) -> State:
    """Returns the state after one step along the boundary.

    Args:
      number: Of the step, from 0.
      keys: [batch].
      state: Before.
    """
    num_probes = (NUM_PROBES * jnp.sqrt(number + 1.0)).astype(jnp.int32)
    # Probes are worth it only if a query is left to use the normal.
    enough = state.num_asked + num_probes < self.num_queries
    state = state._replace(goes_on=state.goes_on & enough)
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
    return jax.lax.cond(
      state.goes_on.any(),
      lambda s: self.hop(
        number, num_probes, self.normal(keys, num_probes, s), s
      ),
      lambda s: s,
      state,
    )

  def normal(
    self, keys: jax.Array, num_probes: jax.Array, state: State
  ) -> jax.Array:
    """Returns the boundary's normal as probes tell it, of any length.

    Args:
      keys: [batch] of this step.
      num_probes: How many.
      state: With clips at the boundary.
    """
    reach = self.tolerance * jnp.sqrt(self.num_movable)

    def probe(i, sums):
      drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      noise = self.threat.restrict(constraints.normal(drawn, self.audio))
      asked = self.threat.project(
        self.audio, state.at + reach[:, None] * noise, self.anywhere
      )
      moved = asked - state.at
      verdict = jnp.where(
        self.reached_fn(self.threat.add(self.audio, asked)), 1.0, -1.0
      )
      weighted, plain, total = sums
      return (
        weighted + verdict[:, None] * moved,
        plain + moved,
        total + verdict,
      )

    nothing = jnp.zeros_like(self.audio)
    weighted, plain, total = jax.lax.fori_loop(
      0, num_probes, probe, (nothing, nothing, jnp.zeros(len(self.audio)))
    )
    # Less the mean verdict, but where all are the same.
    mean = jnp.where(jnp.abs(total) == num_probes, 0, total / num_probes)
    return weighted - mean[:, None] * plain

  def hop(
    self,
    number: jax.Array,
    num_probes: jax.Array,
    normal: jax.Array,
    state: State,
  ) -> State:
    """Returns the state after a step along the normal and a bisection back.

    The step is halved until it stays beyond the boundary.

    Args:
      number: Of the step, from 0.
      num_probes: That the normal took.
      normal: [batch, time] of the boundary.
      state: Before.
    """
    moves = state.goes_on
    state = state._replace(
      num_asked=state.num_asked + jnp.where(moves, num_probes, 0)
    )
    direction = self.threat.steepest(normal)
    # Times a number, since XLA divides one clip otherwise than several.
    first = self.size(state.at) * (1 / jnp.sqrt(number + 1.0))
    near = self.near

    def ahead(length):
      moved = state.at + length[:, None] * direction
      return self.threat.project(self.audio, moved, self.anywhere)

    def seeks(carry):
      length, found, state = carry
      able = state.num_asked < self.num_queries
      return moves & ~found & able & (length > near)

    def halve(carry):
      length, found, state = carry
      sought = seeks(carry)
      state, reached = self.ask(state, ahead(length), sought)
      return (
        jnp.where(sought & ~reached, length / 2, length),
        found | reached,
        state,
      )

    start = first, jnp.zeros_like(moves), state
    length, found, state = jax.lax.while_loop(
      lambda carry: seeks(carry).any(), halve, start
    )
    return self.bisect(state, ahead(length), moves & found)
