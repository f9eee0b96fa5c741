"""The gradient of a loss to every sample, and its summary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.gradients import profiles, sums

MASS_SHARES = (0.01, 0.1, 0.5)


def input_gradient(
  loss_fn: Callable[[jax.Array], jax.Array], audio: jax.Array
) -> jax.Array:
  """Returns the derivative of every clip's loss to its samples, [rows, time].

  Args:
    loss_fn: Maps audio [rows, time] to losses [rows]; a clip's loss must not
      depend on its neighbours.
    audio: [rows, time].
  """
  return jax.grad(lambda x: loss_fn(x).sum())(audio)


def summarise(
  gradient: jax.Array,
  mask: jax.Array,
  *,
  frame_samples: int,
  frame_ms: float,
) -> dict[str, jax.Array]:
  """Returns the summary of a gradient, over the samples the mask names.

  Args:
    gradient: [rows, time], whole frames.
    mask: [rows, time]; 1 on one stretch of samples in each row.
    frame_samples: Samples a frame.
    frame_ms: Its length in ms.

  Returns:
    [rows] each: `num_samples` named; `l1`, `l2` and `max` norm; `mean_abs`;
    `zero_share`, the share of exact zeros; `outside_energy`, the share of the
    squared gradient on samples not named; `early_l1_share`, that of the L1 norm
    on the first `profiles.EARLY_SHARE` of those named; `index_1`, `index_10`
    and `index_50`, how many of them, from the first, hold so many percent of
    it; `half_life_ms` over frames that are named whole. Shares of a gradient
    that is zero throughout are not numbers.

  Raises:
    ValueError: If the gradient is not whole frames.
  """
  named = mask > 0
  inside = jnp.where(named, gradient, 0)
  magnitude = jnp.abs(inside)
  count = mask.sum(-1)
  peak, l1 = magnitude.max(-1), magnitude.sum(-1)
  # Squares of what float32 still holds may underflow: scaled by the largest.
  largest = jnp.maximum(peak, jnp.abs(gradient).max(-1))
  scale = jnp.where(largest > 0, largest, 1)[:, None]
  scaled = gradient / scale
  # Each summed by itself: a difference would be rounding where it is small.
  squares, outside_squares = (
    sums.sum_of_products(x, x)
    for x in (jnp.where(named, scaled, 0), jnp.where(named, 0, scaled))
  )
  start = jnp.argmax(mask, -1)
  position = jnp.arange(gradient.shape[1])[None] - start[:, None]
  early = position < profiles.EARLY_SHARE * count[:, None]
  whole = profiles.frame_profile(mask, frame_samples) == 1
  index = profiles.mass_index(inside, MASS_SHARES, frame_samples)
  return {
    'num_samples': count.astype(jnp.int32),
    'l1': l1,
    'l2': scale[:, 0] * jnp.sqrt(squares),
    'max': peak,
    'mean_abs': l1 / count,
    'zero_share': ((inside == 0) & named).sum(-1) / count,
    'outside_energy': _share(outside_squares, squares + outside_squares),
    'early_l1_share': _share(jnp.where(early, magnitude, 0).sum(-1), l1),
    **{
      f'index_{round(100 * share)}': index[:, i] - start
      for i, share in enumerate(MASS_SHARES)
    },
    'half_life_ms': profiles.half_life_ms(
      profiles.frame_profile(inside, frame_samples), frame_ms, whole
    ),
  }


def _share(part, whole):
  return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), jnp.nan)
