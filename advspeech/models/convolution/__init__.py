"""One-dimensional convolution in several exact forms, and which one is used.

Maps are [length, channels, rows], rows being frames or clips: every form is
then a product with a small matrix on the left and all rows, contiguous, on the
right. The forms give the same numbers up to rounding.
"""

from advspeech.models.convolution.choice import (
  Form,
  choose,
  conv1d_deep,
)
from advspeech.models.convolution.direct import (
  conv1d_direct,
)
from advspeech.models.convolution.space_to_depth import (
  conv1d_space_to_depth,
)
from advspeech.models.convolution.spectral import (
  conv1d_spectral,
)
from advspeech.models.convolution.toeplitz import (
  conv1d_toeplitz,
)

__all__ = [
  'Form',
  'choose',
  'conv1d_deep',
  'conv1d_direct',
  'conv1d_space_to_depth',
  'conv1d_spectral',
  'conv1d_toeplitz',
]
