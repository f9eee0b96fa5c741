"""The embedded corpus: synthetic speech from eSpeak NG, made on the spot.

Ten speakers (a voice variant with a pitch and a rate of its own), three
manners (neutral, angry, sad: rate, pitch, pitch range and loudness), forty
sentences each: 1,200 clips of 16 kHz speech, on which all three tasks exist.
It shows that the machinery works and how it looks; it says nothing about
human speech.

Needs the `demo` extra (`espeakng-loader`: the GPL library and its voices).
"""

import concurrent.futures
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from advspeech import audio, errors
from advspeech.corpora import builder, records, synthesis


class Speaker(NamedTuple):
  """Who talks: a variant of eSpeak's voices, a pitch (0-99) and words/min."""

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
  'f1': Speaker('female', 'f1', 52, 165),
  'f2': Speaker('female', 'f2', 60, 180),
  'f3': Speaker('female', 'f3', 47, 150),
  'f4': Speaker('female', 'f4', 66, 172),
  'f5': Speaker('female', 'f5', 56, 190),
  'm1': Speaker('male', 'm1', 45, 160),
  'm2': Speaker('male', 'm2', 36, 178),
  'm3': Speaker('male', 'm3', 52, 170),
  'm4': Speaker('male', 'm4', 40, 148),
  'm7': Speaker('male', 'm7', 48, 188),
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

  def utterances(self) -> Iterator[records.Utterance | records.Skipped]:
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
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
      for speaker, clips in zip(
        SPEAKERS, pool.map(_say, SPEAKERS), strict=True
      ):
        yield from _utterances(speaker, clips)
    finally:
      # Who is stopped does not wait for what is being said.
      pool.shutdown(wait=False, cancel_futures=True)

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
    yield records.Utterance(
      id=f'{speaker}-{emotion}-{i:02d}',
      pcm=audio.round_to_pcm(samples),
      speaker=speaker,
      sex=SPEAKERS[speaker].sex,
      emotion=emotion,
      statement=text,
    )


def _say(speaker: str) -> list[tuple[str, int, str, np.ndarray, int]]:
  """Returns emotion, number, text, int16 samples and Hz of every clip."""
  voice = SPEAKERS[speaker]
  wanted, utterances = [], []
  for m, manner in enumerate(MANNERS):
    start = SENTENCE_STRIDE * (list(SPEAKERS).index(speaker) + m)
    for i in range(SENTENCES_PER_MANNER):
      text = SENTENCES[(start + i) % len(SENTENCES)]
      wanted.append((manner.emotion, i, text))
      utterances.append(
        synthesis.Utterance(
          text=text,
          variant=voice.variant,
          rate=round(voice.rate * manner.rate_factor),
          loudness=manner.loudness,
          pitch=voice.pitch + manner.pitch_shift,
          pitch_range=manner.pitch_range,
        )
      )
  sounds = _in_a_fresh_process(utterances)
  return [
    (*what, sounds[f'{number}'], int(sounds['hz']))
    for number, what in enumerate(wanted)
  ]


def _in_a_fresh_process(utterances):
  """Returns what `synthesis.main` writes of some utterances.

  Its input stays open as long as this process lives, and it ends with that. In
  a session of its own no signal of a terminal's reaches it.
  """
  with subprocess.Popen(
    [sys.executable, synthesis.__file__],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    start_new_session=True,
  ) as process:
    process.stdin.write(json.dumps(utterances).encode() + b'\n')
    process.stdin.flush()
    written = process.stdout.read()
  if process.returncode:
    raise RuntimeError(f'eSpeak NG ended with {process.returncode}')
  return np.load(io.BytesIO(written))
