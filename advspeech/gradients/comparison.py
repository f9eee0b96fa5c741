"""Two gradients of one clip, beside each other."""

import jax
import jax.numpy as jnp

from advspeech.gradients import profiles, sums


def compare(
  a: jax.Array, b: jax.Array, *, frame_samples: int
) -> dict[str, jax.Array]:
  """Returns how alike two models' gradients of the same clips are.

  Args:
    a: [rows, time], whole frames.
    b: [rows, time], another model's.
    frame_samples: Samples a frame.

  Returns:
    [rows] each: `cosine` (0 where one is zero); `sign_agreement`, the share of
    samples with the same sign, 0 being one; `norm_ratio` of the L2 norms, a
    over b; `rank_correlation` of the frame profiles, Spearman's.

  Raises:
    ValueError: If the shapes differ or are not whole frames.
  """
  if a.shape != b.shape:
    raise ValueError(
      f'gradients must be of the same clips, got {a.shape} and {b.shape}'
    )
  (unit_a, norm_a), (unit_b, norm_b) = _unit(a), _unit(b)
  return {
    'cosine': sums.sum_of_products(unit_a, unit_b),
    'sign_agreement': (jnp.sign(a) == jnp.sign(b)).mean(-1),
    'norm_ratio': norm_a / norm_b,
    'rank_correlation': rank_correlation(
      profiles.frame_profile(a, frame_samples),
      profiles.frame_profile(b, frame_samples),
    ),
  }


def _unit(x):
  """Returns the rows at length 1 and their lengths; squares never underflow."""
  peak = jnp.abs(x).max(-1, keepdims=True)
  scaled = x / jnp.where(peak > 0, peak, 1)
  length = jnp.sqrt(sums.sum_of_products(scaled, scaled))[:, None]
  unit = scaled / jnp.where(length > 0, length, 1)
  return unit, (peak * length)[:, 0]


def rank_correlation(
  a: jax.Array, b: jax.Array, counted: jax.Array | None = None
) -> jax.Array:
  """Returns Spearman's correlation of rows, [rows].

  Args:
    a: [rows, n].
    b: [rows, n].
    counted: [rows, n], values with 0 are left out; None for all.

  Returns:
    Not a number where one of them is the same throughout.
  """
  if counted is None:
    a, b = _ranks(a), _ranks(b)
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
  else:
    number = jnp.maximum(counted.sum(-1, keepdims=True), 1)
    a, b = (_ranks(x, counted) for x in (a, b))
    a, b = (
      counted * (x - (counted * x).sum(-1, keepdims=True) / number)
      for x in (a, b)
    )
  spread = jnp.sqrt((a**2).sum(-1) * (b**2).sum(-1))
  return jnp.where(spread > 0, (a * b).sum(-1) / spread, jnp.nan)


def _ranks(x, counted=None):
  """Returns ranks from 1 among those counted, ties sharing their mean."""
  below, equal = x[:, None] < x[:, :, None], x[:, None] == x[:, :, None]
  if counted is not None:
    below, equal = (y * counted[:, None] for y in (below, equal))
  below, equal = below.sum(-1), equal.sum(-1)
  return below + 0.5 * (equal + 1)
