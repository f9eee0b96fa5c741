"""Lines, markers and titles that the figures of the gradients' study share."""

from collections.abc import Sequence

import numpy as np

from advspeech import figures

STYLES = ('-', '--', '-.', ':')
MARKERS = 'os^Dv<>P'


def positive(values: Sequence[float]) -> np.ndarray:
  """Returns values, nan where a logarithmic axis shows none."""
  values = np.array(values, float)
  return np.where(values > 0, values, np.nan)


def member_title(name: str) -> str:
  """Returns 'WaveCNN, seed 0' for 'wavecnn-seed0'; other names as they are.

  'wavecnn-mean' is 'WaveCNN, mean of trainings'.
  """
  folder, _, last = name.rpartition('/')
  model, is_mean, rest = last.rpartition('-mean')
  if is_mean and not rest:
    return f'{figures.title(model)}, mean of trainings'
  model, _, seed = last.partition('-seed')
  title = figures.title(model)
  if seed:
    title = f'{title}, seed {seed}'
  return f'{title} ({folder})' if folder else title


def title(name: str) -> str:
  """Returns a model's title for an axis, cut where it is long."""
  return figures.plain(member_title(name), 50)
