"""Recordings in and out, clip length, and the units of amplitude.

Inside the program audio is the model's input: float32 in [0, 1], silence at
0.5; on disk it is int16 PCM. This is the only package that converts.
"""

from advspeech.audio.amplitude import (
  FULL_SCALE_PER_UNIT,
  LSB_PER_UNIT,
  PCM_MIN,
  SAMPLE_RATE_HZ,
  SILENCE,
  amplitude_units,
  from_full_scale,
  from_pcm,
  round_to_pcm,
  signal_rms,
  snr_db,
  to_full_scale,
  to_pcm,
)
from advspeech.audio.clip_shape import (
  CLIPPED,
  CUTS,
  NORMALIZATIONS,
  PADS,
  ClipShape,
  is_silent,
  normalize_peak,
  pad_or_trim,
  recorded_span,
  share_at_full_scale,
)
from advspeech.audio.epsilon import (
  Epsilon,
  parse_epsilon,
)
from advspeech.audio.files import (
  Heard,
  load,
  load_clip,
  read,
  read_as_heard,
  save,
)
from advspeech.audio.psychoacoustics import (
  Masking,
  masking_rms,
  masking_threshold,
)

__all__ = [
  'CLIPPED',
  'CUTS',
  'FULL_SCALE_PER_UNIT',
  'LSB_PER_UNIT',
  'NORMALIZATIONS',
  'PADS',
  'PCM_MIN',
  'SAMPLE_RATE_HZ',
  'SILENCE',
  'ClipShape',
  'Epsilon',
  'Heard',
  'Masking',
  'amplitude_units',
  'from_full_scale',
  'from_pcm',
  'is_silent',
  'load',
  'load_clip',
  'masking_rms',
  'masking_threshold',
  'normalize_peak',
  'pad_or_trim',
  'parse_epsilon',
  'read',
  'read_as_heard',
  'recorded_span',
  'round_to_pcm',
  'save',
  'share_at_full_scale',
  'signal_rms',
  'snr_db',
  'to_full_scale',
  'to_pcm',
]
