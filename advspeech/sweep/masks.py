"""Which part of a clip an attack may touch, from a word to arrays."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, audio, errors, input_pipeline

_PARTS = ('all', 'recorded', 'padding')
_NUMBER = r'\d+(?:\.\d*)?|\.\d+'
_RANGE = re.compile(rf'({_NUMBER})-({_NUMBER})(s|hz)')


@dataclasses.dataclass(frozen=True)
class Mask:
  """Part of a clip, the same for every clip but for where its padding begins.

  Attributes:
    part: 'all' (the paper), 'recorded' samples or 'padding'.
    interval_s: (start, end) from the clip's beginning, None for all of it.
    band_hz: (low, high) frequencies, None for all.
  """

  part: str = 'all'
  interval_s: tuple[float, float] | None = None
  band_hz: tuple[float, float] | None = None

  def window(self, num_samples: int) -> tuple[int, int]:
    """Returns the first sample of the interval, and the one behind its last."""
    if not self.interval_s:
      return 0, num_samples
    # Less a hair, so that 0.7 s is sample 11,200 and not the one behind it.
    first, end = (
      math.ceil(seconds * audio.SAMPLE_RATE_HZ - 1e-6)
      for seconds in self.interval_s
    )
    return min(first, num_samples), min(end, num_samples)

  def samples(self, recorded: jax.Array) -> jax.Array | None:
    """Returns [batch, time], 1 on samples to attack; None for every sample.

    Args:
      recorded: [batch, time], 1 on recorded samples, 0 on padding.
    """
    mask = None
    if self.part != 'all':
      mask = recorded if self.part == 'recorded' else 1 - recorded
    if self.interval_s:
      first, end = self.window(recorded.shape[1])
      time = jnp.arange(recorded.shape[1])
      inside = ((time >= first) & (time < end)).astype(recorded.dtype)
      mask = inside[None] * (jnp.ones_like(recorded) if mask is None else mask)
    return mask

  def band(self, num_samples: int) -> jax.Array | None:
    """Returns [num_samples // 2 + 1] weights of rfft bins; None for all."""
    if self.band_hz is None:
      return None
    # Known while a program is traced: an empty band is refused there, and the
    # weights are constants of what is compiled.
    with jax.ensure_compile_time_eval():
      return attacks.band_weights(
        num_samples, *self.band_hz, sample_rate_hz=audio.SAMPLE_RATE_HZ
      )


def parse(text: str) -> Mask:
  """Returns the mask that a word names.

  Args:
    text: 'all', 'recorded' or 'padding'; '0.5-1.5s' or '300-3400hz'; several
      joined by '+', such as 'recorded+300-3400hz'.

  Raises:
    errors.InputError: If it is none of these, or a range is empty.
  """
  # A word says by itself which field it is of: their order does not matter.
  values = {}
  for word in text.replace(' ', '').lower().split('+'):
    found = _RANGE.fullmatch(word)
    if word in _PARTS:
      key, value = 'part', word
    elif found and float(found[1]) < float(found[2]):
      key = 'interval_s' if found[3] == 's' else 'band_hz'
      value = float(found[1]), float(found[2])
    else:
      raise errors.InputError(
        f'a mask must be {", ".join(_PARTS)}, a time such as 0.5-1.5s or a '
        f'band such as 300-3400hz, joined by +, got {text!r}'
      )
    if key in values:
      raise errors.InputError(
        f'a mask names one part, one time and one band at most, got {text!r}'
      )
    values[key] = value
  return Mask(**values)


def check(text: str, num_samples: int) -> None:
  """Refuses a mask that leaves nothing to attack in clips of a length.

  Args:
    text: As `parse` reads it.
    num_samples: Length of a clip.

  Raises:
    errors.InputError: If it is no mask, its time lies behind the clips' end or
      between two samples, or its band beyond half the sample rate or between
      two bins of the clips' spectrum.
  """
  mask = parse(text)
  first, end = mask.window(num_samples)
  if first >= end:
    raise errors.InputError(
      f'mask {text} leaves nothing to attack in clips of '
      f'{num_samples / audio.SAMPLE_RATE_HZ:g} s; name a time within them'
    )
  try:
    mask.band(num_samples)
  except ValueError as e:
    raise errors.InputError(f'mask {text} leaves nothing to attack: {e}') from e


def num_touched(text: str, split: input_pipeline.Split) -> np.ndarray:
  """Returns how many samples of each clip a mask lets touch, [num_clips]."""
  mask = parse(text)
  first, end = mask.window(split.pcm.shape[1])
  # A recording outside the interval has both its ends at the same one of it.
  starts, ends = np.clip(split.spans, first, end).T
  return {
    'all': np.full(len(split), end - first),
    'recorded': ends - starts,
    'padding': end - first - (ends - starts),
  }[mask.part]
