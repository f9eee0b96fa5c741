"""Says sentences with eSpeak NG, in a process of its own; see `espeak`.

  python synthesis.py

reads a line of utterances as JSON and writes their samples as .npz. It needs
NumPy and `espeakng-loader` alone, and ends when its input is closed.
"""

import ctypes
import io
import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Utterance(NamedTuple):
  """What is said, and eSpeak's parameters of how."""

  text: str
  variant: str
  rate: int
  loudness: int
  pitch: int
  pitch_range: int


def main() -> None:
  """Says what the input asks for."""
  asked = sys.stdin.buffer.readline()
  if not asked.endswith(b'\n'):
    os._exit(1)  # who asked was killed meanwhile
  utterances = [Utterance(*x) for x in json.loads(asked)]
  threading.Thread(target=_end_with_the_input, daemon=True).start()
  written = io.BytesIO()
  np.savez(written, **say(utterances))
  try:
    sys.stdout.buffer.write(written.getvalue())
    sys.stdout.buffer.flush()
  except BrokenPipeError:
    os._exit(1)


def _end_with_the_input():
  """Ends this process once nobody is there who asked."""
  os.read(0, 1)
  os._exit(1)


def say(utterances: Sequence[Utterance]) -> dict[str, np.ndarray]:
  """Returns int16 samples of each by its number, and `hz`, their rate."""
  synth = _Synthesiser()
  return {
    'hz': np.int64(synth.hz),
    **{str(i): synth.say(x) for i, x in enumerate(utterances)},
  }


class _Synthesiser:
  """The few calls of libespeak-ng's C interface (speak_lib.h) needed here."""

  _AUDIO_OUTPUT_SYNCHRONOUS = 2
  _INITIALIZE_DONT_EXIT = 0x8000
  _CHARS_UTF8 = 1
  _RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4

  def __init__(self):
    import espeakng_loader

    self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
    self.hz = self._lib.espeak_Initialize(
      self._AUDIO_OUTPUT_SYNCHRONOUS,
      0,
      espeakng_loader.get_data_path().encode(),
      self._INITIALIZE_DONT_EXIT,
    )
    if self.hz <= 0:
      raise RuntimeError(f'eSpeak NG did not start (status {self.hz})')
    self._chunks = []
    callback_type = ctypes.CFUNCTYPE(
      ctypes.c_int,
      ctypes.POINTER(ctypes.c_short),
      ctypes.c_int,
      ctypes.c_void_p,
    )
    # Held by the object: C keeps the pointer, Python must keep the function.
    self._callback = callback_type(self._collect)
    self._lib.espeak_SetSynthCallback(self._callback)

  def _collect(self, samples, num_samples, events):
    del events
    if samples and num_samples:
      chunk = np.ctypeslib.as_array(samples, (num_samples,))
      self._chunks.append(chunk.copy())
    return 0

  def say(self, utterance: Utterance) -> np.ndarray:
    """Returns an utterance as int16 samples at `self.hz`."""
    self._chunks.clear()
    parameters = {
      self._RATE: utterance.rate,
      self._VOLUME: utterance.loudness,
      self._PITCH: utterance.pitch,
      self._RANGE: utterance.pitch_range,
    }
    data = utterance.text.encode() + b'\0'
    # Breathy voices draw noise, from a clock unless they are told otherwise.
    self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
    status = [
      self._lib.espeak_SetVoiceByName(f'en+{utterance.variant}'.encode())
    ]
    status += [
      self._lib.espeak_SetParameter(name, value, 0)
      for name, value in parameters.items()
    ]
    status.append(
      self._lib.espeak_Synth(
        data, len(data), 0, 1, 0, self._CHARS_UTF8, None, None
      )
    )
    status.append(self._lib.espeak_Synchronize())
    if any(status) or not self._chunks:
      raise RuntimeError(
        f'eSpeak NG failed with {status} on {utterance.text!r}'
      )
    return np.concatenate(self._chunks)


if __name__ == '__main__':
  main()
