"""A radius in the unit its user thinks in."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp

from advspeech import errors
from advspeech.audio import amplitude

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
    radius = self.value if in_db else self._radius()
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
    return jnp.full_like(signal_rms, self._radius())

  def _radius(self):
    """Returns the radius of every clip, of units in which it is the same."""
    units = {
      'fs': self.value / amplitude.FULL_SCALE_PER_UNIT,
      'lsb': self.value / amplitude.LSB_PER_UNIT,
      'dbfs': 10 ** (self.value / 20) / amplitude.FULL_SCALE_PER_UNIT,
    }
    return units.get(self.unit, self.value)


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
