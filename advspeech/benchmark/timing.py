"""How calls are timed, and the matrix product they are compared with."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from advspeech import preemption, progress

MATMUL_SIZE = 2048


def time_calls(
  calls: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
  """Returns seconds of each call, one a round, the calls taking turns.

  Each is called once beforehand, which compiles it.
  """
  seconds = {name: [] for name in calls}
  num_calls = len(calls) * (rounds + 1)
  with progress.Meter('timing', num_calls, 'call') as meter:
    for number in range(rounds + 1):
      for name, call in calls.items():
        preemption.check_alone()
        started = time.perf_counter()
        jax.block_until_ready(call())
        if number:
          seconds[name].append(time.perf_counter() - started)
        meter.update(str(name))
  return seconds


def matmul_call() -> Callable[[], jax.Array]:
  """Returns a product of two large square float32 matrices."""
  a = jax.random.normal(jax.random.key(0), (MATMUL_SIZE, MATMUL_SIZE))
  product = jax.jit(
    functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  )
  return functools.partial(product, a, a)


def matmul_flop_per_s(rounds: int = 3) -> float:
  """Returns the rate of `matmul_call`, the best of a few rounds."""
  seconds = time_calls({'matmul': matmul_call()}, rounds)['matmul']
  return 2 * MATMUL_SIZE**3 / min(seconds)
