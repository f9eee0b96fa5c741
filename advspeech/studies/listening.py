"""Clips to listen to: written by a study, and played in its section."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from advspeech import (
  audio,
  input_pipeline,
  parallel,
  section,
  sounds,
  storage,
)

_FOLDER, _LIST, _NAME = 'audio', 'examples.json', 'examples'

Entry = dict[str, Any]


class Example(NamedTuple):
  """A clip to listen to.

  Attributes:
    id: Of the clip, the same for all that became of it.
    sound: [time] its recorded samples, in [0, 1].
    original: [time] the same before anything was done; None where the SNR of
      what was done means nothing.
    what: What tells it from others of the clip, JSON-like.
  """

  id: str
  sound: np.ndarray
  original: np.ndarray | None
  what: Mapping[str, Any]


def recorded(split: input_pipeline.Split, row: int) -> np.ndarray:
  """Returns the recorded samples of a clip, [time] in [0, 1]."""
  (pcm,) = split.pcm[row : row + 1]
  return np.asarray(audio.from_pcm(pcm[slice(*split.spans[row])]))


def telling_rows(scores: np.ndarray, num: int) -> np.ndarray:
  """Returns the rows of the largest scores, the first of equal ones first."""
  return np.argsort(-np.asarray(scores), kind='stable')[:num]


def write_once(
  folder: str, num: int, examples_fn: Callable[[], Iterable[Example]]
) -> None:
  """Writes clips as 16-bit WAV files, their list last, unless it is there.

  Called on every process; one computes and writes.

  Args:
    folder: Of the study.
    num: How many are wanted; nothing is called or written for 0.
    examples_fn: Returns the clips, without another process' help.
  """
  if not num:
    return
  parallel.on_lead(
    lambda: _write(folder, examples_fn), f'{folder} has clips to listen to'
  )


def _write(folder, examples_fn):
  if storage.exists(os.path.join(folder, _LIST)):
    return
  place = os.path.join(folder, _FOLDER)
  storage.make_folder(place)
  entries = []
  for number, example in enumerate(examples_fn()):
    file = f'{number}.wav'
    audio.save(os.path.join(place, file), example.sound, 'PCM_16')
    entries.append(
      {
        'file': file,
        'id': example.id,
        'snr_db': _snr_db(example),
        **example.what,
      }
    )
  storage.write_json(os.path.join(folder, _LIST), entries)


def _snr_db(example):
  """Returns the SNR of what was done; None where nothing was."""
  if example.original is None:
    return None
  everywhere = np.ones_like(example.sound)
  snr_db = float(audio.snr_db(example.original, example.sound, everywhere))
  return snr_db if np.isfinite(snr_db) else None


def clips(
  results: section.Results, title_fn: Callable[[Entry], str]
) -> list[tuple[str, list[Entry]]]:
  """Returns what the macro `listening` plays: (id, its entries), clip by clip.

  Args:
    results: Of the study.
    title_fn: What an entry is called.
  """
  by_id: dict[str, list[Entry]] = {}
  for entry in results.entries(_NAME):
    path = os.path.join(results.folder, _FOLDER, entry['file'])
    title = title_fn(entry)
    sound = sounds.Sound(
      sounds.flac_uri(audio.read(path)), f'{title} of {entry["id"]}'
    )
    by_id.setdefault(entry['id'], []).append(
      {**entry, 'title': title, 'sound': sound}
    )
  return list(by_id.items())
