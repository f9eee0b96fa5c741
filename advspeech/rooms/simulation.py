"""Rooms by seed and their responses: image sources, then decaying noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from advspeech.audio import SAMPLE_RATE_HZ
from advspeech.rooms import image_source
from advspeech.rooms.image_source import LEAD, SPEED_M_S, Rooms

# Smallest and largest, along each axis, and how near a wall anything stands.
DIMENSIONS_M = ((3.0, 10.0), (3.0, 10.0), (2.5, 4.0))
T60_S = (0.2, 0.8)
WALL_M = 0.5
# Of the images; noise takes over where some would be of a higher one, over the
# last fifth of that distance.
MAX_ORDER = 10
FADE_FROM = 0.8
NUM_SAMPLES = SAMPLE_RATE_HZ // 2
HIGH_PASS_HZ = 10.0
# Rooms computed together.
_AT_ONCE = 100


def draw(seed: int, purpose: int, num_rooms: int) -> Rooms:
  """Returns random rooms; more of them begin with the same.

  Args:
    seed: Of everything random.
    purpose: Number that tells training rooms from unseen ones.
    num_rooms: How many.
  """
  sizes = np.array(DIMENSIONS_M)

  def one(number):
    rng = np.random.default_rng((seed, purpose, number))
    dimensions = rng.uniform(*sizes.T)
    source, microphone = rng.uniform(WALL_M, dimensions - WALL_M, (2, 3))
    return dimensions, source, microphone, rng.uniform(*T60_S)

  return Rooms(*map(np.array, zip(*map(one, range(num_rooms)), strict=True)))


def responses(
  rooms: Rooms,
  seed: int,
  *,
  max_order: int = MAX_ORDER,
  num_samples: int = NUM_SAMPLES,
) -> np.ndarray:
  """Returns what a microphone hears of an impulse, [num_rooms, num_samples].

  Images up to an order, off walls as absorbent as Sabine's formula says; beyond
  the distance within which they are all there, white noise of the energy that a
  diffuse field has then, which decays in the T60. High-passed at 10 Hz and
  divided by the direct path's gain. That path is heard at the sample
  `image_source.LEAD` or less than one later: the time that sound takes is left
  out.

  Always on the host, whatever the devices, for the same bits.

  Args:
    rooms: Which.
    seed: Of the noise; a room's depends on its number alone.
    max_order: Of the images.
    num_samples: Of a response; the rest is left out.
  """
  import scipy.signal

  delays = np.floor(rooms.distance_m * SAMPLE_RATE_HZ / SPEED_M_S).astype(int)
  # The same for all, so that a room does not depend on the others.
  diagonal_m = math.hypot(*(high for _, high in DIMENSIONS_M))
  longest = num_samples + int(diagonal_m * SAMPLE_RATE_HZ / SPEED_M_S)
  longest = max(longest, num_samples + int(delays.max()))
  found = np.empty((len(delays), num_samples), np.float32)
  high_pass = scipy.signal.butter(
    2, HIGH_PASS_HZ, 'highpass', fs=SAMPLE_RATE_HZ, output='sos'
  )
  for start in range(0, len(delays), _AT_ONCE):
    rows = np.arange(start, min(start + _AT_ONCE, len(delays)))
    raw = _raw(Rooms(*(x[rows] for x in rooms)), rows, seed, max_order, longest)
    raw = scipy.signal.sosfilt(high_pass, raw.astype(np.float64))
    for row, response in zip(rows, raw, strict=True):
      aligned = response[delays[row] : delays[row] + num_samples]
      found[row] = aligned * rooms.distance_m[row]
  return found


def _raw(rooms, numbers, seed, max_order, num_samples):
  """Returns responses of gain 1 / distance, tails included, float32."""
  fill = _AT_ONCE - len(numbers)
  rooms, numbers = (
    jax.tree.map(
      lambda x: np.pad(x, [(0, fill)] + [(0, 0)] * (x.ndim - 1), mode='edge'), x
    )
    for x in (rooms, numbers)
  )
  complete_m = image_source.complete_m(rooms, max_order)
  ends_m = np.stack([FADE_FROM * complete_m, complete_m], -1)
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    narrow = Rooms(*(np.float32(x) for x in rooms))
    early = image_source.responses(
      narrow,
      np.float32(image_source.absorption(rooms)),
      np.float32(ends_m),
      max_order=max_order,
      num_samples=num_samples,
    )
    late = _tail(
      numbers,
      seed,
      np.float32(rooms.volume_m3),
      narrow.t60_s,
      np.float32(ends_m),
      num_samples=num_samples,
    )
    found = np.asarray(early) + np.asarray(late)
  return found[: _AT_ONCE - fill]


@functools.partial(jax.jit, static_argnames='num_samples')
def _tail(numbers, seed, volume_m3, t60_s, ends_m, *, num_samples):
  """Returns decaying noise in the place of late images."""
  time_s = (jnp.arange(num_samples) - LEAD) / SAMPLE_RATE_HZ

  def of_room(number, volume, t60, ends):
    key = jax.random.fold_in(jax.random.key(seed), number)
    noise = jax.random.normal(key, (num_samples,))
    # A gain of 1 / distance is 4 pi times that of an image's 1 / (4 pi r).
    power = 4 * math.pi * SPEED_M_S / volume / SAMPLE_RATE_HZ
    images = image_source.fade(SPEED_M_S * time_s, ends)
    faded = jnp.sqrt(jnp.clip(1 - images**2, 0, 1))
    return faded * jnp.sqrt(power) * 10 ** (-3 * time_s / t60) * noise

  return jax.vmap(of_room)(numbers, volume_m3, t60_s, ends_m)


def t60_of(response: np.ndarray, drop_db: float = 20.0) -> float:
  """Returns in how many seconds a response decays by 60 dB (Schroeder 1965).

  By a line through its backward-integrated energy, from 5 dB below all of it to
  `drop_db` further; 0 for a response that ends before.

  Args:
    response: [time].
    drop_db: How much of the decay is looked at.
  """
  energy = np.cumsum(np.asarray(response, np.float64)[::-1] ** 2)[::-1]
  level_db = 10 * np.log10(energy / energy[0] + 1e-30)
  inside = np.flatnonzero((level_db <= -5) & (level_db >= -5 - drop_db))
  if len(inside) < 2:
    return 0.0
  slope, _ = np.polyfit(inside / SAMPLE_RATE_HZ, level_db[inside], 1)
  return float(-60 / slope)
