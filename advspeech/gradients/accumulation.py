"""Many small changes add up: eqs. 3 to 5, predicted and measured."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# Half-band low-pass, Hamming window: -6 dB at a quarter of the rate.
_HALF_BAND_REACH = 31


def predicted_change(
  gradient: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
  """Returns the first-order change of loss per epsilon under FGSM, [rows].

  The L1 norm of the gradient over the samples perturbed: eq. 4, in which
  w^T sign(w) is |w|_1, and eq. 5's m n.

  Args:
    gradient: [rows, time].
    mask: [rows, time], 1 on samples that are perturbed; None for all.
  """
  magnitude = jnp.abs(gradient)
  return (magnitude if mask is None else magnitude * mask).sum(-1)


def loss_changes(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  directions: jax.Array,
  epsilons: jax.Array,
) -> jax.Array:
  """Returns loss(audio + epsilon direction) - loss(audio), [pairs, rows].

  Not clipped to a range: it is the loss that is studied, not an attack.

  Args:
    loss_fn: Maps audio [rows, time] to losses [rows].
    audio: [rows, time].
    directions: [pairs, rows, time].
    epsilons: [pairs] radii.
  """
  clean = loss_fn(audio)

  def change(pair):
    epsilon, direction = pair
    return loss_fn(audio + epsilon * direction) - clean

  return jax.lax.map(change, (epsilons, directions))


def nested_subsets(
  keys: jax.Array, num_samples: int, sizes: jax.Array
) -> jax.Array:
  """Returns masks of k random samples, each within the next, [sizes, rows, n].

  Args:
    keys: [rows] typed PRNG keys.
    num_samples: n.
    sizes: [sizes] numbers k.
  """
  place = jax.vmap(lambda key: jax.random.permutation(key, num_samples))(keys)
  return (place[None] < sizes[:, None, None]).astype(jnp.float32)


def half_rate(audio: jax.Array) -> jax.Array:
  """Returns audio, [rows, time], at half its rate, [rows, time / 2]."""
  return _filtered(audio, 1)[:, ::2]


def from_half_rate(audio: jax.Array) -> jax.Array:
  """Returns audio, [rows, time], at twice its rate, by band-limited zeros."""
  spread = jnp.stack([audio, jnp.zeros_like(audio)], -1)
  return _filtered(spread.reshape(audio.shape[0], -1), 2)


def _filtered(audio, gain):
  offset = np.arange(-_HALF_BAND_REACH, _HALF_BAND_REACH + 1)
  taps = np.sinc(offset / 2) / 2 * np.hamming(len(offset))
  taps = jnp.asarray(gain * taps / taps.sum(), audio.dtype)
  return jax.vmap(lambda x: jnp.convolve(x, taps, mode='same'))(audio)


def fitted_exponent(n: np.ndarray, change: np.ndarray) -> np.ndarray:
  """Returns p of the power law change ~ n^p, for every row, [rows].

  Least squares on logarithms; not a number for a row with a change that is not
  positive, for which there is no power law.

  Args:
    n: [points] sizes, positive.
    change: [rows, points].
  """
  change = np.asarray(change, float)
  with np.errstate(invalid='ignore', divide='ignore'):
    log_change = np.log(change)
  log_n = np.log(np.asarray(n, float))
  log_n = log_n - log_n.mean()
  with np.errstate(invalid='ignore'):
    slope = log_change @ log_n / (log_n @ log_n)
  return np.where((change > 0).all(-1), slope, np.nan)


def linear_until(
  epsilons: np.ndarray,
  predicted: np.ndarray,
  measured: np.ndarray,
  tolerance: float,
) -> np.ndarray:
  """Returns the largest epsilon up to which the prediction holds, [rows].

  The last of the ascending epsilons before one at which the measured change is
  further from the predicted one than a share `tolerance` of that; 0 where the
  first is.

  Args:
    epsilons: [points] ascending.
    predicted: [rows, points].
    measured: [rows, points].
    tolerance: Such as 0.1.
  """
  holds = np.abs(measured - predicted) <= tolerance * np.abs(predicted)
  number = np.cumprod(holds, -1).sum(-1)
  return np.concatenate([[0.0], epsilons])[number]
