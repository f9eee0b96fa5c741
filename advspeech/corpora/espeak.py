"""The embedded corpus: synthetic speech from eSpeak NG, made on the spot.

Ten speakers (a voice variant with a pitch and a rate of its own), three
manners (neutral, angry, sad: rate, pitch, pitch range and loudness), forty
sentences each: 1,200 clips of 16 kHz speech, on which all three tasks exist.
It shows that the machinery works and how it looks; it says nothing about
human speech.

Needs the `demo` extra (`espeakng-loader`: the GPL library and its voices).
"""

import concurrent.futures
import ctypes
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from advspeech import audio, errors
from advspeech.corpora import builder


class Voice(NamedTuple):
  """How a speaker talks: variant, and eSpeak's pitch (0-99) and words/min."""

  sex: str
  variant: str
  pitch: int
  rate: int


class Manner(NamedTuple):
  """What an emotion does to a voice; loudness is eSpeak's, 100 its normal."""

  emotion: str
  rate_factor: float
  pitch_shift: int
  pitch_range: int
  loudness: int


SPEAKERS = {
  'f1': Voice('female', 'f1', 52, 165),
  'f2': Voice('female', 'f2', 60, 180),
  'f3': Voice('female', 'f3', 47, 150),
  'f4': Voice('female', 'f4', 66, 172),
  'f5': Voice('female', 'f5', 56, 190),
  'm1': Voice('male', 'm1', 45, 160),
  'm2': Voice('male', 'm2', 36, 178),
  'm3': Voice('male', 'm3', 52, 170),
  'm4': Voice('male', 'm4', 40, 148),
  'm7': Voice('male', 'm7', 48, 188),
}

MANNERS = (
  Manner('neutral', 1.0, 0, 50, 50),
  Manner('angry', 1.25, 12, 90, 70),
  Manner('sad', 0.8, -10, 15, 25),
)

SENTENCES = tuple(
  f'{subject} {predicate}.'
  for subject, predicate in itertools.product(
    (
      'The old captain',
      'My sister',
      'A young doctor',
      'Nobody here',
      'The postman',
      'Our teacher',
      'That tall stranger',
      'Everyone at home',
    ),
    (
      'forgot the keys again',
      'will leave before noon',
      'bought nine yellow apples',
      'heard music upstairs',
      'closed the garden gate',
      'never said a word',
      'found it under the bridge',
      'asked for more time',
    ),
  )
)
SENTENCES_PER_MANNER = 40
# Neighbouring voices say overlapping, not equal, parts of the list.
SENTENCE_STRIDE = 7


class Espeak(builder.SpeechBuilder):
  """TFDS builder of the embedded corpus."""

  VERSION = builder.version('2.2.0')
  DESCRIPTION = __doc__

  def utterances(self) -> Iterator[builder.Utterance | builder.Skipped]:
    """Yields the 1,200 clips, synthesised on all cores."""
    try:
      import espeakng_loader  # noqa: F401
    except ImportError as e:
      raise errors.InputError(
        'the espeak corpus needs eSpeak NG, which is not installed; run '
        "python -m pip install -e '.[demo]'"
      ) from e
    # eSpeak carries state from one utterance to the next, past espeak_Terminate
    # and with its random seed set: only a fresh process that says the same
    # sentences in the same order, from the same seed, says the same samples.
    with concurrent.futures.ProcessPoolExecutor(
      os.cpu_count(),
      multiprocessing.get_context('spawn'),
      max_tasks_per_child=1,
    ) as pool:
      for speaker, clips in zip(
        SPEAKERS, pool.map(_say, SPEAKERS), strict=True
      ):
        yield from _utterances(speaker, clips)

  def num_utterances(self) -> int:
    """Returns how many clips `utterances` yields."""
    return len(SPEAKERS) * len(MANNERS) * SENTENCES_PER_MANNER


def _utterances(speaker, clips):
  """Yields one speaker's clips at the rate of the program."""
  import librosa

  for emotion, i, text, samples, rate_hz in clips:
    samples = librosa.resample(
      samples.astype(np.float32) / -audio.PCM_MIN,
      orig_sr=rate_hz,
      target_sr=audio.SAMPLE_RATE_HZ,
      res_type='soxr_hq',
    )
    yield builder.Utterance(
      id=f'{speaker}-{emotion}-{i:02d}',
      pcm=audio.round_to_pcm(samples),
      speaker=speaker,
      sex=SPEAKERS[speaker].sex,
      emotion=emotion,
      statement=text,
    )


def _say(speaker: str) -> list[tuple[str, int, str, np.ndarray, int]]:
  """Returns emotion, number, text, int16 samples and Hz of every clip."""
  synth = _Synthesiser()
  clips = []
  for m, manner in enumerate(MANNERS):
    start = SENTENCE_STRIDE * (list(SPEAKERS).index(speaker) + m)
    for i in range(SENTENCES_PER_MANNER):
      text = SENTENCES[(start + i) % len(SENTENCES)]
      samples = synth.say(text, SPEAKERS[speaker], manner)
      clips.append((manner.emotion, i, text, samples, synth.hz))
  return clips


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

  def say(self, text: str, voice: Voice, manner: Manner) -> np.ndarray:
    """Returns `text` as int16 samples at `self.hz`."""
    self._chunks.clear()
    parameters = {
      self._RATE: round(voice.rate * manner.rate_factor),
      self._VOLUME: manner.loudness,
      self._PITCH: voice.pitch + manner.pitch_shift,
      self._RANGE: manner.pitch_range,
    }
    data = text.encode() + b'\0'
    # Breathy voices draw noise, from a clock unless they are told otherwise.
    self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
    status = [self._lib.espeak_SetVoiceByName(f'en+{voice.variant}'.encode())]
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
      raise RuntimeError(f'eSpeak NG failed with {status} on {text!r}')
    return np.concatenate(self._chunks)
