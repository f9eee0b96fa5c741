"""HopSkipJump (Chen, Jordan & Wainwright 2020): the nearest change of answer.

It is told decisions alone. From a clip that is decided otherwise it walks along
the boundary towards the clean one: a bisection to the boundary, the boundary's
normal from random probes, a step along it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, boundary, constraints, lattice

NUM_STEPS = 50
# The authors' tolerance, a share of 1 / samples of the distance, is less than
# float32 can tell of a clip: this is a sixteenth of a 16-bit step.
TOLERANCE = lattice.LSB / 16


class Closest(NamedTuple):
  """The nearest clips of another answer that were asked for.

  Attributes:
    audio: [batch, time]; the clean clip where none was found.
    distance: [batch] in the norm of the attack; 0 where the clean clip is
      decided otherwise as it is, inf if none was found.
    sizes: [2, num_counts, batch] max-norm and L2 norm of the nearest
      perturbation after so many queries; inf before there is one.
    num_asked: [batch] int32 queries of each clip.
  """

  audio: jax.Array
  distance: jax.Array
  sizes: jax.Array
  num_asked: jax.Array


def hopskipjump(
  reached_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  starts: jax.Array,
  keys: jax.Array,
  *,
  counts: Sequence[int] = (),
  norm: str = 'l2',
  num_queries: int = 25_000,
  tolerance: float = TOLERANCE,
  mask: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> Closest:
  """Returns the nearest clips that decisions alone lead to.

  Args:
    reached_fn: Maps audio [batch, time] to whether each clip is decided as the
      attack wants it, bool [batch].
    audio: [batch, time] clean clips, in the model's input range.
    starts: [batch, num_starts, time] other clips, such as of other classes,
      to begin at; they are tried one after another until one is decided so.
      A clip for which none is gets no further queries.
    keys: [batch] typed PRNG keys, one a clip.
    counts: Queries after which the nearest perturbation's size is recorded.
    norm: 'l2' or 'linf', to be small.
    num_queries: Of a clip at most, the clean clip and all starts among them.
    tolerance: How near the boundary a bisection ends: max-norm, or RMS over
      samples that may change in L2. Probes have an RMS of it times the root of
      the number of these samples (the authors' ratio).
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    bounds: Smallest and largest legal sample, of queries too.

  Raises:
    ValueError: If `norm` is unknown, `num_queries` or `tolerance` is not
      positive, or `starts`, `keys` or `mask` has a shape that does not go with
      `audio`.
  """
  audio, starts = jnp.asarray(audio), jnp.asarray(starts)
  threat = constraints.Threat(norm, mask, None, bounds)
  threat.check(audio)
  arguments.check_keys(keys, audio)
  arguments.check_counts(num_queries=num_queries)
  _check(audio, starts, tolerance)
  walk = boundary.Walk(
    reached_fn, audio, threat, num_queries, counts, tolerance
  )
  state = walk.begin(starts)
  state = jax.lax.fori_loop(
    0, NUM_STEPS, lambda i, state: walk.step(i, keys, state), state
  )
  return Closest(
    threat.add(audio, state.best), state.distance, state.sizes, state.num_asked
  )


def _check(audio, starts, tolerance):
  if (
    starts.ndim != 3
    or starts.shape[0] != audio.shape[0]
    or starts.shape[2] != audio.shape[1]
  ):
    raise ValueError(
      'starts must be [batch, num_starts, time], got shape '
      f'{starts.shape} for audio of {audio.shape}'
    )
  if not tolerance > 0:
    raise ValueError(
      f'tolerance must be above 0, got {tolerance}; a 16-bit step is '
      f'{lattice.LSB:.3g}'
    )
