"""Lossy codecs of libsndfile, for clips on any device."""

import functools
import io

import jax
import numpy as np

from advspeech import on_host
from advspeech.audio import FULL_SCALE_PER_UNIT, SAMPLE_RATE_HZ, SILENCE

# libsndfile's names. At its default quality 27 to 35 kbit/s at 16 kHz.
CODECS = {
  'mp3': ('MP3', 'MPEG_LAYER_III'),
  'vorbis': ('OGG', 'VORBIS'),
  'opus': ('OGG', 'OPUS'),
}


def available() -> tuple[str, ...]:
  """Returns those of CODECS that the installed libsndfile can write."""
  import soundfile

  return tuple(
    name
    for name, (container, subtype) in CODECS.items()
    if container in soundfile.available_formats()
    and subtype in soundfile.available_subtypes(container)
  )


def through(name: str, audio: jax.Array) -> jax.Array:
  """Returns clips, [batch, time] in model range, as a codec gives them back.

  Args:
    name: One of `available()`.
    audio: The clips.
  """
  return on_host.each_clip(
    functools.partial(_encode_and_decode, codec=name), audio
  )


def _encode_and_decode(clip, codec):
  """Returns one clip, [time], as a compressed file gives it back.

  libsndfile takes the encoder's delay and filling off again; should a length
  differ all the same, the end is cut or filled with silence.
  """
  import soundfile

  container, subtype = CODECS[codec]
  samples = (clip - np.float32(SILENCE)) * np.float32(FULL_SCALE_PER_UNIT)
  file = io.BytesIO()
  with soundfile.SoundFile(
    file, 'w', SAMPLE_RATE_HZ, 1, subtype, format=container
  ) as writer:
    # libvorbis keeps a whole write on its stack and overflows on a long one.
    for start in range(0, len(samples), 4096):
      writer.write(samples[start : start + 4096])
  file.seek(0)
  decoded, _ = soundfile.read(
    file, frames=len(samples), dtype='float32', fill_value=0.0
  )
  return decoded / np.float32(FULL_SCALE_PER_UNIT) + np.float32(SILENCE)
