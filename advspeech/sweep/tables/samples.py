"""Answers to every clip that was attacked."""

from collections.abc import Iterator
from typing import Any

from advspeech.sweep import results as results_lib
from advspeech.sweep.settings import FORMATS
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {
  **columns.ATTACK,
  'epsilon_given': str,
  'epsilon': float,
  'epsilon_unit': str,
  'id': str,
  'label': str,
  'clean_prediction': str,
  'prediction': str,
  'prediction_float32': str,
  'prediction_int16': str,
  'snr_db': float,
  'segmental_snr_db': float,
  'log_spectral_distance_db': float,
}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a (planned attack, target, epsilon, clip), by COLUMNS.

  Attacks alone; the controls' answers are in the arrays in `parts/`.
  """
  sweep = results.sweep
  for planned, judged in results.judged.items():
    names = results.variants(planned)
    for t, target in enumerate(sweep.members):
      classes = target.classifier.metadata['classes']
      for e, epsilon in enumerate(planned.epsilons):
        point = {
          **columns.of_attack(results, planned, target),
          'epsilon_given': epsilon.text,
          'epsilon_unit': columns.unit(epsilon),
        }
        radii = epsilon.radii(*results.levels)
        answers = judged.predictions[e, :, t]
        for i, utterance_id in enumerate(sweep.split.ids):
          label = target.labels[i]
          row = {
            **point,
            'epsilon': float(radii[i]),
            'id': str(utterance_id),
            'label': classes[label] if label >= 0 else '',
            'clean_prediction': classes[judged.clean[t, i]],
            'prediction': classes[answers[0, i]],
            'snr_db': float(judged.snr_db[e, 0, i]),
            'segmental_snr_db': float(judged.segmental_snr_db[e, i]),
            'log_spectral_distance_db': float(
              judged.log_spectral_distance_db[e, i]
            ),
          }
          for name in FORMATS[1:]:
            row[f'prediction_{name}'] = (
              classes[answers[names.index(name), i]] if name in names else ''
            )
          yield row
