"""From a file through a loudspeaker, a room and a microphone: simulated.

A clip is clipped softly, limited to a band, put through a room, delayed and
joined by noise, and recorded at the level it was sent with. What is random is
drawn once a clip, beforehand, so that the clip may be changed and sent again
through the same air.
"""

import functools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech.audio import SAMPLE_RATE_HZ, SILENCE
from advspeech.rooms.image_source import LEAD

# A loudspeaker saturates smoothly at so many times a clip's RMS.
CLIP_AT_RMS = 4.0
# A loudspeaker's band, and a telephone's.
BANDS_HZ = ((150.0, 7000.0), (300.0, 3400.0))
NUM_TAPS = 255
NOISE_SNR_DB = (20.0, 30.0)
LARGEST_OFFSET = SAMPLE_RATE_HZ // 100


class Parts(NamedTuple):
  """Which parts of the chain there are; level is always kept.

  Attributes:
    device: Soft clipping and a band.
    room: Echoes.
    microphone: Noise, and an offset of at most 10 ms.
  """

  device: bool
  room: bool
  microphone: bool


PARTS = {
  'room': Parts(device=False, room=True, microphone=False),
  'device': Parts(device=True, room=False, microphone=False),
  'air': Parts(device=True, room=True, microphone=True),
}


class Draws(NamedTuple):
  """What chance decides about clips, a row each.

  Attributes:
    room: [batch] int32 number of the response.
    band: [batch] int32 number of the band.
    offset: [batch] int32 samples that the clip is late.
    snr_db: [batch] of the noise.
    noise: [batch] typed keys.
  """

  room: jax.Array
  band: jax.Array
  offset: jax.Array
  snr_db: jax.Array
  noise: jax.Array


def recipe() -> str:
  """Returns what decides about the chain beside the responses, as JSON."""
  return json.dumps(
    {
      'clip_at_rms': CLIP_AT_RMS,
      'bands_hz': BANDS_HZ,
      'num_taps': NUM_TAPS,
      'noise_snr_db': NOISE_SNR_DB,
      'largest_offset': LARGEST_OFFSET,
    }
  )


def draw(keys: jax.Array, num_rooms: int) -> Draws:
  """Returns what is drawn for clips from their keys, [batch], alone."""

  def of_clip(key):
    room, band, offset, snr, noise = jax.random.split(key, 5)
    return Draws(
      jax.random.randint(room, (), 0, num_rooms),
      jax.random.randint(band, (), 0, len(BANDS_HZ)),
      jax.random.randint(offset, (), 0, LARGEST_OFFSET + 1),
      jax.random.uniform(snr, (), jnp.float32, *NOISE_SNR_DB),
      noise,
    )

  return jax.vmap(of_clip)(keys)


def carry(
  parts: Parts,
  responses: jax.Array | np.ndarray,
  audio: jax.Array,
  draws: Draws,
  mask: jax.Array,
) -> jax.Array:
  """Returns what a microphone makes of clips, [batch, time]; differentiable.

  The direct path is not late, but for the offset; echoes beyond the end of the
  clip are lost. Over its recorded samples a clip has the level it had before,
  attacked or not.

  Args:
    parts: Which there are.
    responses: [num_rooms, num_samples] as in `bank.Bank`.
    audio: [batch, time] in model range.
    draws: As `draw` returns them.
    mask: [batch, time] 1 on recorded samples.
  """
  samples = audio - SILENCE
  level = _rms(samples, mask)
  if parts.device:
    limit = CLIP_AT_RMS * jnp.where(level > 0, level, 1)
    samples = limit * jnp.tanh(samples / limit)
  samples = _filtered(parts, jnp.asarray(responses), samples, draws)
  if parts.microphone:
    samples += _noise(samples, draws, mask)
  heard = _rms(samples, mask)
  gain = level / jnp.where(heard > 0, heard, 1)
  return SILENCE + gain * samples


def _rms(samples, mask):
  """Returns levels, [batch, 1], whose slope is 0 and not nan at silence."""
  power = jnp.sum(mask * samples**2, -1, keepdims=True)
  power = power / jnp.maximum(mask.sum(-1, keepdims=True), 1)
  heard = power > 0
  return jnp.where(heard, jnp.sqrt(jnp.where(heard, power, 1)), 0)


def _filtered(parts, responses, samples, draws):
  """Returns samples behind band, room and offset: one product of spectra."""
  import scipy.fft

  time, late = samples.shape[-1], 0
  longest = time
  if parts.device:
    longest, late = longest + NUM_TAPS - 1, late + NUM_TAPS // 2
  if parts.room:
    longest, late = longest + responses.shape[-1] - 1, late + LEAD
  if parts.microphone:
    longest += LARGEST_OFFSET
  size = scipy.fft.next_fast_len(longest, real=True)
  spectrum = jnp.fft.rfft(samples, size)
  if parts.device:
    bands = np.stack([np.fft.rfft(_band(*hz), size) for hz in BANDS_HZ])
    spectrum *= jnp.asarray(bands, jnp.complex64)[draws.band]
  if parts.room:
    spectrum *= jnp.fft.rfft(responses[draws.room], size)
  if parts.microphone:
    # Whole turns are left out in integers, which float32 could not tell.
    turn = jnp.arange(size // 2 + 1)[None] * draws.offset[:, None] % size
    spectrum *= jnp.exp(-2j * jnp.pi * turn.astype(jnp.float32) / size)
  return jnp.fft.irfft(spectrum, size)[:, late : late + time]


@functools.lru_cache
def _band(low_hz, high_hz):
  import scipy.signal

  return scipy.signal.firwin(
    NUM_TAPS, (low_hz, high_hz), pass_zero='bandpass', fs=SAMPLE_RATE_HZ
  )


def _noise(samples, draws, mask):
  """Returns white noise of the SNR drawn, over recorded samples."""
  noise = jax.vmap(lambda key: jax.random.normal(key, samples.shape[1:]))(
    draws.noise
  )
  ratio = _rms(samples, mask) / jnp.maximum(_rms(noise, mask), 1e-12)
  return 10 ** (-draws.snr_db[:, None] / 20) * ratio * noise
