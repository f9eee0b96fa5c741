"""Recordings in and out, clip length, and the units of amplitude.

Inside the program audio is the model's input: float32 in [0, 1], silence at
0.5 (paper, "scaled into [0,1]"; the authors' code uses (x + 1) / 2). On disk
and on the wire it is int16 PCM. This is the only module that converts.

One unit of model amplitude is half of full scale, which spans [-1, 1): a
perturbation of 0.02 is 0.04 of full scale, 1310.72 LSB of 16 bit, -27.96 dBFS.
"""

import dataclasses
import io
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
# Where silence goes on a clip that is short, what is kept of one that is long,
# and whether each recording is scaled to full scale first.
PADS = ('end', 'center', 'front')
CUTS = ('start', 'center')
NORMALIZATIONS = ('none', 'peak')
# Rates beyond these are those of a damaged header.
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000
# What libsndfile notes of WAV, AIFF and AU files with less than they promise.
_CUT_SHORT = re.compile(r'(?:data|SSND|Data Size)\s+: (\d+) \(should be')
# Bytes of sound that programs write who stream a WAV file and cannot know it
# (ffmpeg 0xFFFFFFFF, SoX 0x7FFFF000, arecord 0x80000000, or a little less).
_UNKNOWN_SIZES = (
  range(0x7FFF0000, 0x80000001),
  range(0xFFFF0000, 0x100000000),
)


def read(path: str | os.PathLike, channels: str = 'mean') -> np.ndarray:
  """Returns a recording's samples, [time] float32 in [-1, 1], unrounded.

  A rate other than 16 kHz is converted with soxr (high quality) through
  librosa. Mono files at 16 kHz of 16 bit or float come back bit for bit, float
  samples beyond full scale included.

  Args:
    path: Any file libsndfile reads (wav, flac, ogg, mp3), here or where
      `etils.epath` finds it (gs://, s3://).
    channels: 'mean' of all, or the number of one, from '0'.

  Raises:
    errors.InputError: If the file cannot be decoded, holds no samples, samples
      that are not finite, or not the channel asked for.
  """
  import librosa

  samples, rate_hz = _decode(path)
  if channels == 'mean':
    samples = librosa.to_mono(samples)
  elif int(channels) < len(samples):
    samples = samples[int(channels)]
  else:
    raise errors.InputError(
      f'{path} has {len(samples)} channels, numbered from 0, and no channel '
      f'{channels}; choose another --config.corpus.channels'
    )
  if rate_hz != SAMPLE_RATE_HZ:
    samples = librosa.resample(
      samples, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ, res_type='soxr_hq'
    )
  return samples


def _decode(path):
  """Returns a file's samples, [channels, time] in [-1, 1], and its rate."""
  import soundfile

  try:
    with soundfile.SoundFile(_openable(path)) as file:
      rate_hz = file.samplerate
      if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise EOFError(f'its header says {rate_hz} Hz')
      samples = file.read(dtype='float32', always_2d=True)
      if _is_cut_short(file.extra_info) or len(samples) < file.frames:
        raise EOFError('its end is missing')
    if not np.isfinite(samples).all():
      raise EOFError('it holds samples that are not finite')
  except (
    soundfile.SoundFileError,
    OSError,
    EOFError,
    MemoryError,  # a header that promises the world
  ) as e:
    raise errors.InputError(
      f'{path} cannot be read as audio ({str(e).rstrip(".")}); '
      'replace it or leave it out'
    ) from e
  if not samples.size:
    raise errors.InputError(
      f'{path} holds no samples; replace it or leave it out'
    )
  return samples.T, rate_hz


def _is_cut_short(extra_info):
  promise = _CUT_SHORT.search(extra_info)
  return promise and not any(int(promise[1]) in r for r in _UNKNOWN_SIZES)


def _openable(path):
  """Returns what libsndfile opens: a local name, or a distant file's bytes."""
  name = os.fspath(path)
  if '://' not in name:
    if os.path.exists(name) and not os.path.isfile(name):
      raise OSError('it is no file')  # a pipe would be waited for
    return name
  from etils import epath

  return io.BytesIO(epath.Path(name).read_bytes())


def read_as_heard(path: str | os.PathLike) -> np.ndarray:
  """Returns a saved clip in the range that models hear, [time] float32.

  Raises:
    errors.InputError: See `read`.
  """
  return np.asarray(from_full_scale(jnp.asarray(read(path))))


def load(path: str | os.PathLike, channels: str = 'mean') -> np.ndarray:
  """Returns a recording as int16 PCM, [time], rounded and saturated.

  Args:
    path: Any file that `read` reads; 16-bit ones come back bit for bit.
    channels: As there.

  Raises:
    errors.InputError: As `read` does.
  """
  return round_to_pcm(read(path, channels))


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


def pad_or_trim(
  pcm: np.ndarray, num_samples: int, pad: str = 'end', cut: str = 'start'
) -> np.ndarray:
  """Returns PCM, [time], cut or filled up with zeros to one length.

  Args:
    pcm: [time] int16.
    num_samples: The length.
    pad: Where zeros go, one of `PADS`; 'center' puts them on both sides.
    cut: What is kept of a longer clip, one of `CUTS`.
  """
  surplus = max(0, len(pcm) - num_samples)
  first = surplus // 2 if cut == 'center' else 0
  pcm = pcm[first : first + num_samples]
  start, count = recorded_span(len(pcm), num_samples, pad)
  return np.pad(pcm, (start, num_samples - start - count))


def recorded_span(length: int, num_samples: int, pad: str) -> tuple[int, int]:
  """Returns the first recorded sample of a clip, and how many there are.

  Args:
    length: Samples of the recording.
    num_samples: Length of the clip made of it by `pad_or_trim`.
    pad: As there.
  """
  missing = max(0, num_samples - length)
  start = {'end': 0, 'center': missing // 2, 'front': missing}[pad]
  return start, min(length, num_samples)


def normalize_peak(pcm: np.ndarray) -> np.ndarray:
  """Returns int16 PCM, [time], scaled so that its largest sample is 32767.

  Silence stays silence. What 16 bits lost of a quiet recording stays lost.
  """
  peak = np.abs(pcm.astype(np.int32)).max(initial=0)
  if not peak:
    return pcm
  return np.rint(pcm * (PCM_MAX / peak)).astype(np.int16)


@dataclasses.dataclass(frozen=True)
class ClipShape:
  """How recordings become clips of one length; the paper's way if not told.

  Attributes:
    num_samples: Length of a clip.
    pad: Where silence goes, one of `PADS`.
    cut: What is kept of a longer recording, one of `CUTS`.
    normalize: One of `NORMALIZATIONS`.
  """

  num_samples: int
  pad: str = 'end'
  cut: str = 'start'
  normalize: str = 'none'

  def clip(self, pcm: np.ndarray) -> np.ndarray:
    """Returns the clip, [num_samples], of a recording, [time]."""
    if self.normalize == 'peak':
      pcm = normalize_peak(pcm)
    return pad_or_trim(pcm, self.num_samples, self.pad, self.cut)

  def span(self, length: int) -> tuple[int, int]:
    """Returns where in its clip a recording begins, and how much is there."""
    return recorded_span(length, self.num_samples, self.pad)


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


UNITS = ('fs', 'lsb', 'dbfs', 'dbsnr', '')
_EPSILON = re.compile(
  r'\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*'
  rf'({"|".join(UNITS)})\s*',
  re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Epsilon:
  """A max-norm radius in the unit its user thinks in.

  Of samples, or of acoustic features in their own unit.

  Attributes:
    value: The number before the unit.
    unit: '' (the model's, half of full scale), 'fs' (full scale), 'lsb' (steps
      of 16 bit), 'dbfs' (dB below full scale) or 'dbsnr' (dB below the clip);
      any other is that of the features.
    text: Number and unit, as they label a point.
  """

  value: float
  unit: str
  text: str

  @property
  def is_of_features(self) -> bool:
    """Whether it says nothing of samples."""
    return self.unit not in UNITS

  def same(self) -> tuple[bool, float]:
    """Returns what tells it from others, in whatever unit it is written."""
    in_db = self.unit == 'dbsnr'
    radius = self.value if in_db else float(self.radii(np.float32(0)))
    return in_db, float(f'{radius:.6g}')

  def radii(self, signal_rms: jax.Array) -> jax.Array:
    """Returns the max-norm radius of each clip, [batch].

    In the model's unit, or in that of the features.

    In 'dbsnr' it is the radius at which a perturbation of +-radius on every
    recorded sample has that SNR; clips then differ, and a silent one gets 0.

    Args:
      signal_rms: [batch] as `signal_rms` returns; other units use its shape.
    """
    if self.unit == 'dbsnr':
      return signal_rms * 10 ** (-self.value / 20)
    units = {
      'fs': self.value / FULL_SCALE_PER_UNIT,
      'lsb': self.value / LSB_PER_UNIT,
      'dbfs': 10 ** (self.value / 20) / FULL_SCALE_PER_UNIT,
    }
    return jnp.full_like(signal_rms, units.get(self.unit, self.value))


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
