"""Peaks of the device: matrix products by precision, and a copy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import models
from advspeech.benchmark.accelerator import streaks


def measure(session):
  """Adds products' and copies' rates, and what each precision rounds away."""
  size = session.scale.matmul_size
  keys = jax.random.split(jax.random.key(0), 2)
  small = [np.asarray(jax.random.normal(k, (256, 256))) for k in keys]
  exact = np.matmul(*(x.astype(np.float64) for x in small))
  for name, (dtype, precision) in models.PRECISIONS.items():
    with session.measuring(what='matrix product', precision=name) as row:
      product = jax.jit(functools.partial(jnp.matmul, precision=precision))
      a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
      seconds = streaks.median_s(session, functools.partial(product, a, b))
      row['tflop_per_s'] = 2 * size**3 / seconds / 1e12
      # Whether the precision asked for is the one that was had.
      approximate = product(*(jnp.asarray(x, dtype) for x in small))
      error = np.asarray(approximate, np.float64) - exact
      row['relative_error'] = float(
        np.linalg.norm(error) / np.linalg.norm(exact)
      )
  with session.measuring(what='copy') as row:
    x = jax.random.normal(keys[0], (session.scale.copy_bytes // 4,))
    copy = jax.jit(lambda x: x + 1)
    seconds = streaks.median_s(session, functools.partial(copy, x))
    row['gb_per_s'] = 2 * x.nbytes / seconds / 1e9
