"""Clips of one length: what is cut, padded, scaled, and what was recorded."""

import dataclasses

import numpy as np

from advspeech.audio import amplitude

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
  peak = peak_of(pcm) if peak is None else peak
  if not peak:
    return pcm
  return np.rint(pcm * (amplitude.PCM_MAX / peak)).astype(np.int16)


def peak_of(pcm: np.ndarray) -> int:
  """Returns the largest magnitude of int16 PCM, [time]."""
  return int(np.abs(pcm.astype(np.int32)).max(initial=0))


def is_silent(pcm: np.ndarray) -> bool:
  """Returns whether int16 PCM, [time], holds one value, but for its noise."""
  return int(pcm.max()) - int(pcm.min()) <= _SILENT_RANGE


def share_at_full_scale(pcm: np.ndarray) -> float:
  """Returns the share of int16 PCM, [time], that lies at full scale.

  Which is what saturation leaves of louder samples.
  """
  return float(np.mean((pcm == amplitude.PCM_MIN) | (pcm == amplitude.PCM_MAX)))


@dataclasses.dataclass(frozen=True)
class ClipShape:
  """How recordings become clips of one length; the paper's way by default.

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
