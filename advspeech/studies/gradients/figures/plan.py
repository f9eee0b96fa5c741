"""Which figures the gradients' study has, and what draws each of them."""

import functools
import os
from collections.abc import Callable

from matplotlib import figure

from advspeech import audio, storage
from advspeech.studies.gradients.figures.frames import comparison, profiles
from advspeech.studies.gradients.figures.growth import accumulation
from advspeech.studies.gradients.figures.jacobians import jacobian_decay
from advspeech.studies.gradients.figures.number_formats import arithmetics
from advspeech.studies.gradients.figures.traces import gradient_traces


def plans(folder: str) -> dict[str, Callable[[], figure.Figure]]:
  """Returns what draws each figure of a study, by its name.

  Args:
    folder: Of `parts.write`; only its files are read.
  """
  settings = storage.read_json(
    os.path.join(folder, 'settings.json'), ('names', 'num_studied')
  )
  names = settings['names']
  table = functools.partial(_table, folder)
  examples = storage.read_arrays(os.path.join(folder, 'examples.npz'))
  make: dict[str, Callable[[], figure.Figure]] = {
    # An id may be long, and hold whatever a file's name may not.
    f'figure5-{i}': functools.partial(gradient_traces, examples, i)
    for i in range(len(examples['id']))
  }
  for alignment in ('start', 'end'):
    arrays = storage.read_arrays(os.path.join(folder, f'clips-{alignment}.npz'))
    recorded_s = arrays['recorded/num_samples'][:, 0] / audio.SAMPLE_RATE_HZ
    make[f'profile-{alignment}'] = functools.partial(
      profiles, arrays['profile'], names, recorded_s, alignment
    )
  if len(names) > 1:
    make['comparison'] = lambda: comparison(table('clips'), names)
  if table('jacobians'):
    make['jacobians'] = lambda: jacobian_decay(
      table('jacobians'), settings['num_studied']
    )
  make['accumulation'] = lambda: accumulation(table('accumulation'))
  make['arithmetics'] = lambda: arithmetics(table('fidelity'), table('fgsm'))
  return make


def _table(folder, name):
  path = os.path.join(folder, f'{name}.csv')
  return storage.read_table(path) if storage.exists(path) else []
