"""Clips to listen to: as they are, and under each protection."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import input_pipeline, over_clips, parallel
from advspeech.studies import listening
from advspeech.studies.privacy import protecting

Protection = protecting.Protecting | protecting.Transforming


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


def examples(
  split: input_pipeline.Split,
  protections: Iterable[tuple[str, Protection, tuple[float, ...]]],
  shared: tuple[Any, Any],
  columns: Mapping[str, np.ndarray],
  seed: int,
) -> Iterator[listening.Example]:
  """Yields clips under every protection.

  On one process alone.

  Args:
    split: The clips.
    protections: Names, what is compiled, and weights.
    shared: Variables of the embedders and of the models.
    columns: Of the clips; `radii` of one epsilon.
    seed: Of everything random.
  """
  mesh = parallel.own_mesh()
  shared = parallel.bring(shared, mesh)
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
      recorded = slice(*split.spans[number])
      original = listening.recorded(split, number)
      for weight, clip in zip(weights, clips, strict=True):
        yield listening.Example(
          os.path.dirname(str(split.ids[number])),
          clip[recorded],
          original,
          {'protection': name, 'weight': weight},
        )
