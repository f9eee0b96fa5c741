"""Recordings in and out, clip length, and the units of amplitude.

Inside the program audio is the model's input: float32 in [0, 1], silence at
0.5 (paper, "scaled into [0,1]"; the authors' code uses (x + 1) / 2). On disk
and on the wire it is int16 PCM. This is the only module that converts.

One unit of model amplitude is half of full scale, which spans [-1, 1): a
perturbation of 0.02 is 0.04 of full scale, 1310.72 LSB of 16 bit, -27.96 dBFS.
"""

import dataclasses
import math
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import errors

SAMPLE_RATE_HZ = 16_000
SILENCE = 0.5
LSB_PER_UNIT = 65536.0
FULL_SCALE_PER_UNIT = 2.0
PCM_MIN, PCM_MAX = -32768, 32767


def read(path: str | os.PathLike) -> np.ndarray:
  """Returns a recording's samples, [time] float32 in [-1, 1], unrounded.

  Channels are averaged; a rate other than 16 kHz is converted with soxr (high
  quality) through librosa. Mono files at 16 kHz of 16 bit or float come back
  bit for bit, float samples beyond full scale included.

  Args:
    path: Any file libsndfile reads (wav, flac, ogg, mp3).

  Raises:
    errors.InputError: If the file cannot be decoded, holds no samples, or
      samples that are not finite.
  """
  import librosa
  import soundfile

  try:
    with soundfile.SoundFile(os.fspath(path)) as file:
      if re.search(r'data : \d+ \(should be', file.extra_info):
        raise EOFError('its end is missing')
      audio, _ = librosa.load(
        file, sr=SAMPLE_RATE_HZ, mono=True, res_type='soxr_hq'
      )
  except (
    soundfile.SoundFileError,
    librosa.util.exceptions.ParameterError,  # samples that are not finite
    OSError,
    EOFError,
  ) as e:
    raise errors.InputError(
      f'{path} cannot be read as audio ({str(e).rstrip(".")}); '
      'replace it or leave it out'
    ) from e
  if not audio.size:
    raise errors.InputError(
      f'{path} holds no samples; replace it or leave it out'
    )
  return audio


def load(path: str | os.PathLike) -> np.ndarray:
  """Returns a recording as int16 PCM, [time], rounded and saturated.

  Args:
    path: Any file that `read` reads; 16-bit ones come back bit for bit.

  Raises:
    errors.InputError: As `read` does.
  """
  return round_to_pcm(read(path))


def save(path: str | os.PathLike, audio: np.ndarray, subtype: str) -> None:
  """Writes model-range audio, [time], as a 16 kHz WAV file.

  Args:
    path: The file to write.
    audio: [time] in model range; rounded to the format's nearest value, never
      rescaled. Beyond [0, 1] 16-bit samples saturate; float ones are kept.
    subtype: 'PCM_16' or 'FLOAT' (32 bit).

  Raises:
    ValueError: If `subtype` is another.
  """
  import soundfile

  audio = np.asarray(audio, np.float32)
  if subtype == 'PCM_16':
    samples = np.asarray(to_pcm(audio))
  elif subtype == 'FLOAT':
    samples = np.asarray(to_full_scale(audio))
  else:
    raise ValueError(f"subtype must be 'PCM_16' or 'FLOAT', got {subtype!r}")
  soundfile.write(os.fspath(path), samples, SAMPLE_RATE_HZ, subtype=subtype)


def round_to_pcm(samples: np.ndarray) -> np.ndarray:
  """Returns float samples in [-1, 1] as int16, saturated at full scale."""
  pcm = np.rint(samples * -PCM_MIN)
  return np.clip(pcm, PCM_MIN, PCM_MAX).astype(np.int16)


def pad_or_trim(pcm: np.ndarray, num_samples: int) -> np.ndarray:
  """Returns the first `num_samples` of PCM, [time], zeros after its end."""
  pcm = pcm[:num_samples]
  return np.pad(pcm, (0, num_samples - len(pcm)))


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


_EPSILON = re.compile(
  r'\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(fs|lsb|dbfs|dbsnr|)\s*',
  re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Epsilon:
  """A max-norm radius in the unit its user thinks in.

  Attributes:
    value: The number before the unit.
    unit: '' (the model's, half of full scale), 'fs' (full scale), 'lsb' (steps
      of 16 bit), 'dbfs' (dB below full scale) or 'dbsnr' (dB below the clip).
    text: Number and unit, as they label a point.
  """

  value: float
  unit: str
  text: str

  def radii(self, signal_rms: jax.Array) -> jax.Array:
    """Returns the max-norm radius of each clip in the model's unit, [batch].

    In 'dbsnr' it is the radius at which a perturbation of +-radius on every
    recorded sample has that SNR; clips then differ, and a silent one gets 0.

    Args:
      signal_rms: [batch] as `signal_rms` returns; other units use its shape.
    """
    if self.unit == 'dbsnr':
      return signal_rms * 10 ** (-self.value / 20)
    units = {
      '': self.value,
      'fs': self.value / FULL_SCALE_PER_UNIT,
      'lsb': self.value / LSB_PER_UNIT,
      'dbfs': 10 ** (self.value / 20) / FULL_SCALE_PER_UNIT,
    }
    return jnp.full_like(signal_rms, units[self.unit])


def parse_epsilon(epsilon: str | float) -> Epsilon:
  """Returns an epsilon given as a number or as text with a unit.

  Args:
    epsilon: 0.02 or '0.02' (the model's unit), '0.04fs', '1311lsb', '-28dbfs'
      or '20dbsnr'; in any case, with or without spaces.

  Raises:
    errors.InputError: If it is none of these, negative where it is no
      logarithm, or not finite.
  """
  text = epsilon if isinstance(epsilon, str) else repr(float(epsilon))
  match = _EPSILON.fullmatch(text)
  if match:
    value, unit = float(match[1]), match[2].lower()
    if math.isfinite(value) and (value >= 0 or unit.startswith('db')):
      return Epsilon(value, unit, repr(value).removesuffix('.0') + unit)
  raise errors.InputError(
    "epsilon must be a number that is not negative in the model's unit or text "
    "such as '0.02', '0.04fs', '1311lsb', '-28dbfs', '20dbsnr', got "
    f'{epsilon!r}'
  )


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
