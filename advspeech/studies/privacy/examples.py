"""Clips to listen to: as they are, and under each protection."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, input_pipeline, over_clips, parallel, storage
from advspeech.studies.privacy import protecting

Protection = protecting.Protecting | protecting.Transforming
FOLDER, LIST = 'audio', 'examples.json'


class Sounding(NamedTuple):
  """Clips under a protection, as sound, for `over_clips.map_clips`."""

  protection: Protection

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns clips at the first epsilon, [chunk, num_weights, time].

    Args:
      shared: As the protection takes it.
      rows: The same.
    """
    make = self.protection.made(shared, rows)
    found = jax.lax.map(
      lambda weight: make(rows['radii'][:, 0], weight), shared[2]
    )
    return jnp.moveaxis(found, 1, 0)


def write(
  folder: str,
  split: input_pipeline.Split,
  protections: Iterable[tuple[str, Protection, tuple[float, ...]]],
  shared: tuple[Any, Any],
  columns: Mapping[str, np.ndarray],
  seed: int,
) -> None:
  """Writes clips as 16-bit WAV files, and a list of them, unless it is there.

  On one process alone.

  Args:
    folder: Of the study.
    split: The clips.
    protections: Names, what is compiled, and weights.
    shared: Variables of the embedders and of the models.
    columns: Of the clips; `radii` of one epsilon.
    seed: Of everything random.
  """
  if storage.exists(os.path.join(folder, LIST)):
    return
  sounds = os.path.join(folder, FOLDER)
  storage.make_folder(sounds)
  mesh = parallel.own_mesh()
  shared = parallel.bring(shared, mesh)
  entries = []
  for name, protection, weights in protections:
    found = over_clips.map_clips(
      Sounding(protection),
      split,
      mesh,
      1,
      shared=(*shared, np.array(weights, np.float32)),
      columns=columns,
      seed=seed,
      name=f'sounds under {name}',
    )
    for number, clips in enumerate(found):
      utterance = os.path.dirname(str(split.ids[number]))
      recorded = slice(*split.spans[number])
      clean, mask = input_pipeline.decode(
        split.pcm[number : number + 1], split.spans[number : number + 1]
      )
      for weight, clip in zip(weights, clips, strict=True):
        file = f'{number}-{len(entries)}.wav'
        audio.save(os.path.join(sounds, file), clip[recorded], 'PCM_16')
        snr_db = float(audio.snr_db(clean, clip[None], mask)[0])
        entries.append(
          {
            'file': file,
            'id': utterance,
            'protection': name,
            'weight': weight,
            'snr_db': snr_db if np.isfinite(snr_db) else None,
          }
        )
  storage.write_json(os.path.join(folder, LIST), entries)
