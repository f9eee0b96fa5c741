"""Whether there are clips enough, and samples that an attack can move."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from advspeech.audio import LSB_PER_UNIT
from advspeech.checks.finding import Finding


def below_one_lsb(epsilons: Sequence[float]) -> list[Finding]:
  """Finds perturbations that a 16-bit file cannot hold.

  Args:
    epsilons: Max-norm radii in the model's unit.
  """
  small = [float(e) for e in epsilons if 0 < e < 1 / LSB_PER_UNIT]
  if not small:
    return []
  return [
    Finding(
      'below_one_lsb',
      'warning',
      f'{len(small)} of {len(epsilons)} epsilons lie below one 16-bit step '
      f'(largest {max(small) * LSB_PER_UNIT:.2g} LSB), which rounding loses or '
      'doubles: believe the error after a 16-bit file was read back, not the '
      'one in memory',
      {'epsilons': small, 'lsb': [e * LSB_PER_UNIT for e in small]},
    )
  ]


def untouched_clips(num_touched: npt.ArrayLike, mask: str) -> list[Finding]:
  """Finds clips in which a mask leaves an attack nothing to touch.

  They stay clean at every epsilon, which must not be read as robustness.

  Args:
    num_touched: [num_clips] samples that may be attacked.
    mask: As the user wrote it.
  """
  num_touched = np.asarray(num_touched)
  num_clean = int((num_touched == 0).sum())
  if not num_clean:
    return []
  return [
    Finding(
      'untouched_clips',
      'error' if num_clean == len(num_touched) else 'warning',
      f'mask {mask} leaves no sample to attack in {num_clean} of '
      f'{len(num_touched)} clips, which stay as they are at every epsilon: '
      'take them for diluting its error rates, not for robust',
      {'mask': mask, 'num_untouched': num_clean, 'num_clips': len(num_touched)},
    )
  ]


def too_few_clips(
  num_clips: int, half_width: float, confidence: float = 0.95
) -> list[Finding]:
  """Finds a test set too small for the interval that is claimed.

  Args:
    num_clips: Clips judged.
    half_width: Claimed half width of the interval, as a fraction.
    confidence: Of the interval; Wilson's, widest at an error rate of a half.
  """
  z = NormalDist().inv_cdf(0.5 + confidence / 2)
  widest = z / (2 * np.sqrt(num_clips + z**2))
  if widest <= half_width:
    return []
  needed = int(np.ceil((z / (2 * half_width)) ** 2 - z**2))
  return [
    Finding(
      'too_few_clips',
      'warning',
      f'{num_clips} clips give an error rate to +-{widest:.1%} at worst, not '
      f'the +-{half_width:.1%} claimed: judge {needed} clips or claim less',
      {
        'num_clips': num_clips,
        'half_width': float(widest),
        'claimed_half_width': half_width,
        'needed_clips': needed,
      },
    )
  ]
