"""Functions of one clip that only the host can compute, for clips anywhere."""

import concurrent.futures
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import buffer_callback


def each_clip(
  fn: Callable[[np.ndarray], np.ndarray], audio: jax.Array
) -> jax.Array:
  """Returns a function of every clip, [batch, time] float32.

  On the host; within `jax.shard_map` every device calls for its own clips.
  Under automatic sharding JAX would gather all of them on one device.

  Args:
    fn: Maps a clip [time] to one.
    audio: The clips.
  """

  def on_host(audio):
    audio = np.asarray(audio)
    clips = audio.reshape(-1, audio.shape[-1])
    with concurrent.futures.ThreadPoolExecutor() as threads:
      found = list(threads.map(fn, clips))
    return np.stack(found).reshape(audio.shape)

  def in_place(context, result, audio):
    del context
    np.asarray(result)[...] = on_host(audio)

  result = jax.ShapeDtypeStruct(audio.shape, jnp.float32)
  # pure_callback first copies its arguments to a CPU device, and where that
  # device's own threads all stand in callbacks nobody is left to copy: with
  # clips of 6 s on four CPU devices it hangs (JAX 0.10.2).
  return jax.lax.platform_dependent(
    audio,
    cpu=buffer_callback.buffer_callback(
      in_place, result, vmap_method='expand_dims'
    ),
    default=lambda x: jax.pure_callback(
      on_host, result, x, vmap_method='expand_dims'
    ),
  )
