"""A radius in the unit its user thinks in."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp

from advspeech import errors
from advspeech.audio import amplitude

UNITS = ('fs', 'lsb', 'dbfs', 'dbsnr', 'dbmask', '')
# Of each clip by itself.
_OF_CLIP = ('dbsnr', 'dbmask')
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
      of 16 bit), 'dbfs' (dB below full scale), 'dbsnr' (dB below the clip) or
      'dbmask' (dB above what the clip masks, cell by cell); any other is that
      of the features.
    text: Number and unit, as they label a point.
  """

  value: float
  unit: str
  text: str

  @property
  def is_of_features(self) -> bool:
    """Whether it says nothing of samples."""
    return self.unit not in UNITS

  @property
  def of_clip(self) -> bool:
    """Whether its radius is each clip's own."""
    return self.unit in _OF_CLIP

  @property
  def of_masking(self) -> bool:
    """Whether it bounds the cells of a spectrum, and no norm."""
    return self.unit == 'dbmask'

  def same(self) -> tuple[str, float]:
    """Returns what tells it from others, in whatever unit it is written."""
    radius = self.value if self.of_clip else self._radius()
    return self.unit if self.of_clip else '', float(f'{radius:.6g}')

  def radii(
    self, signal_rms: jax.Array, masking_rms: jax.Array | None = None
  ) -> jax.Array:
    """Returns the max-norm radius of each clip, [batch].

    In the model's unit, or in that of the features.

    In 'dbsnr' it is the radius at which a perturbation of +-radius on every
    recorded sample has that SNR; clips then differ, and a silent one gets 0.
    In 'dbmask' it is the RMS of a perturbation that lies so many dB above what
    the clip masks in every cell, as large as one can be.

    Args:
      signal_rms: [batch] as `signal_rms` returns; other units use its shape.
      masking_rms: [batch] as `masking_rms` returns, for 'dbmask' alone.

    Raises:
      ValueError: If it is in 'dbmask' and there is no `masking_rms`.
    """
    if self.of_masking:
      if masking_rms is None:
        raise ValueError(
          f'epsilon {self.text} needs what the clips mask; give masking_rms'
        )
      return masking_rms * 10 ** (self.value / 20)
    if self.unit == 'dbsnr':
      return signal_rms * 10 ** (-self.value / 20)
    return jnp.full_like(signal_rms, self._radius())

  def _radius(self):
    """Returns the radius of every clip, of units in which it is the same."""
    units = {
      'fs': self.value / amplitude.FULL_SCALE_PER_UNIT,
      'lsb': self.value / amplitude.LSB_PER_UNIT,
      'dbfs': 10 ** (self.value / 20) / amplitude.FULL_SCALE_PER_UNIT,
    }
    return units.get(self.unit, self.value)


def parse_epsilon(epsilon: str | float, *, masking: bool = False) -> Epsilon:
  """Returns an epsilon given as a number or as text with a unit.

  Args:
    epsilon: 0.02 or '0.02' (the model's unit), '0.04fs', '1311lsb', '-28dbfs',
      '20dbsnr' or '0dbmask'; in any case, with or without spaces.
    masking: Whether 'dbmask' can be used for it, which is no norm.

  Raises:
    errors.InputError: If it is none of these, negative where it is no
      logarithm, not finite, or in 'dbmask' where that cannot be used.
  """
  text = epsilon if isinstance(epsilon, str) else repr(float(epsilon))
  match = _EPSILON.fullmatch(text)
  if match:
    value, unit = float(match[1]), match[2].lower()
    if unit == 'dbmask' and not masking:
      raise errors.InputError(
        f'epsilon {epsilon!r} is a masking threshold, by which sweeps and '
        'attacks on one recording alone are bounded; give an amplitude or, in '
        "dB below the clip, '20dbsnr'"
      )
    if math.isfinite(value) and (value >= 0 or unit.startswith('db')):
      return Epsilon(value, unit, repr(value).removesuffix('.0') + unit)
  raise errors.InputError(
    "epsilon must be a number that is not negative in the model's unit or text "
    "such as '0.02', '0.04fs', '1311lsb', '-28dbfs', '20dbsnr', got "
    f'{epsilon!r}'
  )
