"""Recordings read and written: one channel, 16 kHz, as a model hears them."""

import dataclasses
import io
import math
import os

import jax.numpy as jnp
import numpy as np

from advspeech import decoding, errors, storage
from advspeech.audio import amplitude, clip_shape


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
    if rate_hz != amplitude.SAMPLE_RATE_HZ:
      converter = converter or soxr.ResampleStream(
        rate_hz, amplitude.SAMPLE_RATE_HZ, 1, dtype='float32', quality='soxr_hq'
      )
      mono = converter.resample_chunk(mono)
      num_samples += len(mono)
    yield mono
  if converter:
    end = converter.resample_chunk(np.zeros(0, np.float32), last=True)
    # A sample that is begun counts as one, as librosa counts.
    total = math.ceil(num_frames * (amplitude.SAMPLE_RATE_HZ / rate_hz))
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
  return np.asarray(amplitude.from_full_scale(jnp.asarray(read(path))))


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
  return map(amplitude.round_to_pcm, _samples(path, channels))


def load_clip(
  path: str | os.PathLike, shape: clip_shape.ClipShape, channels: str = 'mean'
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
      length, peak = length + len(piece), max(peak, clip_shape.peak_of(piece))
    first = shape.first(length)
  end = first + shape.num_samples
  pieces, at = [], 0
  for piece in _pcm(path, channels):
    pieces.append(piece[max(0, first - at) : max(0, end + 1 - at)])
    at += len(piece)
    if at > end:
      break
  pcm = np.concatenate(pieces)
  is_all = at <= end and not first
  pcm = pcm[: shape.num_samples]
  quality = clip_shape.is_silent(pcm), clip_shape.share_at_full_scale(pcm)
  if shape.normalize == 'peak':
    pcm = clip_shape.normalize_peak(pcm, peak)
  start, count = shape.span(len(pcm))
  clip = clip_shape.pad_or_trim(pcm, shape.num_samples, shape.pad)
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
    samples = np.asarray(amplitude.to_pcm(jnp.asarray(audio)))
  elif subtype == 'FLOAT':
    samples = np.asarray(amplitude.to_full_scale(jnp.asarray(audio)))
  else:
    raise ValueError(f"subtype must be 'PCM_16' or 'FLOAT', got {subtype!r}")
  # libsndfile reports a full disk as "System error".
  data = io.BytesIO()
  soundfile.write(
    data, samples, amplitude.SAMPLE_RATE_HZ, subtype=subtype, format='WAV'
  )
  with storage.replacing(os.fspath(path), 'wb') as file:
    file.write(data.getbuffer())
