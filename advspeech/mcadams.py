"""Formants moved by the McAdams coefficient: speakers made hard to tell apart.

The baseline of the VoicePrivacy challenges that learns nothing (Patino et al.
2021): in frames of 20 ms, half overlapping, linear prediction of order 20 gives
poles; the angle of each complex one, in radians, is raised to a power, and the
residual goes through the filter of the new poles. Here the predictor is that
of the autocorrelation, whose poles are inside the unit circle, the frames
reach beyond both ends of a clip, and the clip keeps its level.
"""

import functools

import jax
import numpy as np

from advspeech import on_host
from advspeech.audio import SILENCE

# Of the exponent; 1 changes nothing.
LARGEST = 2.0
ORDER = 20
_HOP = 160
_FRAME = 2 * _HOP
# Of the power of a frame, added to it as white noise, so that a frame of a pure
# tone has a predictor: -90 dB.
_FLOOR = 1e-9


def through(exponent: float, audio: jax.Array) -> jax.Array:
  """Returns clips, [batch, time] in model range, with their formants moved.

  Args:
    exponent: McAdams coefficient; below 1 formants below 1 rad, 2.5 kHz, rise
      and those above fall.
    audio: The clips.
  """
  return on_host.each_clip(functools.partial(_moved, exponent=exponent), audio)


def _moved(clip, exponent):
  """Returns a clip, [time] float32, with its formants moved."""
  import scipy.signal

  samples = clip.astype(np.float64) - SILENCE
  window = np.sqrt(scipy.signal.get_window('hann', _FRAME))  # periodic
  frames = _frames(samples) * window
  predictors = linear_prediction(frames, ORDER)
  moved = _coefficients(_turned(_poles(predictors), exponent))
  found = np.zeros((len(frames) + 1) * _HOP)
  for i, (frame, before, after) in enumerate(
    zip(frames, predictors, moved, strict=True)
  ):
    residual = scipy.signal.lfilter(before, [1.0], frame)
    found[i * _HOP : i * _HOP + _FRAME] += window * scipy.signal.lfilter(
      [1.0], after, residual
    )
  found = found[_HOP : _HOP + len(samples)]
  power = np.square(found).sum()
  gain = np.sqrt(np.square(samples).sum() / power) if power else 1.0
  return (SILENCE + gain * found).astype(np.float32)


def _frames(samples):
  """Returns half overlapping frames, each sample in two, [num, _FRAME]."""
  num_hops = -(-len(samples) // _HOP) + 2
  padded = np.zeros(num_hops * _HOP)
  padded[_HOP : _HOP + len(samples)] = samples
  hops = padded.reshape(num_hops, _HOP)
  return np.concatenate([hops[:-1], hops[1:]], 1)


def linear_prediction(frames: np.ndarray, order: int) -> np.ndarray:
  """Returns 1 and the predictor of the autocorrelation, [num, order + 1].

  Args:
    frames: [num, time]; one of silence gets no predictor, but zeros.
    order: Of the predictor.
  """
  size = frames.shape[-1] + order
  spectrum = np.abs(np.fft.rfft(frames, size)) ** 2
  lags = np.fft.irfft(spectrum, size)[:, : order + 1]
  lags[:, 0] *= 1 + _FLOOR
  lags[lags[:, 0] <= 0, 0] = 1
  places = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
  found = np.linalg.solve(lags[:, places], lags[:, 1:, None])[..., 0]
  return np.concatenate([np.ones((len(frames), 1)), -found], 1)


def _poles(predictors):
  """Returns the zeros of polynomials, [num, order] complex."""
  order = predictors.shape[-1] - 1
  companions = np.zeros((len(predictors), order, order))
  companions[:, 0] = -predictors[:, 1:]
  companions[:, range(1, order), range(order - 1)] = 1
  return np.linalg.eigvals(companions).astype(complex)


def _turned(poles, exponent):
  """Returns poles with the angles of the complex ones raised to a power."""
  angles = np.angle(poles)
  turned = np.sign(angles) * np.minimum(np.abs(angles) ** exponent, np.pi)
  return np.where(poles.imag == 0, poles, np.abs(poles) * np.exp(1j * turned))


def _coefficients(poles):
  """Returns the polynomials of zeros in conjugate pairs, [num, order + 1]."""
  found = np.ones((len(poles), 1), complex)
  for pole in poles.T:
    longer = np.pad(found, ((0, 0), (0, 1)))
    longer[:, 1:] -= pole[:, None] * found
    found = longer
  return found.real
