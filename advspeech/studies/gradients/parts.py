"""The study of gradients on disk: its arrays, part by part, and its tables."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  parallel,
  progress,
  storage,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies.gradients import (
  analysis,
  growth,
  precision,
  recurrence,
  summary,
  tables,
)


def write(
  folder: str,
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
  *,
  origin: Mapping[str, Any],
  epsilons: Sequence[float],
  clip_to_range: bool,
  confidence: float,
  num_studied: int,
  examples: Sequence[str],
) -> None:
  """Writes every table and array of the gradients' study; resumable.

  Arrays are cached as `<part>.npz` as they are computed; the tables are made of
  them. Nothing is done where `summary.csv` is already there.

  Args:
    folder: Where the files go.
    classifiers: Models by name.
    split: The clips.
    origin: JSON-like description of the models and the split, by which a
      folder is told apart from another study's.
    epsilons: Radii of FGSM.
    clip_to_range: Clip perturbed samples to [0, 1].
    confidence: Of the intervals.
    num_studied: Clips, evenly spread over the split, of the state Jacobians
      and the accumulation, which cost hundreds of gradients each.
    examples: Ids of the clips whose gradients are written whole, () for the
      first.

  Raises:
    errors.InputError: If the folder holds another study, or an id is not in
      the split.
    preemption.Stopped: If a signal asked for it.
  """
  examples = tuple(examples) or (str(split.ids[0]),)
  unknown = sorted({*examples} - {*map(str, split.ids)})
  if unknown:
    raise errors.InputError(
      'config.gradients.examples must name clips studied, got '
      f'{", ".join(unknown)}; ids look like {split.ids[0]}'
    )
  settings = {
    **origin,
    'names': list(classifiers),
    'clips': split.ids_sha256(),
    'num_studied': min(num_studied, len(split)),
    'examples': list(examples),
    'epsilons': list(map(float, epsilons)),
    'clip_to_range': clip_to_range,
    'confidence': confidence,
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, settings),
    f'{folder} belongs to this study',
  )
  table = os.path.join(folder, 'summary.csv')
  if parallel.agree(lambda: storage.exists(table)):
    return
  studied = input_pipeline.spread(split, settings['num_studied'])
  classes = next(iter(classifiers.values())).metadata['classes']
  arrays = _arrays(
    folder,
    classifiers,
    split,
    studied,
    settings,
    clip_to_range=clip_to_range,
  )

  def write_tables():
    clips, compared = tables.clip_rows(split, settings['names'], arrays)
    signs = tables.sign_rows(split, arrays['fidelity'])
    points = tables.accumulation_rows(studied, arrays['accumulation'])
    for name, rows in (
      ('clips', clips),
      ('pairs', compared),
      ('fidelity', signs),
      (
        'fgsm',
        tables.fgsm_rows(
          split, arrays['fidelity'], epsilons, classes, confidence
        ),
      ),
      ('jacobians', tables.jacobian_rows(arrays['jacobians'])),
      ('accumulation', points),
    ):
      if rows:
        storage.write_table(
          os.path.join(folder, f'{name}.csv'), tuple(rows[0]), rows
        )
    estimates = summary.summary_rows(
      settings['names'],
      arrays,
      confidence,
      speakers=split.speakers,
      studied=studied.speakers,
    )
    storage.write_table(table, summary.SUMMARY_COLUMNS, estimates)

  parallel.on_lead(write_tables, f'{table} is written')


def _arrays(
  folder,
  classifiers,
  split,
  studied,
  settings,
  *,
  clip_to_range,
):
  """Returns every part's arrays, from disk where they are complete."""
  recurrent_models = recurrence.recurrent_models(classifiers, split)
  num_parts = len(analysis.ALIGNMENTS) + 1
  num_parts += 2 * len(classifiers) + len(recurrent_models)
  # Each part shows its own clips, and may take less than a log's minute.
  meter = progress.Meter(
    'study of gradients', num_parts, 'part', shown=parallel.is_lead()
  )

  def cached(name, make):
    arrays = folder_lib.cached(os.path.join(folder, f'{name}.npz'), make)
    meter.update(name)
    return arrays

  place = {str(id_): i for i, id_ in enumerate(split.ids)}
  shown = input_pipeline.subset(
    split, np.array([place[id_] for id_ in settings['examples']], int)
  )
  arrays = {
    'clips': {
      alignment: cached(
        f'clips-{alignment}',
        lambda alignment=alignment: {
          'id': split.ids,
          **analysis.clip_statistics(classifiers, split, alignment=alignment),
        },
      )
      for alignment in analysis.ALIGNMENTS
    }
  }
  cached(
    'examples',
    lambda: {
      'id': shown.ids,
      'model': np.array(settings['names']),
      'audio': np.asarray(audio.from_pcm(shown.pcm)),
      'span': shown.spans,
      'gradient': analysis.whole_gradients(classifiers, shown),
    },
  )
  arrays['fidelity'] = {
    name: cached(
      f'fidelity-{i}',
      lambda classifier=classifier: precision.fidelity(
        classifier,
        split,
        settings['epsilons'],
        clip_to_range=clip_to_range,
      ),
    )
    for i, (name, classifier) in enumerate(classifiers.items())
  }
  arrays['jacobians'] = {
    name: {
      **cached(
        f'jacobians-{i}',
        lambda recurrent=recurrent: recurrence.state_reach(recurrent, studied),
      ),
      'recurrent': recurrent,
    }
    for i, (name, recurrent) in enumerate(recurrent_models.items())
  }
  arrays['accumulation'] = {
    name: cached(
      f'accumulation-{i}',
      lambda classifier=classifier: growth.accumulation(classifier, studied),
    )
    for i, (name, classifier) in enumerate(classifiers.items())
  }
  meter.close()
  return arrays
