"""What a perturbation may do: its radius, its samples, its band, its bounds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from advspeech.attacks import ceiling as ceiling_lib
from advspeech.attacks.ceiling import Ceiling

NORMS = ('linf', 'l2')
# What bounds a perturbation in the place of a norm.
CEILING = 'ceiling'


class Threat(NamedTuple):
  """A threat model: the perturbations an attack may choose from.

  A mask and a band together: the band comes first, so that masked samples stay
  as they are, and the mask's edges leak out of the band.

  Attributes:
    norm: 'linf' or 'l2', the norm of a whole clip that epsilon bounds; or
      'ceiling', by which epsilon is a multiple of a limit for each cell of the
      perturbation's spectrum.
    mask: [batch, time] or None; 1 on samples that may change.
    band: [time // 2 + 1] or None; 1 on bins of the real FFT over a whole clip
      that a perturbation may have, 0 on the others (see `band_weights`).
    bounds: Smallest and largest legal sample. They come last and clip in time,
      which leaks out of the band wherever they bite. Under a ceiling they come
      first, and it holds.
    ceiling: Of the clips, for that norm; None for the others.
  """

  norm: str = 'linf'
  mask: jax.Array | None = None
  band: jax.Array | None = None
  bounds: tuple[float, float] = (0.0, 1.0)
  ceiling: Ceiling | None = None

  def check(self, audio: jax.Array) -> None:
    """Refuses a norm, a mask or a band that cannot belong to the clips.

    Raises:
      ValueError: If `norm` is unknown, a ceiling lacks or is one too many,
        `audio` is not [batch, time], `mask` and `audio` differ in shape, or
        `band` is not [time // 2 + 1].
    """
    if self.norm not in (*NORMS, CEILING):
      raise ValueError(
        f'norm must be one of {(*NORMS, CEILING)}, got {self.norm!r}'
      )
    if (self.norm == CEILING) != (self.ceiling is not None):
      raise ValueError(
        "norm must be 'ceiling' if there is a ceiling and only then, got "
        f'{self.norm!r} and {"none" if self.ceiling is None else "one"}'
      )
    if audio.ndim != 2:
      raise ValueError(
        f'audio must be [batch, time], got shape {audio.shape}; wrap a single '
        'clip as audio[None]'
      )
    masked(audio, self.mask)
    num_bins = audio.shape[-1] // 2 + 1
    if self.band is not None and self.band.shape != (num_bins,):
      raise ValueError(
        f'band must have one weight a bin of the real FFT, ({num_bins},), got '
        f'{self.band.shape}; use band_weights({audio.shape[-1]}, ...)'
      )

  def restrict(self, x: jax.Array) -> jax.Array:
    """Returns what the band, then the mask leave of x, [batch, time]."""
    if self.band is not None:
      x = in_band(x, self.band)
    return masked(x, self.mask)

  def steepest(self, gradient: jax.Array) -> jax.Array:
    """Returns the step of norm 1 that raises a loss most, [batch, time].

    The sign of the gradient for the max-norm, the gradient over its length for
    L2; 0 where the gradient is 0. In a band, the sign has overtones outside,
    so the band's part of it is taken and scaled back to max-norm 1. Under a
    ceiling every cell in the gradient's phase, and the norm is about 1.

    Args:
      gradient: [batch, time] of each clip's loss.
    """
    gradient = masked(gradient, self.mask)
    if self.band is not None:
      gradient = in_band(gradient, self.band)
    if self.ceiling is not None:
      return self.restrict(ceiling_lib.steepest(self.ceiling, gradient))
    if self.norm == 'l2':
      return unit(masked(gradient, self.mask), 'l2')
    if self.band is None:
      return jnp.sign(masked(gradient, self.mask))
    return unit(self.restrict(jnp.sign(gradient)), 'linf')

  def project(
    self, audio: jax.Array, perturbation: jax.Array, epsilon: jax.Array
  ) -> jax.Array:
    """Returns the perturbation brought back to what is allowed, [batch, time].

    Band and mask, then the ball, then the bounds. Without a band this is the
    nearest point of the max-norm ball, sample by sample; with one, or in L2,
    the whole perturbation is scaled down, which keeps it in its band. Under a
    ceiling its cells are cut down, see `ceiling.project`.

    Args:
      audio: [batch, time] clean clips.
      perturbation: [batch, time].
      epsilon: [batch] radii, one a clip.
    """
    if self.ceiling is not None:
      return ceiling_lib.project(
        self.ceiling,
        perturbation,
        epsilon,
        lambda x: self._within_bounds(audio, self.restrict(x)),
      )
    perturbation = self.restrict(perturbation)
    if self.norm == 'linf' and self.band is None:
      radius = epsilon[:, None]
      perturbation = jnp.clip(perturbation, -radius, radius)
    else:
      size = norm_of(perturbation, self.norm)
      outside = size > epsilon
      scale = jnp.where(outside, epsilon / jnp.where(outside, size, 1), 1)
      perturbation = perturbation * scale[:, None]
    return self._within_bounds(audio, perturbation)

  def _within_bounds(self, audio, perturbation):
    low, high = self.bounds
    return jnp.where(
      perturbation == 0, 0, jnp.clip(perturbation, low - audio, high - audio)
    )

  def add(self, audio: jax.Array, perturbation: jax.Array) -> jax.Array:
    """Returns perturbed clips within bounds, of the perturbation's shape."""
    return add(audio, perturbation, bounds=self.bounds)

  def random_start(
    self, keys: jax.Array, audio: jax.Array, epsilon: jax.Array
  ) -> jax.Array:
    """Returns random allowed perturbations, [batch, time].

    Uniform in the ball. In a band, the band's part of noise that is uniform
    (max-norm) or has a uniform direction (L2), scaled into the ball. Under a
    ceiling noise that fills a uniform share of it.

    Args:
      keys: [batch] typed PRNG keys, one a clip.
      audio: [batch, time] clean clips.
      epsilon: [batch] radii.
    """
    num_samples, dtype = audio.shape[-1], audio.dtype
    if self.norm == CEILING:
      share = _uniform(keys, dtype)
      noise = share[:, None] * self.steepest(normal(keys, audio))
    elif self.norm == 'linf':
      noise = jax.vmap(
        lambda key: jax.random.uniform(
          key, (num_samples,), dtype, minval=-1.0, maxval=1.0
        )
      )(keys)
    else:
      noise = unit(self.restrict(normal(keys, audio)), 'l2')
      dimension = jnp.full(audio.shape[:1], num_samples, dtype)
      if self.mask is not None:
        dimension = jnp.maximum((self.mask > 0).sum(-1).astype(dtype), 1)
      noise = noise * (_uniform(keys, dtype) ** (1 / dimension))[:, None]
    return self.project(audio, epsilon[:, None] * noise, epsilon)


def add(
  audio: jax.Array,
  perturbation: jax.Array,
  *,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """Returns clip(audio + perturbation), of the perturbation's shape.

  Samples whose perturbation is 0 come back bit for bit, out of bounds or not.

  Args:
    audio: [batch, time] clean clips.
    perturbation: [..., batch, time].
    bounds: Smallest and largest legal sample.
  """
  audio = jnp.broadcast_to(audio, perturbation.shape)
  clipped = jnp.clip(audio + perturbation, *bounds)
  return jnp.where(perturbation == 0, audio, clipped)


def masked(direction: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Returns the direction, [batch, time], with 0 wherever the mask is 0.

  Raises:
    ValueError: If `mask` and `direction` differ in shape.
  """
  if mask is None:
    return direction
  if mask.shape != direction.shape:
    raise ValueError(
      f'mask must have the shape of audio, got {mask.shape} and '
      f'{direction.shape}; use one row a clip, 1 on samples to attack'
    )
  return jnp.where(mask > 0, direction, 0)


def band_weights(
  num_samples: int, low_hz: float, high_hz: float, sample_rate_hz: float
) -> jax.Array:
  """Returns 1 on the FFT bins of a band and 0 elsewhere, [num_samples//2 + 1].

  Args:
    num_samples: Length of a clip.
    low_hz: Lowest frequency kept, itself included.
    high_hz: Highest frequency kept, itself included.
    sample_rate_hz: Samples a second.

  Raises:
    ValueError: If the band is empty or reaches beyond half the sample rate.
  """
  if not 0 <= low_hz < high_hz <= sample_rate_hz / 2:
    raise ValueError(
      'a band needs 0 <= low_hz < high_hz <= sample_rate_hz / 2, got '
      f'{low_hz}, {high_hz} and {sample_rate_hz}'
    )
  # In Python's floats, so that a bin on the band's edge is on it exactly.
  first = -(-low_hz * num_samples // sample_rate_hz)
  last = high_hz * num_samples // sample_rate_hz
  bins = jnp.arange(num_samples // 2 + 1)
  weights = ((bins >= first) & (bins <= last)).astype(jnp.float32)
  if not weights.any():
    raise ValueError(
      f'no bin lies between {low_hz} and {high_hz} Hz in {num_samples} samples '
      f'at {sample_rate_hz} Hz, {sample_rate_hz / num_samples:g} Hz apart; '
      'widen the band'
    )
  return weights


def in_band(x: jax.Array, band: jax.Array) -> jax.Array:
  """Returns x's part in the band, of its shape: an orthogonal projection.

  Args:
    x: [..., time].
    band: [time // 2 + 1] of 0 and 1.
  """
  spectrum = jnp.fft.rfft(x)
  band = jnp.broadcast_to(band.astype(x.dtype), spectrum.shape)
  return jnp.fft.irfft(spectrum * band, n=x.shape[-1]).astype(x.dtype)


def norm_of(x: jax.Array, norm: str) -> jax.Array:
  """Returns the max-norm or the L2 norm over time, [..., batch]."""
  if norm == 'linf':
    return jnp.max(jnp.abs(x), -1)
  wide = _wide(x)
  return jnp.sqrt(sum_of(wide * wide)).astype(x.dtype)


def _wide(x):
  """Returns x in float32 at least: float16 loses squares, and subnormals."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@jax.jit
def sum_of(x: jax.Array) -> jax.Array:
  """Returns the sum over time, [..., batch], the same bits in any batch.

  XLA adds up a row in an order that changes with the rows beside it. Here
  halves are added to halves, one addition after the other.

  Args:
    x: [..., batch, time].
  """
  size = 1 << (x.shape[-1] - 1).bit_length()
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])
  while x.shape[-1] > 1:
    half = x.shape[-1] // 2
    x = x[..., :half] + x[..., half:]
  return x[..., 0]


def unit(x: jax.Array, norm: str) -> jax.Array:
  """Returns x over its norm, [..., batch, time]; 0 for 0, however small x."""
  dtype, x = x.dtype, _wide(x)
  largest = norm_of(x, 'linf')[..., None]
  x = x / jnp.where(largest == 0, 1, largest)  # its squares must not underflow
  if norm == 'l2':
    length = norm_of(x, 'l2')[..., None]
    x = x / jnp.where(length == 0, 1, length)
  return x.astype(dtype)


def _uniform(keys, dtype):
  """Returns a number in [0, 1) of each clip's key, [batch]."""
  return jax.vmap(
    lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (), dtype)
  )(keys)


def normal(keys, audio):
  """Returns Gaussian noise of each clip's key, [batch, time]."""
  return jax.vmap(
    lambda key: jax.random.normal(key, audio.shape[-1:], audio.dtype)
  )(keys)
