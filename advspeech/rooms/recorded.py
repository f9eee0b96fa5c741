"""Impulse responses of the user's own, from WAV files."""

import os

import numpy as np

from advspeech import audio, decoding, errors, storage
from advspeech.rooms.image_source import LEAD
from advspeech.rooms.simulation import NUM_SAMPLES


def read(folder: str) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns responses, [num_files, time] float32, and the names of their files.

  Each is divided by its largest sample, taken for the direct path, and begins
  `LEAD` samples before it; what comes after `NUM_SAMPLES` is left out.

  Args:
    folder: Of WAV files of one channel at 16 kHz.

  Raises:
    errors.InputError: If there is no such file, or one is at another rate, has
      more channels, is silent, or cannot be read: see `decoding.blocks`.
  """
  names = sorted(
    name for name in storage.names(folder) if name.lower().endswith('.wav')
  )
  if not names:
    raise errors.InputError(
      f'{folder} must hold impulse responses as WAV files, got none; put those '
      'that attacks may know into the folder training, those that judge into '
      'the folder unseen beside it'
    )
  found = [_response(os.path.join(folder, name)) for name in names]
  longest = max(map(len, found))
  return np.stack([np.pad(x, (0, longest - len(x))) for x in found]), (*names,)


def _response(path):
  """Returns a file's response, aligned and cut, [at most NUM_SAMPLES]."""
  rates_hz, pieces = zip(*decoding.blocks(path), strict=True)
  if rates_hz[0] != audio.SAMPLE_RATE_HZ:
    raise errors.InputError(
      f'{path} must be at {audio.SAMPLE_RATE_HZ} Hz, got {rates_hz[0]} Hz; '
      'convert it first'
    )
  if pieces[0].shape[1] != 1:
    raise errors.InputError(
      f'{path} must have one channel, got {pieces[0].shape[1]}; write one file '
      'a microphone'
    )
  samples = np.concatenate(pieces)[:, 0]
  largest = np.abs(samples).max(initial=0.0)
  if not largest:
    raise errors.InputError(
      f'{path} must hold an impulse response, got {len(samples)} samples of '
      'silence; leave it out'
    )
  direct = int(np.abs(samples).argmax())
  begin = np.pad(samples, (LEAD, 0))[direct : direct + NUM_SAMPLES]
  return (begin / largest).astype(np.float32)
