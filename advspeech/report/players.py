"""Sounds of a page: a clip, what was made of it, and the difference."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from advspeech import audio, sounds
from advspeech.report import run as run_lib

# The difference is amplified until its largest sample is this.
_PEAK = 0.5
# A quiet clip is played as loud as speech is broadcast (EBU R 128: -23 dB), if
# nothing is clipped.
_LOUDNESS, _LARGEST = 10 ** (-23 / 20), 0.99
# Of all sounds of a page, as they are embedded: the page is to be mailed.
MAX_BYTES = 7_000_000


class Pair(NamedTuple):
  """A clip's adversarial example.

  Attributes:
    entry: Of `examples.json`.
    adversarial: Its sound.
    difference: Amplified.
    gain: By how much: a factor.
    snr_db: Of the recorded samples over the difference there; infinite where
      nothing was changed.
    waves: Original and adversarial example, [time] each, full scale 1.
  """

  entry: run_lib.Row
  adversarial: sounds.Sound
  difference: sounds.Sound
  gain: float
  snr_db: float
  waves: tuple[np.ndarray, np.ndarray]


class Clip(NamedTuple):
  """A clip that can be heard.

  Attributes:
    id: Of the utterance.
    label: What it is.
    gain: A factor by which it and what was made of it are louder than recorded.
    original: Its sound.
    pairs: Of each attack on each source.
  """

  id: str
  label: str
  gain: float
  original: sounds.Sound
  pairs: list[Pair]


def clips(run: run_lib.Run) -> tuple[list[Clip], int]:
  """Returns a run's clips, and how many examples the page has no room for.

  Attacks on the config's source come first.
  """
  by_id: dict[str, list[run_lib.Row]] = {}
  for entry in run.examples:
    by_id.setdefault(entry['id'], []).append(entry)
  room, result, num_left_out = MAX_BYTES, [], 0
  for id_, entries in by_id.items():
    entries.sort(key=lambda e: e['source'] != run.source)
    original = _read(run, entries[0]['original'])
    heard = [_read(run, entry['adversarial']) for entry in entries]
    louder = gain(original, heard)
    clip = Clip(
      id_,
      entries[0]['label'],
      louder,
      sounds.Sound(sounds.flac_uri(louder * original), f'original of {id_}'),
      [],
    )
    room -= len(clip.original.uri)
    for entry, adversarial in zip(entries, heard, strict=True):
      pair = _pair(run, entry, original, adversarial, louder)
      size = len(pair.adversarial.uri) + len(pair.difference.uri)
      if size > room:
        num_left_out += 1
        continue
      room -= size
      clip.pairs.append(pair)
    if clip.pairs:
      result.append(clip)
  return result, num_left_out


def gain(original: np.ndarray, made: Sequence[np.ndarray]) -> float:
  """Returns by how much a clip and all made of it are played louder.

  Args:
    original: [time], full scale 1.
    made: Adversarial examples of it, [time] each.

  Returns:
    A factor of 1 at least, which clips none of them.
  """
  loudness = math.sqrt(np.square(original, dtype=np.float64).mean())
  largest = max(float(np.abs(x).max()) for x in (original, *made))
  if not loudness:
    return 1.0
  return max(1.0, min(_LOUDNESS / loudness, _LARGEST / largest))


def _pair(run, entry, original, heard, louder):
  """Returns an example with its sounds."""
  # Of the float file: rounding to 16 bit must not be heard as perturbation.
  perturbed = _read(run, entry['adversarial_float32'])
  padded = np.zeros_like(perturbed)
  pad = run.config.get('clip', {}).get('pad', 'end')
  start, count = audio.recorded_span(len(original), len(perturbed), pad)
  padded[start : start + count] = original[:count]
  difference = perturbed - padded
  largest = float(np.abs(difference).max())
  gain = _PEAK / largest if largest else 1.0
  about = f'{entry["attack"]} on {entry["source"]}'
  return Pair(
    entry,
    sounds.Sound(
      sounds.flac_uri(louder * heard),
      f'adversarial version of {entry["id"]}, {about}',
    ),
    sounds.Sound(
      sounds.flac_uri(gain * difference),
      f'amplified difference of {entry["id"]}, {about}',
    ),
    gain,
    _snr_db(padded, difference, slice(start, start + count)),
    (padded, heard),
  )


def _snr_db(original, difference, recorded):
  """Returns how loud recorded samples are over what was added to them."""
  signal, noise = (
    float(np.square(x[recorded], dtype=np.float64).sum())
    for x in (original, difference)
  )
  return 10 * math.log10(signal / noise) if signal and noise else math.inf


def _read(run, name):
  return audio.read(run.path('attack', 'audio', name))
