"""The convolution by XLA's own."""

import jax
from jax import lax


def conv1d_direct(
  x: jax.Array, kernel: jax.Array, precision: lax.Precision | None = None
) -> jax.Array:
  """Returns the zero-padded ('same') correlation, [length, features, rows].

  As in TensorFlow and Keras an even kernel reaches one sample further to the
  right: `(k - 1) // 2` zeros before, `k // 2` after. By XLA's convolution.

  Args:
    x: [length, channels, rows].
    kernel: [kernel_size, channels, features].
    precision: Of the products, on devices that have a choice.
  """
  size = kernel.shape[0]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1,),
    padding=[((size - 1) // 2, size // 2)],
    dimension_numbers=('WCN', 'WIO', 'WCN'),
    precision=precision,
  )
