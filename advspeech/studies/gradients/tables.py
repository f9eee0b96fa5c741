"""Tables of where gradients are, by utterance id, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import audio, class_errors, input_pipeline, statistics
from advspeech.models import frontend
from advspeech.studies.gradients import analysis, growth, precision

FGSM_COLUMNS = (
  'model',
  'direction',
  'epsilon',
  'epsilon_lsb',
  'num_clips',
  'num_errors',
  'error_rate',
  'ci_low',
  'ci_high',
  *class_errors.COLUMNS,
  'flip_rate',
)
JACOBIAN_COLUMNS = (
  'model',
  'cell',
  'training',
  'forget_bias',
  'frame',
  'distance_ms',
  'lower_quartile',
  'median',
  'upper_quartile',
  'forget_gate',
)


def clip_rows(
  split: input_pipeline.Split,
  names: Sequence[str],
  arrays: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """Returns one row a (alignment, region, model, clip), and one a pair."""
  rows, compared = [], []
  pairs = analysis.pairs(names)
  for alignment, part in arrays['clips'].items():
    for i, id_ in enumerate(split.ids):
      for region in analysis.REGIONS:
        for m, name in enumerate(names):
          rows.append(
            {
              'id': str(id_),
              'model': name,
              'alignment': alignment,
              'region': region,
              **{k: v[i, m].item() for k, v in sorted(part[region].items())},
            }
          )
      for p, (model, other) in enumerate(pairs):
        compared.append(
          {
            'id': str(id_),
            'model': model,
            'other': other,
            'alignment': alignment,
            **{k: v[i, p].item() for k, v in sorted(part['pairs'].items())},
          }
        )
  return rows, compared


def sign_rows(
  split: input_pipeline.Split, fidelity: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """Returns one row a (model, arithmetic, clip)."""
  return [
    {
      'id': str(id_),
      'model': name,
      'arithmetic': arithmetic,
      **{k: v[i, a].item() for k, v in sorted(part['signs'].items())},
    }
    for name, part in fidelity.items()
    for a, arithmetic in enumerate(precision.ARITHMETICS)
    for i, id_ in enumerate(split.ids)
  ]


def fgsm_rows(
  split: input_pipeline.Split,
  fidelity: Mapping[str, Any],
  epsilons: Sequence[float],
  classes: Sequence[str],
  confidence: float,
) -> list[dict[str, Any]]:
  """Returns one row a (model, whose signs, epsilon), by FGSM_COLUMNS."""
  rows = []
  for name, part in fidelity.items():
    for d, direction in enumerate((*precision.ARITHMETICS, 'random_sign')):
      for e, epsilon in enumerate(epsilons):
        predictions = part['predictions'][:, d, e]
        num_errors = int((predictions != split.labels).sum())
        low, high = statistics.wilson_interval(
          num_errors, len(split), confidence
        )
        rows.append(
          {
            'model': name,
            'direction': direction,
            'epsilon': float(epsilon),
            'epsilon_lsb': float(epsilon) * audio.LSB_PER_UNIT,
            'num_clips': len(split),
            'num_errors': num_errors,
            'error_rate': num_errors / len(split),
            'ci_low': low,
            'ci_high': high,
            **class_errors.columns(predictions, split.labels, classes),
            'flip_rate': float((predictions != part['clean']).mean()),
          }
        )
  return rows


def jacobian_rows(jacobians: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns one row a (model, frame i), over clips, by JACOBIAN_COLUMNS."""
  rows = []
  for name, part in jacobians.items():
    recurrent = part['recurrent']
    starts = part['start'][0]
    quartiles = np.quantile(part['norms'], [0.25, 0.5, 0.75], axis=0)
    for s, frame in enumerate(starts):
      forget = part.get('forget')
      at_the_end = forget is None or frame == starts[-1]
      rows.append(
        {
          'model': name,
          'cell': recurrent.cell,
          'training': recurrent.training,
          'forget_bias': (
            '' if recurrent.forget_bias is None else recurrent.forget_bias
          ),
          'frame': int(frame),
          'distance_ms': float(starts[-1] - frame) * frontend.FRAME_MS,
          'lower_quartile': float(quartiles[0, s]),
          'median': float(quartiles[1, s]),
          'upper_quartile': float(quartiles[2, s]),
          'forget_gate': ('' if at_the_end else float(forget[:, frame].mean())),
        }
      )
  return rows


def accumulation_rows(
  studied: input_pipeline.Split, accumulation: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """Returns one row a (model, what is varied, point, epsilon, clip)."""
  rows = []
  for name, part in accumulation.items():
    for varied, values in part.items():
      predicted, measured = values['predicted'], values['measured']
      epsilons = growth.GROWTH_EPSILONS
      if varied == 'epsilon':
        predicted, measured = predicted[..., None], measured[..., None]
      for index in np.ndindex(predicted.shape):
        i, point, e = index
        n = values['n'][i, point].item()
        rows.append(
          {
            'id': str(studied.ids[i]),
            'model': name,
            'varied': varied,
            'n': studied.pcm.shape[1] if varied == 'epsilon' else n,
            'epsilon': n if varied == 'epsilon' else epsilons[e],
            'predicted': predicted[index].item(),
            'measured': measured[index].item(),
          }
        )
  return rows
