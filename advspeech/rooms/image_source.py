"""Echoes of a rectangular room by the image-source method.

Allen & Berkley 1979: every wall is a mirror, and what a microphone hears is the
source and its images, each as late and as faint as it is far, fainter by a
factor for each reflection. Simulated: walls are alike, flat and rigid, and all
frequencies are reflected equally.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech.audio import SAMPLE_RATE_HZ

SPEED_M_S = 343.0
# Of the windowed sinc that a fractional delay is; half of them are before it.
NUM_TAPS = 81
LEAD = NUM_TAPS // 2


class Rooms(NamedTuple):
  """Rectangular rooms with a source and a microphone, as many as rows.

  Attributes:
    dimensions_m: [num_rooms, 3] of each room.
    source_m: [num_rooms, 3] from the same corner.
    microphone_m: [num_rooms, 3].
    t60_s: [num_rooms] in which sound decays by 60 dB.
  """

  dimensions_m: np.ndarray
  source_m: np.ndarray
  microphone_m: np.ndarray
  t60_s: np.ndarray

  @property
  def volume_m3(self) -> np.ndarray:
    """Returns volumes, [num_rooms]."""
    return np.prod(self.dimensions_m, -1)

  @property
  def surface_m2(self) -> np.ndarray:
    """Returns the walls' areas, floor and ceiling included, [num_rooms]."""
    x, y, z = np.moveaxis(np.asarray(self.dimensions_m), -1, 0)
    return 2 * (x * y + y * z + x * z)

  @property
  def distance_m(self) -> np.ndarray:
    """Returns the direct path's length, [num_rooms]."""
    return np.linalg.norm(
      np.asarray(self.source_m) - np.asarray(self.microphone_m), axis=-1
    )


def absorption(rooms: Rooms) -> np.ndarray:
  """Returns the share of energy that walls absorb, [num_rooms], by Sabine.

  24 ln(10) V / (c S T60); above 1 where no wall could be so absorbent.
  """
  decay = 24 * math.log(10) / SPEED_M_S
  return decay * rooms.volume_m3 / (rooms.surface_m2 * rooms.t60_s)


@functools.lru_cache
def cells(max_order: int) -> np.ndarray:
  """Returns the images up to an order, [num_images, 3] int32.

  Each by the mirrored room that it is in, counted along the axes from the room
  itself; the sum of absolute numbers is its order.
  """
  numbers = range(-max_order, max_order + 1)
  found = [
    cell
    for cell in itertools.product(numbers, repeat=3)
    if sum(map(abs, cell)) <= max_order
  ]
  return np.array(sorted(found, key=lambda c: sum(map(abs, c))), np.int32)


def complete_m(rooms: Rooms, max_order: int) -> np.ndarray:
  """Returns the distance within which no image is of a higher order."""
  # An image n rooms away along an axis is at least n - 1 rooms away.
  nearest = max_order + 1 - 3
  inverse = np.sum(1.0 / np.asarray(rooms.dimensions_m) ** 2, -1)
  return nearest / np.sqrt(inverse)


@functools.partial(jax.jit, static_argnames=('max_order', 'num_samples'))
def responses(
  rooms: Rooms,
  absorbed: jax.Array,
  weight_ends_m: jax.Array,
  *,
  max_order: int,
  num_samples: int,
) -> jax.Array:
  """Returns impulse responses, [num_rooms, num_samples], of gain 1 / distance.

  Sound is heard at the sample `LEAD` if it takes no time. An image's delay is a
  windowed sinc (Hann) of `NUM_TAPS`, so that it may lie between samples. All is
  float32: positions are good to a thousandth of a sample within 200 m.

  Args:
    rooms: In float32.
    absorbed: [num_rooms] share of energy that a reflection takes.
    weight_ends_m: [num_rooms, 2] distances between which images fade out (their
      energy by a raised cosine); infinite for all images.
    max_order: Of the images.
    num_samples: Of a response; what comes later is left out.
  """
  window = jnp.asarray(np.hanning(NUM_TAPS), jnp.float32)
  taps = jnp.arange(NUM_TAPS) - LEAD
  signs = jnp.where(taps % 2 == 0, 1.0, -1.0)

  def of_room(room, absorbed, ends):
    gain = jnp.sqrt(1 - absorbed)

    def add(response, cell):
      at = jnp.where(
        cell % 2 == 0, room.source_m, room.dimensions_m - room.source_m
      )
      path = cell * room.dimensions_m + at - room.microphone_m
      distance = jnp.sqrt(jnp.sum(path**2))
      delay = distance * (SAMPLE_RATE_HZ / SPEED_M_S)
      whole = jnp.floor(delay)
      part = delay - whole
      # sin(pi (k - part)) but for its sign is the same for all taps.
      near = jnp.abs(taps - part) < 1e-4
      sine = -jnp.sin(jnp.pi * part) * signs
      sinc = jnp.where(
        near, 1.0, sine / jnp.where(near, 1.0, jnp.pi * (taps - part))
      )
      order = jnp.sum(jnp.abs(cell))
      size = fade(distance, ends) * gain**order / distance
      start = jnp.minimum(whole.astype(jnp.int32), num_samples)
      old = jax.lax.dynamic_slice(response, (start,), (NUM_TAPS,))
      new = old + size * window * sinc
      return jax.lax.dynamic_update_slice(response, new, (start,)), None

    empty = jnp.zeros(num_samples + NUM_TAPS, jnp.float32)
    return jax.lax.scan(add, empty, cells(max_order))[0][:num_samples]

  return jax.vmap(of_room)(rooms, absorbed, weight_ends_m)


def fade(distance_m: jax.Array, ends_m: jax.Array) -> jax.Array:
  """Returns the gain of images at a distance, 1 to 0 between two distances.

  Its square and that of what fades in add up to 1.

  Args:
    distance_m: [...].
    ends_m: [2] where it begins and ends; infinite for 1 everywhere.
  """
  begin, end = ends_m[0], ends_m[1]
  reach = jnp.where(jnp.isinf(end), 1.0, end - begin)
  along = jnp.where(
    jnp.isinf(end), 0.0, jnp.clip((distance_m - begin) / reach, 0, 1)
  )
  return jnp.cos(along * jnp.pi / 2)
