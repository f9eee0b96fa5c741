"""What a clip masks: the loudest perturbation that its listener does not hear.

The model of Lin & Abdulla (2015) as Qin et al. (2019) attack with it, frame by
frame: local maxima of the spectrum mask what lies beside them in Bark, and
below the threshold in quiet nothing is heard. Levels are dB of sound pressure,
of which nobody knows how loudly a file is played: the clip's loudest cell is
taken to have 96 dB.

Clip and perturbation pass the same transform, and thresholds are amplitudes of
it, so that no scale can differ between the two.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech.audio import amplitude

# 128 ms, Hann, three quarters overlapped.
FRAME_SAMPLES, HOP_SAMPLES = 2048, 512
PEAK_DB = 96.0
# Of two maskers closer than this the weaker is none.
_APART_BARK = 0.5
_OVERLAP = FRAME_SAMPLES // HOP_SAMPLES
_WINDOW = np.hanning(FRAME_SAMPLES + 1)[:-1]
# Of the squared windows over any sample.
_WINDOWS_SQUARED = float(np.sum(_WINDOW**2) / HOP_SAMPLES)
# The smallest power beside the clip's largest that has a logarithm.
_POWER_FLOOR = 1e-19
# By how much a maximum is above its neighbours at least: where a few samples of
# a frame are not 0 its spectrum is flat, and rounding alone makes maxima.
_PROMINENCE = 1.0001
# Within which cells leak into one another, and by how much at least: 100 dB.
_LEAK_BINS, _LEAST_LEAK = 24, 1e-5


def bark(hz: np.ndarray) -> np.ndarray:
  """Returns critical-band rates of frequencies (Zwicker & Terhardt 1980)."""
  return 13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2)


def quiet_db(hz: np.ndarray) -> np.ndarray:
  """Returns the threshold in quiet, in dB (Terhardt 1979, less 12 dB).

  The 12 dB are Lin & Abdulla's. Below 1 Bark, where the formula grows beyond
  all bounds, it is what it is there: less is allowed than could be.

  Args:
    hz: [bins] ascending frequencies.
  """
  khz = np.maximum(hz, hz[bark(hz) >= 1].min()) / 1000
  return (
    3.64 * khz**-0.8
    - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2)
    + 0.001 * khz**4
    - 12
  )


_HZ = np.fft.rfftfreq(FRAME_SAMPLES, 1 / amplitude.SAMPLE_RATE_HZ)
_BARK, _QUIET_DB = bark(_HZ), quiet_db(_HZ)


def num_frames(num_samples: int) -> int:
  """Returns how many frames a clip has; each sample lies in four."""
  return -(-num_samples // HOP_SAMPLES) + _OVERLAP - 1


def analyse(signal: jax.Array) -> jax.Array:
  """Returns the spectrum of a signal, [batch, frames, bins] complex.

  Zeros stand before and behind, so that clips of any length have all frames
  that touch them.

  Args:
    signal: [batch, time] about 0.
  """
  window = _WINDOW.astype(signal.dtype)
  return jnp.fft.rfft(_framed(signal) * window[None, None])


def synthesise(spectrum: jax.Array, num_samples: int) -> jax.Array:
  """Returns the signal whose spectrum is nearest, [batch, num_samples].

  Exact where the spectrum is a signal's: windows overlap evenly.

  Args:
    spectrum: [batch, frames, bins] complex.
    num_samples: Length of the signal.
  """
  batch, frames, _ = spectrum.shape
  framed = jnp.fft.irfft(spectrum, FRAME_SAMPLES)
  window = (_WINDOW / _WINDOWS_SQUARED).astype(framed.dtype)
  hops = (framed * window[None, None]).reshape(batch, frames, _OVERLAP, -1)
  shifted = [
    jnp.pad(hops[:, :, i], ((0, 0), (i, _OVERLAP - 1 - i), (0, 0)))
    for i in range(_OVERLAP)
  ]
  total = functools.reduce(jnp.add, shifted)
  before = FRAME_SAMPLES - HOP_SAMPLES
  return total.reshape(batch, -1)[:, before : before + num_samples]


def holds(samples: jax.Array) -> jax.Array:
  """Returns which frames hold one of some samples, [batch, frames] bool.

  Args:
    samples: [batch, time], above 0 on those samples.
  """
  return _framed(samples > 0).any(-1)


def power(spectrum: jax.Array) -> jax.Array:
  """Returns squared magnitudes; they have a gradient at 0, magnitudes none."""
  return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


class Masking(NamedTuple):
  """What clips mask: a ceiling for perturbations, see `attacks.ceiling`.

  Attributes:
    limits: [batch, frames, bins] largest magnitudes in `analyse`.
    aims: [batch, frames, bins] no larger than the limits, see `_aims`.
  """

  limits: jax.Array
  aims: jax.Array

  @classmethod
  def of(cls, audio: jax.Array) -> 'Masking':
    """Returns the ceiling of clips, at radius 1 of `masking_rms` 1.

    Args:
      audio: [batch, time] clean clips in model range at 16 kHz.
    """
    limits = masking_threshold(audio)
    rms = masking_rms(limits, audio.shape[-1])[:, None, None]
    limits = limits / jnp.where(rms > 0, rms, 1)
    return cls(limits, _aims(limits))

  def analyse(self, signal: jax.Array) -> jax.Array:
    """Returns the spectrum of signals about 0; see `analyse`."""
    return analyse(signal)

  def synthesise(self, spectrum: jax.Array, num_samples: int) -> jax.Array:
    """Returns the signals of nearest spectrum; see `synthesise`."""
    return synthesise(spectrum, num_samples)


@jax.jit
def masking_threshold(audio: jax.Array) -> jax.Array:
  """Returns what each cell of a perturbation may have, [batch, frames, bins].

  The largest magnitude in `analyse` of the perturbation that the clip masks; 0
  for a silent clip.

  Args:
    audio: [batch, time] clean clips in model range at 16 kHz.
  """
  powers = power(analyse(audio - amplitude.SILENCE))
  peak = powers.max((1, 2), keepdims=True)
  is_silent = peak == 0
  peak = jnp.where(is_silent, 1, peak)
  relative = (powers / peak).reshape(-1, len(_HZ))
  masking = _spread(*_maskers(relative)) + _from_db(_QUIET_DB)[None]
  masking = masking.reshape(powers.shape) * (peak / 10 ** (PEAK_DB / 10))
  return jnp.where(is_silent, 0, jnp.sqrt(masking))


def masking_rms(threshold: jax.Array, num_samples: int) -> jax.Array:
  """Returns the RMS of noise that lies at a threshold everywhere, [batch].

  No perturbation below the threshold has a larger one.

  Args:
    threshold: [batch, frames, bins] magnitudes.
    num_samples: Length of a clip.
  """
  # All bins but the first and the last stand for two.
  sides = np.r_[1, np.full(len(_HZ) - 2, 2), 1].astype(threshold.dtype)
  energy = jnp.sum(threshold**2 * sides[None, None], (1, 2))
  return jnp.sqrt(energy / (_WINDOWS_SQUARED * FRAME_SAMPLES * num_samples))


def _aims(limits):
  """Returns magnitudes that leak above no limit nearby, [batch, frames, bins].

  What stands in one cell is heard in those beside it, through the overlap of
  frames and the lobes of the window: less by as much as two windows so far
  apart have in common.
  """
  frames, bins = limits.shape[1:]
  offsets, shares = _leaks()
  reach_frames, reach_bins = np.abs(offsets).max(0)
  padded = jnp.pad(
    limits,
    ((0, 0), (reach_frames, reach_frames), (reach_bins, reach_bins)),
    constant_values=jnp.inf,
  )
  starts = jnp.asarray(offsets + np.array([reach_frames, reach_bins]))
  shares = jnp.asarray(shares, limits.dtype)

  def lower(i, aims):
    start = (0, starts[i, 0], starts[i, 1])
    beside = jax.lax.dynamic_slice(padded, start, (len(limits), frames, bins))
    return jnp.minimum(aims, beside / shares[i])

  return jax.lax.fori_loop(0, len(offsets), lower, limits)


def _leaks():
  """Returns offsets in frames and bins, and how much of a cell is there."""
  offsets, shares = [], []
  for frame in range(1 - _OVERLAP, _OVERLAP):
    shift = abs(frame) * HOP_SAMPLES
    common = np.zeros(FRAME_SAMPLES)
    common[shift:] = _WINDOW[shift:] * _WINDOW[: FRAME_SAMPLES - shift]
    found = np.abs(np.fft.fft(common)) / np.sum(_WINDOW**2)
    for bin_ in range(-_LEAK_BINS, _LEAK_BINS + 1):
      if found[bin_] > _LEAST_LEAK:
        offsets.append((frame, bin_))
        shares.append(found[bin_])
  return np.array(offsets), np.array(shares)


def _framed(signal):
  """Returns all frames of a signal, [batch, frames, FRAME_SAMPLES]."""
  batch, num_samples = signal.shape
  frames, before = num_frames(num_samples), FRAME_SAMPLES - HOP_SAMPLES
  after = (frames + _OVERLAP - 1) * HOP_SAMPLES - before - num_samples
  padded = jnp.pad(signal, ((0, 0), (before, after)))
  hops = padded.reshape(batch, -1, HOP_SAMPLES)
  return jnp.concatenate(
    [hops[:, i : i + frames] for i in range(_OVERLAP)], axis=-1
  )


def _from_db(db):
  return (10.0 ** (np.asarray(db) / 10)).astype(np.float32)


def _maskers(relative):
  """Returns one masker at most for each half Bark: levels in dB and places.

  Args:
    relative: [rows, bins] powers over the clip's largest.

  Returns:
    [rows, half Barks] levels, -inf where there is none, and [rows, half Barks]
    rates in Bark.
  """
  inside = relative[:, 1:-1]
  sums = relative[:, :-2] + inside + relative[:, 2:]
  levels = PEAK_DB + 10 * jnp.log10(jnp.maximum(sums, _POWER_FLOOR))
  beside = jnp.maximum(relative[:, :-2], relative[:, 2:])
  is_masker = (inside > beside * _PROMINENCE) & (
    levels > _QUIET_DB[None, 1:-1].astype(levels.dtype)
  )
  edges = ((0, 0), (1, 1))
  levels = jnp.pad(levels, edges, constant_values=-jnp.inf)
  stays = _strongest(jnp.pad(is_masker, edges), levels)
  # Two that stay are half a Bark apart: never in the same half Bark.
  places = jnp.asarray(_half_barks())
  levels = jnp.where(stays, levels, -jnp.inf)
  rates = jnp.where(stays, _BARK[None].astype(levels.dtype), -jnp.inf)
  outside = ((0, 0), (0, 1))  # where `places` points to no bin
  return tuple(
    jnp.pad(x, outside, constant_values=-jnp.inf)[:, places].max(-1)
    for x in (levels, rates)
  )


def _half_barks():
  """Returns bins of each half Bark, filled up with a bin behind the last."""
  half = (_BARK / _APART_BARK).astype(int)
  bins = [np.flatnonzero(half == i) for i in range(half[-1] + 1)]
  width = max(map(len, bins))
  return np.array(
    [np.pad(x, (0, width - len(x)), constant_values=len(_HZ)) for x in bins]
  )


def _strongest(is_masker, levels):
  """Returns which maskers stay, [rows, bins]: those strongest around.

  From low to high, the weaker of two within half a Bark is dropped, and the
  other is held against the next.
  """
  num_rows, num_bins = levels.shape
  nobody = num_bins  # a bin behind the last

  def step(last, x):
    last_bin, last_bark, last_level = last
    here, rate, found, found_level = x
    apart = rate - last_bark >= _APART_BARK
    takes = found & (apart | (found_level > last_level))
    settled = jnp.where(takes & apart, last_bin, nobody)
    now = (
      jnp.where(takes, here, last_bin),
      jnp.where(takes, rate, last_bark),
      jnp.where(takes, found_level, last_level),
    )
    return now, settled

  start = (
    jnp.full(num_rows, nobody),
    jnp.full(num_rows, -jnp.inf, levels.dtype),
    jnp.full(num_rows, -jnp.inf, levels.dtype),
  )
  last, settled = jax.lax.scan(
    step,
    start,
    (
      jnp.arange(num_bins),
      jnp.asarray(_BARK, levels.dtype),
      is_masker.T,
      levels.T,
    ),
  )
  settled = jnp.concatenate([settled, last[0][None]])
  stays = jnp.zeros((num_rows, num_bins + 1), bool)
  rows = jnp.broadcast_to(jnp.arange(num_rows)[None], settled.shape)
  return stays.at[rows, settled].set(True)[:, :num_bins]


def _spread(levels, rates):
  """Returns the power that all maskers of a row mask together, [rows, bins].

  A tone masks less than itself by 6.025 dB and .275 a Bark; 27 dB a Bark below
  it, and above it less steeply the louder it is (Schroeder's two slopes).
  """
  at = jnp.asarray(_BARK, levels.dtype)[None]

  def add(i, total):
    masker, rate = levels[:, i, None], rates[:, i, None]
    exists = masker > -jnp.inf
    masker, rate = (jnp.where(exists, x, 0) for x in (masker, rate))
    distance = at - rate
    above = -27 + 0.37 * jnp.maximum(masker - 40, 0)
    slope = jnp.where(distance > 0, above, 27)
    masked = masker - 6.025 - 0.275 * rate + slope * distance
    return total + jnp.where(exists, 10 ** (masked / 10), 0)

  start = jnp.zeros((len(levels), len(_HZ)), levels.dtype)
  return jax.lax.fori_loop(0, levels.shape[1], add, start)
