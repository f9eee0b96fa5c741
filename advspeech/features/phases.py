"""Phases for magnitudes: a spectrum's own, found ones, or fixed ones."""

import jax
import jax.numpy as jnp

from advspeech.features.stft import Stft, power

# Phases come from no smaller a magnitude than this, in Griffin-Lim.
_SMALLEST_MAGNITUDE = 1e-8


def phasors(spectrum: jax.Array) -> jax.Array:
  """Returns a spectrum of magnitude 1 with the same phases.

  A bin too small to have a phase keeps its smallness instead.
  """
  size = jnp.maximum(power(spectrum), _SMALLEST_MAGNITUDE**2)
  return spectrum * jax.lax.rsqrt(size)


def griffin_lim(
  magnitude: jax.Array,
  stft: Stft,
  num_samples: int,
  *,
  start: jax.Array,
  num_iterations: int = 32,
  momentum: float = 0.99,
) -> jax.Array:
  """Returns phases under which magnitudes are nearly a signal's, as phasors.

  The fast algorithm (Perraudin et al. 2013; Griffin & Lim 1984 without
  momentum), [batch, frames, bins] complex.

  Args:
    magnitude: [batch, frames, bins].
    stft: The transform it is of.
    num_samples: Length of the signal.
    start: Phasors to start from, broadcast to `magnitude`.
    num_iterations: Times there and back.
    momentum: Of the steps.
  """

  def step(carry, _):
    phase, previous = carry
    signal = stft.synthesise(magnitude * phase, num_samples)
    rebuilt = stft.analyse(signal)
    ahead = rebuilt - momentum / (1 + momentum) * previous
    return (phasors(ahead), rebuilt), None

  start = jnp.broadcast_to(start, magnitude.shape)
  carry = start, jnp.zeros_like(start)
  return jax.lax.scan(step, carry, None, num_iterations)[0][0]


def fixed_phase(num_frames: int, num_bins: int) -> jax.Array:
  """Returns phasors without a pattern, [frames, bins], always the same."""
  angle = jax.random.uniform(jax.random.key(0), (num_frames, num_bins))
  return jnp.exp(2j * jnp.pi * angle).astype(jnp.complex64)
