"""One filter for every clip (Malafide; Panariello et al. 2023).

What is added to a clip is the clip itself through a finite impulse response,
scaled to the clip's radius: it has no length of its own, and is as loud as the
speech is at any time. Learnt as universal perturbations are.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints
from advspeech.attacks.universal import exact_sum

# 64 ms at 16 kHz, in the middle of which is no delay.
NUM_TAPS = 1025


def filter_step(
  loss_fn: Callable[[jax.Array], jax.Array],
  taps: jax.Array,
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  relative_step: float,
  silence: float = 0.5,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  axis_name: str | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns filters one step on, [num_epsilons, num_taps], of length at most 1.

  The gradient by the taps is that of what they add to a clip, every clip taken
  at L2 norm 1, summed over clips in whole numbers as of `universal_step`. What
  scaling to the radius does to it is left out: it is the loss of no direction.

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch].
    taps: [num_epsilons, num_taps] so far; zeros to begin with.
    audio: [batch, time] clean clips.
    epsilons: [num_epsilons] L2 radii, or [num_epsilons, batch].
    relative_step: Step over the largest length of taps, 1.
    silence: What of a clip is no sound.
    mask: [batch, time] or None; 1 on samples that may change.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.
    axis_name: Mesh axis that shares the clips, inside `shard_map`.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: If a shape does not go with `audio`.
  """
  threat = constraints.Threat('l2', mask, band, bounds)
  threat.check(audio)
  radii = arguments.radii(epsilons, audio)
  _check_taps(taps, radii)
  one_filter = constraints.Threat('l2', bounds=(-jnp.inf, jnp.inf))
  heard = constraints.unit(audio - silence, 'l2')

  def step_one(inputs):
    taps, radius = inputs
    adv = filter_all(
      *(audio, taps[None], radius[None]),
      silence=silence,
      mask=mask,
      band=band,
      bounds=bounds,
    )[0]
    gradient = threat.restrict(jax.grad(lambda a: loss_fn(a).sum())(adv))
    by_tap = _correlate(heard, gradient, len(taps))
    total = exact_sum(by_tap, axis_name)[None]
    moved = taps[None] + relative_step * one_filter.steepest(total)
    nothing = jnp.zeros_like(taps)[None]
    return one_filter.project(nothing, moved, jnp.ones(1, audio.dtype))[0]

  return jax.lax.map(step_one, (taps, radii), batch_size=epsilons_at_once)


def filter_all(
  audio: jax.Array,
  taps: jax.Array,
  epsilons: jax.Array,
  *,
  silence: float = 0.5,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns clips with themselves, filtered, added at an L2 norm.

  Args:
    audio: [batch, time] clean clips, of any length.
    taps: [num_epsilons, num_taps], an odd number, the middle one without delay;
      their size does not matter, but for zeros, which change nothing.
    epsilons: [num_epsilons] L2 radii, or [num_epsilons, batch].
    silence: What of a clip is no sound.
    mask: [batch, time] or None; samples with 0 stay bit for bit.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.

  Returns:
    [num_epsilons, batch, time].

  Raises:
    ValueError: If the shapes do not go together.
  """
  threat = constraints.Threat('l2', mask, band, bounds)
  threat.check(audio)
  radii = arguments.radii(epsilons, audio)
  _check_taps(taps, radii)

  def one(inputs):
    taps, radius = inputs
    added = threat.restrict(_convolve(audio - silence, taps))
    step = radius[:, None] * constraints.unit(added, 'l2')
    return constraints.add(audio, step, bounds=bounds)

  return jax.lax.map(one, (taps.astype(audio.dtype), radii))


def _check_taps(taps, radii):
  if taps.ndim != 2 or len(taps) != len(radii) or not taps.shape[1] % 2:
    raise ValueError(
      'taps must be [num_epsilons, num_taps], an odd number, got shape '
      f'{taps.shape} for {len(radii)} epsilons'
    )


def _convolve(x, taps):
  """Returns x [batch, time] through taps [num_taps] without delay."""
  num_samples, middle = x.shape[-1], len(taps) // 2
  size = num_samples + len(taps) - 1
  response = jnp.fft.rfft(taps, size)

  def one(clip):
    product = jnp.fft.rfft(clip, size) * response
    return jnp.fft.irfft(product, size)[middle : middle + num_samples]

  # One by one: side by side a CPU multiplies complex numbers in an order that
  # depends on where in a vector they stand, and a clip would have other bits
  # alone than in a batch.
  return jax.lax.map(one, x)


def _correlate(x, gradient, num_taps):
  """Returns the gradient by the taps of `_convolve`, [batch, num_taps]."""
  size = x.shape[-1] + num_taps - 1

  def one(pair):
    clip, weights = (jnp.fft.rfft(row, size) for row in pair)
    by_delay = jnp.fft.irfft(jnp.conj(clip) * weights, size)
    return jnp.roll(by_delay, num_taps // 2)[:num_taps]

  return jax.lax.map(one, (x, gradient))
