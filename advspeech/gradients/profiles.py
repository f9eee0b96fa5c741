"""How a magnitude lies in time: by frame, by mass, by half-life."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from advspeech.gradients import sums

# "The first 60,000 data points" of the paper's 96,000 (Figure 5).
EARLY_SHARE = 60_000 / 96_000


def frame_profile(values: jax.Array, frame_samples: int) -> jax.Array:
  """Returns the mean magnitude of every frame, [rows, frames].

  Args:
    values: [rows, time], whole frames.
    frame_samples: Samples a frame.

  Raises:
    ValueError: If `values` is not whole frames.
  """
  return jnp.abs(_frames(values, frame_samples)).mean(-1)


def mass_index(
  values: jax.Array, shares: Sequence[float], frame_samples: int
) -> jax.Array:
  """Returns how many samples hold each share of the L1 norm, [rows, shares].

  The least i for which the first i magnitudes add up to the share; all of them
  where every value is zero. Sought in frames, then in one frame's samples: a
  running sum over a whole clip takes longer than its gradient's other sums.

  Args:
    values: [rows, time], whole frames.
    shares: Each in (0, 1].
    frame_samples: Samples a frame.

  Raises:
    ValueError: If `values` is not whole frames.
  """
  frames = jnp.abs(_frames(values, frame_samples))
  until = jnp.cumsum(frames.sum(-1), -1)
  total = until[:, -1:]
  target = total * jnp.asarray(shares, frames.dtype)[None]
  frame = (until[:, None] < target[..., None]).sum(-1)
  # Rounding may leave the last frame short of the whole.
  frame = jnp.minimum(frame, frames.shape[1] - 1)
  before = jnp.where(
    frame > 0,
    jnp.take_along_axis(until, jnp.maximum(frame - 1, 0), axis=1),
    0,
  )
  inside = jnp.take_along_axis(frames, frame[..., None], axis=1)
  reached = before[..., None] + jnp.cumsum(inside, -1)
  index = frame * frame_samples + (reached < target[..., None]).sum(-1) + 1
  index = jnp.minimum(index, values.shape[1])
  return jnp.where(total > 0, index, values.shape[1])


def half_life_ms(
  profile: jax.Array, frame_ms: float, counted: jax.Array | None = None
) -> jax.Array:
  """Returns the time in which a profile halves, going back from its end.

  Of the exponential through it, fitted by least squares to the logarithms of
  its frames; frames that are zero have none and are left out.

  Args:
    profile: [rows, frames], not negative.
    frame_ms: Length of a frame in ms.
    counted: [rows, frames], frames with 0 are left out; None for all.

  Returns:
    [rows] in ms; infinite where the profile does not fall towards the start,
    not a number where fewer than two frames are left.
  """
  use = profile > 0
  if counted is not None:
    use = use & (counted > 0)
  weight = use.astype(profile.dtype)
  number = weight.sum(-1, keepdims=True)
  octaves = jnp.log2(jnp.where(use, profile, 1))
  time = jnp.arange(profile.shape[1], dtype=profile.dtype)[None]
  time = time - sums.sum_of_products(weight, time)[:, None] / number
  covariance = sums.sum_of_products(weight * time, octaves)
  slope = covariance / sums.sum_of_products(weight * time, time)
  life = jnp.where(slope > 0, frame_ms / slope, jnp.inf)
  return jnp.where(number[:, 0] > 1, life, jnp.nan)


def _frames(values, frame_samples):
  rows, time = values.shape
  if time % frame_samples:
    raise ValueError(
      f'values must be whole frames of {frame_samples} samples, got {time} '
      'samples; pad or cut them'
    )
  return values.reshape(rows, -1, frame_samples)
