"""Clips to listen to: as they are, and where each attack ended."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from advspeech import audio, input_pipeline
from advspeech.studies import listening
from advspeech.studies.queries import asking


def examples(
  results: Any, ended: Mapping[tuple[str, str], np.ndarray], num: int
) -> Iterator[listening.Example]:
  """Yields clips as they are, and as attacks on the first model leave them.

  Args:
    results: A `parts.Results`.
    ended: [num_clips, time] int16 by model and attack.
    num: How many clips, evenly spread.
  """
  split = results.split
  first = next(iter(ended))[0]
  for row in input_pipeline.spread_rows(len(split), num):
    recorded = slice(*split.spans[row])
    original = listening.recorded(split, row)
    name = str(split.ids[row])
    yield listening.Example(name, original, None, {'attack': ''})
    for (model, attack), pcm in ended.items():
      if model == first:
        yield listening.Example(
          name,
          np.asarray(audio.from_pcm(pcm[row, recorded])),
          original,
          {
            'model': model,
            'attack': attack,
            'is_wrong': _is_wrong(results, model, attack, row),
          },
        )


def _is_wrong(results, model, attack, row):
  """Returns whether a model errs on the clip that an attack ended at."""
  if attack == asking.NEAREST:
    distances = results.distances[model]
    return bool(np.isfinite(distances.sizes[row, :, -1]).all())
  return bool(results.scores[model, attack].best[row, -1] > 0)
