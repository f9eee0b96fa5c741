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

from advspeech import decoding, errors, storage

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
# What is no louder than this, from its lowest sample to its highest in steps of
# 16 bit, is silence and a converter's noise.
_SILENT_RANGE = 2
# The share of samples at full scale from which a recording is called clipped.
CLIPPED = 0.001


def read(path: str | os.PathLike, channels: str = 'mean') -> np.ndarray:
  """Returns a recording's samples, [time] float32, unrounded; 1 is full scale.

  A rate other than 16 kHz is converted with soxr (high quality). Mono files at
  16 kHz of 16 bit or float come back bit for bit, float samples beyond full
  scale included.

  Args:
    path: Any file libsndfile reads (wav, flac, ogg, mp3), here or where
      `etils.epath` finds it (gs://, s3://).
    channels: 'mean' of all, or the number of one, from '0'.

  Raises:
    errors.InputError: See `decoding.blocks`; or it has not the channel asked
      for.
  """
  return np.concatenate(list(_samples(path, channels)))


def _samples(path, channels):
  """Yields a recording piece by piece, [time] float32 at 16 kHz.

  What was cut into pieces is converted to the same bits as what was not.
  """
  import soxr

  converter, num_frames, num_samples = None, 0, 0
  for rate_hz, block in decoding.blocks(path):
    mono = _mono(path, block, channels)
    num_frames += len(mono)
    if rate_hz != SAMPLE_RATE_HZ:
      converter = converter or soxr.ResampleStream(
        rate_hz, SAMPLE_RATE_HZ, 1, dtype='float32', quality='soxr_hq'
      )
      mono = converter.resample_chunk(mono)
      num_samples += len(mono)
    yield mono
  if converter:
    end = converter.resample_chunk(np.zeros(0, np.float32), last=True)
    # A sample that is begun counts as one, as librosa counts.
    total = math.ceil(num_frames * (SAMPLE_RATE_HZ / rate_hz))
    yield np.pad(end, (0, max(0, total - num_samples - len(end))))


def _mono(path, block, channels):
  """Returns one channel, [frames], of a block, [frames, channels]."""
  num_channels = block.shape[1]
  if channels == 'mean':
    # Channel by channel: along them NumPy is ten times slower.
    return np.ascontiguousarray(block.T).mean(axis=0)
  if channels.isdecimal() and int(channels) < num_channels:
    return np.ascontiguousarray(block[:, int(channels)])
  raise errors.InputError(
    f'{path} has {num_channels} channels, numbered from 0, and no channel '
    f'{channels}; choose another --config.corpus.channels, or their mean'
  )


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
  return np.concatenate(list(_pcm(path, channels)))


def _pcm(path, channels):
  return map(round_to_pcm, _samples(path, channels))


def load_clip(
  path: str | os.PathLike, shape: 'ClipShape', channels: str = 'mean'
) -> 'Heard':
  """Returns what a model hears of a recording: the same as of all of it.

  No more is decoded than is needed, or kept in memory: the start, or where the
  peak or the length has to be known all of it, piece by piece.

  Args:
    path: As in `load`.
    shape: How it becomes a clip.
    channels: As in `load`.

  Raises:
    errors.InputError: As `load` does, of what is decoded.
  """
  first, peak = 0, None
  if shape.normalize == 'peak' or shape.cut == 'center':
    length, peak = 0, 0
    for piece in _pcm(path, channels):
      length, peak = length + len(piece), max(peak, _peak(piece))
    first = shape.first(length)
  end = first + shape.num_samples
  kept, at = [], 0
  for piece in _pcm(path, channels):
    kept.append(piece[max(0, first - at) : max(0, end + 1 - at)])
    at += len(piece)
    if at > end:
      break
  pcm = np.concatenate(kept)
  is_all = at <= end and not first
  pcm = pcm[: shape.num_samples]
  quality = is_silent(pcm), share_at_full_scale(pcm)
  if shape.normalize == 'peak':
    pcm = normalize_peak(pcm, peak)
  start, count = shape.span(len(pcm))
  clip = pad_or_trim(pcm, shape.num_samples, shape.pad)
  return Heard(clip, start, count, is_all, *quality)


@dataclasses.dataclass(frozen=True)
class Heard:
  """A recording as a clip.

  Attributes:
    pcm: [time] int16, with zeros where there is no recording.
    start: First recorded sample.
    num_samples: How many there are.
    is_all: Whether nothing of the recording was left out.
    is_silent: Whether what is heard is.
    share_at_full_scale: Of what is heard, before it is scaled.
  """

  pcm: np.ndarray
  start: int
  num_samples: int
  is_all: bool
  is_silent: bool
  share_at_full_scale: float


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
  # libsndfile reports a full disk as "System error".
  data = io.BytesIO()
  soundfile.write(data, samples, SAMPLE_RATE_HZ, subtype=subtype, format='WAV')
  with storage.replacing(os.fspath(path), 'wb') as file:
    file.write(data.getbuffer())


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
  first = _first_kept(len(pcm), num_samples, cut)
  pcm = pcm[first : first + num_samples]
  start, count = recorded_span(len(pcm), num_samples, pad)
  return np.pad(pcm, (start, num_samples - start - count))


def _first_kept(length, num_samples, cut):
  return max(0, length - num_samples) // 2 if cut == 'center' else 0


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


def normalize_peak(pcm: np.ndarray, peak: int | None = None) -> np.ndarray:
  """Returns int16 PCM, [time], scaled so that its largest sample is 32767.

  Silence stays silence. What 16 bits lost of a quiet recording stays lost.

  Args:
    pcm: [time] int16.
    peak: The largest of the samples that `pcm` is some of; None if it is all.
  """
  peak = _peak(pcm) if peak is None else peak
  if not peak:
    return pcm
  return np.rint(pcm * (PCM_MAX / peak)).astype(np.int16)


def _peak(pcm):
  return int(np.abs(pcm.astype(np.int32)).max(initial=0))


def is_silent(pcm: np.ndarray) -> bool:
  """Returns whether int16 PCM, [time], holds one value, but for its noise."""
  return int(pcm.max()) - int(pcm.min()) <= _SILENT_RANGE


def share_at_full_scale(pcm: np.ndarray) -> float:
  """Returns the share of int16 PCM, [time], that lies at full scale.

  Which is what saturation leaves of louder samples.
  """
  return float(np.mean((pcm == PCM_MIN) | (pcm == PCM_MAX)))


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

  def first(self, length: int) -> int:
    """Returns the first sample that is kept of a recording."""
    return _first_kept(length, self.num_samples, self.cut)

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
