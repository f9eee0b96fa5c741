"""Programs compiled several at a time, and timed in streaks.

A streak is queued without waiting for the device, after a warm-up, on inputs
larger than a cache or, where those are a layer's own, of the layer's size; the
median of several streaks counts.
"""

import concurrent.futures
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

# XLA compiles in so many threads; each also tries out kernels on the device.
_COMPILING = 8


def compile_all(programs: Mapping[Any, tuple[Callable, tuple]]) -> dict:
  """Returns compiled programs, or the exceptions, by the names given."""

  def one(item):
    name, (fn, args) = item
    started = time.monotonic()
    try:
      compiled = fn.lower(*args).compile()
    except Exception as e:
      return name, e
    return name, (compiled, time.monotonic() - started)

  with concurrent.futures.ThreadPoolExecutor(_COMPILING) as pool:
    return dict(pool.map(one, programs.items()))


def unpack(found):
  """Returns what `compile_all` returned of a program, or raises it."""
  if isinstance(found, Exception):
    raise found
  return found


def median_s(session, call: Callable[[], Any], streaks: int = 5) -> float:
  """Returns the median seconds of a call, over streaks of calls in a row."""
  jax.block_until_ready(call())
  started = time.perf_counter()
  jax.block_until_ready(call())
  once = time.perf_counter() - started
  in_a_row = max(1, round(session.scale.streak_s / max(once, 1e-6)))
  found = []
  for _ in range(streaks):
    started = time.perf_counter()
    for _ in range(in_a_row):
      out = call()
    jax.block_until_ready(out)
    found.append((time.perf_counter() - started) / in_a_row)
  return statistics.median(found)
