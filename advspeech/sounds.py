"""Sounds as a page embeds them."""

import base64
import io
from typing import NamedTuple

import numpy as np
import soundfile

from advspeech import audio


class Sound(NamedTuple):
  """One player.

  Attributes:
    uri: The sound itself.
    label: What it is, for a reader who does not see where it stands.
  """

  uri: str
  label: str


def flac_uri(sound: np.ndarray) -> str:
  """Returns a sound as a data URI: FLAC, lossless, which browsers play.

  Args:
    sound: [time] at 16 kHz, full scale 1.
  """
  file = io.BytesIO()
  soundfile.write(
    file,
    sound,
    audio.SAMPLE_RATE_HZ,
    format='FLAC',
    subtype='PCM_16',
  )
  return f'data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}'
