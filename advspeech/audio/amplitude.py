"""Units of amplitude: the model's, full scale, 16 bit, decibels.

Inside the program audio is the model's input: float32 in [0, 1], silence at
0.5 (paper, "scaled into [0,1]"; the authors' code uses (x + 1) / 2). On disk
and on the wire it is int16 PCM.

One unit of model amplitude is half of full scale, which spans [-1, 1): a
perturbation of 0.02 is 0.04 of full scale, 1310.72 LSB of 16 bit, -27.96 dBFS.
"""

import jax
import jax.numpy as jnp
import numpy as np

SAMPLE_RATE_HZ = 16_000
SILENCE = 0.5
LSB_PER_UNIT = 65536.0
FULL_SCALE_PER_UNIT = 2.0
PCM_MIN, PCM_MAX = -32768, 32767


def round_to_pcm(samples: np.ndarray) -> np.ndarray:
  """Returns float samples in [-1, 1] as int16, saturated at full scale."""
  pcm = np.rint(samples * -PCM_MIN)
  return np.clip(pcm, PCM_MIN, PCM_MAX).astype(np.int16)


def from_pcm(pcm: jax.Array) -> jax.Array:
  """Returns int16 PCM of any shape as model input; exact in float32."""
  return pcm.astype(jnp.float32) / LSB_PER_UNIT + SILENCE


def to_pcm(audio: jax.Array) -> jax.Array:
  """Returns model input as the nearest int16 PCM, saturated at full scale.

  Inverse of `from_pcm`, bit for bit. Full scale positive, 1.0, saturates to
  32767: two's complement has no 32768.
  """
  pcm = jnp.round((audio - SILENCE) * LSB_PER_UNIT)
  return jnp.clip(pcm, PCM_MIN, PCM_MAX).astype(jnp.int16)


def from_full_scale(samples: jax.Array) -> jax.Array:
  """Returns float samples in [-1, 1], a float WAV file's, as model input."""
  return (samples + 1.0) / FULL_SCALE_PER_UNIT


def to_full_scale(audio: jax.Array) -> jax.Array:
  """Returns model input as float samples in [-1, 1], as in a float WAV file."""
  return audio * FULL_SCALE_PER_UNIT - 1.0


def amplitude_units(epsilon: float) -> dict[str, float]:
  """Returns an amplitude of the model's unit in every unit people use.

  Args:
    epsilon: Max-norm radius in the model's unit (half of full scale).

  Returns:
    `epsilon_fs` (fraction of full scale), `epsilon_lsb` (16-bit steps) and
    `epsilon_dbfs` (dB below full scale, -inf for 0).
  """
  full_scale = epsilon * FULL_SCALE_PER_UNIT
  with np.errstate(divide='ignore'):
    dbfs = 20 * np.log10(full_scale)
  return {
    'epsilon_fs': full_scale,
    'epsilon_lsb': epsilon * LSB_PER_UNIT,
    'epsilon_dbfs': float(dbfs),
  }


def signal_rms(audio: jax.Array, mask: jax.Array) -> jax.Array:
  """Returns root mean squares about silence over recorded samples, [...].

  Args:
    audio: [..., time] clips in model range.
    mask: [..., time], 1 on recorded samples, 0 on padding; a clip without
      recorded samples has 0.
  """
  energy = jnp.sum(mask * (audio - SILENCE) ** 2, axis=-1)
  return jnp.sqrt(energy / jnp.maximum(jnp.sum(mask, axis=-1), 1))


def snr_db(audio: jax.Array, noisy: jax.Array, mask: jax.Array) -> jax.Array:
  """Returns the signal-to-noise ratio over recorded samples in dB, [...].

  Args:
    audio: [..., time] clean clips in model range; power is taken about
      silence, 0.5.
    noisy: [..., time] the same clips, perturbed.
    mask: [..., time], 1 on recorded samples, 0 on padding.

  Returns:
    10 log10(signal energy / perturbation energy); +inf where nothing changed,
    -inf where a silent clip was changed.
  """
  signal = jnp.sum(mask * (audio - SILENCE) ** 2, axis=-1)
  noise = jnp.sum(mask * (noisy - audio) ** 2, axis=-1)
  ratio = jnp.where(noise > 0, signal / jnp.where(noise > 0, noise, 1), jnp.inf)
  return 10 * jnp.log10(ratio)
