"""How audible a perturbation is: measures of a perturbed clip against its own.

Signal-to-noise ratio over the whole clip is `audio.snr_db`. Measures in JAX
take whole batches, under jit; STOI and PESQ are other people's code on the
host, a clip at a time. All look at recorded samples only.
"""

import importlib.util
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import errors, preemption
from advspeech.audio import (
  FULL_SCALE_PER_UNIT,
  LSB_PER_UNIT,
  SAMPLE_RATE_HZ,
  SILENCE,
  masking_threshold,
  psychoacoustics,
)

# 30 ms.
SEGMENT_SAMPLES = 480
SEGMENT_RANGE_DB = (-10.0, 35.0)
# A segment so far below the clip's loudest counts as silent, as in STOI.
DYNAMIC_RANGE_DB = 40.0
# 384 ms, what one of STOI's correlations is taken over.
STOI_SAMPLES = 6144
# What rounding may add to a power at its threshold, .01 dB.
_TOLERANCE = 10**0.001
# 32 ms, half overlapped.
FRAME_SAMPLES, HOP_SAMPLES = 512, 256


class Scores(NamedTuple):
  """One score a clip.

  Attributes:
    values: [num_clips] floats; None where the measure is not defined, as on a
      clip that is silent or too short.
    num_undefined: How many are None.
  """

  values: list[float | None]
  num_undefined: int


def segmental_snr_db(
  audio: jax.Array, noisy: jax.Array, mask: jax.Array
) -> jax.Array:
  """Returns the segmental signal-to-noise ratio in dB, [batch].

  Mean over segments of 30 ms, side by side, of their SNR clamped to
  [-10, 35] dB (Hansen & Pellom 1998). Silent segments, 40 dB or more below the
  clip's loudest in mean power, are left out; a clip's last segment has as many
  samples as were recorded of it.

  Args:
    audio: [batch, time] clean clips in model range.
    noisy: [batch, time] the same clips, perturbed.
    mask: [batch, time], 1 on recorded samples, 0 on padding.

  Returns:
    [batch] in [-10, 35]; NaN for a clip that is silent throughout.
  """
  fill = -audio.shape[-1] % SEGMENT_SAMPLES

  def sums(x):
    x = jnp.pad(mask * x, ((0, 0), (0, fill)))
    return x.reshape(len(x), -1, SEGMENT_SAMPLES).sum(-1)

  signal, noise = sums((audio - SILENCE) ** 2), sums((noisy - audio) ** 2)
  power = signal / jnp.maximum(sums(jnp.ones_like(audio)), 1)
  loudest = power.max(-1, keepdims=True)
  heard = power > loudest * 10 ** (-DYNAMIC_RANGE_DB / 10)
  ratio = signal / jnp.where(noise > 0, noise, 1)
  db = jnp.clip(
    10 * jnp.log10(jnp.where((noise > 0) & heard, ratio, jnp.inf)),
    *SEGMENT_RANGE_DB,
  )
  return jnp.sum(heard * db, -1) / jnp.sum(heard, -1)


def log_spectral_distance_db(
  audio: jax.Array, noisy: jax.Array, mask: jax.Array
) -> jax.Array:
  """Returns the log-spectral distance in dB, [batch].

  Mean over frames of the root mean square over frequencies of the difference
  of the two log power spectra (Gray & Markel 1976, d_2). Frames are 32 ms,
  Hann, half overlapped, and recorded from end to end. No power counts as less
  than what white noise of one 16-bit step has there: below it a logarithm
  measures nothing that a file could keep.

  Args:
    audio: [batch, time] clean clips in model range.
    noisy: [batch, time] the same clips, perturbed.
    mask: [batch, time], 1 on recorded samples, 0 on padding.

  Returns:
    [batch], 0 where nothing changed; NaN for a clip of less than a frame.
  """
  window = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)
  floor = float(np.sum(window**2)) / LSB_PER_UNIT**2
  num_frames = max(0, 1 + (audio.shape[-1] - FRAME_SAMPLES) // HOP_SAMPLES)
  at = HOP_SAMPLES * np.arange(num_frames)[:, None] + np.arange(FRAME_SAMPLES)

  def log_power(x):
    spectrum = jnp.fft.rfft((x - SILENCE)[:, at] * window[None, None])
    power = spectrum.real**2 + spectrum.imag**2
    return 10 * jnp.log10(jnp.maximum(power, floor))

  difference = log_power(audio) - log_power(noisy)
  distance = jnp.sqrt(jnp.mean(difference**2, -1))
  recorded = mask[:, at].min(-1)
  return jnp.sum(recorded * distance, -1) / jnp.sum(recorded, -1)


@jax.jit
def unmasked_share(
  audio: jax.Array, noisy: jax.Array, mask: jax.Array
) -> jax.Array:
  """Returns the share of a perturbation's cells that its clip does not mask.

  Cells of time and frequency whose magnitude is above the masking threshold
  (`audio.masking_threshold`), of frames that hold recorded samples, [batch];
  NaN for a clip without any.

  Args:
    audio: [batch, time] clean clips in model range.
    noisy: [batch, time] the same clips, perturbed.
    mask: [batch, time], 1 on recorded samples, 0 on padding.
  """

  def share(rows):  # one clip at a time: spectra are four times its size
    clean, perturbed, recorded = (x[None] for x in rows)
    spectrum = psychoacoustics.analyse(perturbed - clean)
    allowed = masking_threshold(clean) ** 2
    above = psychoacoustics.power(spectrum) > allowed * _TOLERANCE
    counts = psychoacoustics.holds(recorded)[..., None]
    num_cells = counts.sum() * above.shape[-1]
    return jnp.sum(above & counts) / num_cells

  return jax.lax.map(share, (audio, noisy, mask))


def stoi(audio: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> Scores:
  """Returns short-time objective intelligibility, about 0 to 1 (pystoi).

  Taal et al. 2011. Undefined where a clip is silent or less than 384 ms of it
  are within 40 dB of its loudest.

  Args:
    audio: [num_clips, time] clean clips in model range.
    noisy: [num_clips, time] the same clips, perturbed.
    mask: [num_clips, time], 1 on recorded samples, 0 on padding.
  """
  import pystoi

  def score(clean, perturbed):
    if len(clean) < STOI_SAMPLES:
      return None
    with warnings.catch_warnings():
      # It warns of too little speech and returns 1e-5.
      warnings.filterwarnings('error', 'Not enough STFT', RuntimeWarning)
      try:
        return pystoi.stoi(clean, perturbed, SAMPLE_RATE_HZ)
      except RuntimeWarning:
        return None

  return _scores(score, audio, noisy, mask)


def has_pesq() -> bool:
  """Returns whether `pesq` can be called here."""
  return importlib.util.find_spec('pesq') is not None


def pesq(audio: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> Scores:
  """Returns wide-band PESQ, a mean opinion score of 1 to 4.64 (package pesq).

  ITU-T P.862.2. Undefined where a clip is silent, shorter than a quarter of a
  second, or in PESQ's judgement holds no speech.

  Args:
    audio: [num_clips, time] clean clips in model range.
    noisy: [num_clips, time] the same clips, perturbed.
    mask: [num_clips, time], 1 on recorded samples, 0 on padding.

  Raises:
    errors.InputError: If pesq is not installed.
  """
  if not has_pesq():
    raise errors.InputError(
      'PESQ needs the package pesq, which is not installed; '
      "pip install 'advspeech[quality]' or leave it out"
    )
  import pesq as pesq_lib

  def score(clean, perturbed):
    if not perturbed.any():
      return None
    try:
      return pesq_lib.pesq(SAMPLE_RATE_HZ, clean, perturbed, 'wb')
    except (pesq_lib.NoUtterancesError, pesq_lib.BufferTooShortError):
      return None

  return _scores(score, audio, noisy, mask)


def has_dnsmos() -> bool:
  """Returns whether `speechmos` can be called here."""
  needed = ('speechmos', 'onnxruntime', 'requests')
  return all(importlib.util.find_spec(name) for name in needed)


def dnsmos(audio: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> Scores:
  """Returns DNSMOS P.835 of the whole, a mean opinion score of about 1 to 5.

  What listeners would say of a clip whose original they do not know, by a
  network (package speechmos): unlike the others it has a clean clip's own
  score, which need not be high. Undefined where a clip is silent.

  Args:
    audio: [num_clips, time] clean clips in model range.
    noisy: [num_clips, time] the same clips, perturbed.
    mask: [num_clips, time], 1 on recorded samples, 0 on padding.

  Raises:
    errors.InputError: If speechmos is not installed.
  """
  if not has_dnsmos():
    raise errors.InputError(
      'DNSMOS needs the packages speechmos, onnxruntime and requests, of which '
      "one is not installed; pip install 'advspeech[dnsmos]' or leave it out"
    )
  from speechmos import dnsmos as dnsmos_lib

  def score(clean, perturbed):
    del clean
    if not perturbed.any():
      return None
    # Out of its range by a rounding would be refused.
    return dnsmos_lib.run(np.clip(perturbed, -1, 1), SAMPLE_RATE_HZ)['ovrl_mos']

  return _scores(score, audio, noisy, mask)


def _scores(score, audio, noisy, mask):
  """Applies score(clean, noisy) to full-scale recorded parts, clip by clip."""
  values = []
  for clean, perturbed, recorded in zip(audio, noisy, mask, strict=True):
    preemption.check_alone()
    recorded = np.asarray(recorded) > 0
    clean, perturbed = (
      (np.asarray(x, np.float64)[recorded] - SILENCE) * FULL_SCALE_PER_UNIT
      for x in (clean, perturbed)
    )
    value = score(clean, perturbed) if clean.any() else None
    defined = value is not None and np.isfinite(value)
    values.append(float(value) if defined else None)
  return Scores(values, values.count(None))
