"""Tables of where gradients are, by utterance id, with intervals."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import (
  audio,
  checkpoint,
  errors,
  gradients,
  input_pipeline,
  parallel,
  progress,
  statistics,
  storage,
)
from advspeech.models import frontend
from advspeech.studies.folder import claim as claim_folder
from advspeech.studies.gradients import (
  analysis,
  growth,
  precision,
  recurrence,
)

LINEAR_TOLERANCE = 0.1
_NUM_RESAMPLES = 2000
# With fewer values a mean gets no interval: BCa's of eight that are skewed
# (lognormal) holds the mean in 76 % of experiments, of twelve in 86 %.
FEWEST_OF_MEAN = 12
# Reported by their median: they spread over decades, or lie at an end.
_SKEWED = (
  *('l1', 'l2', 'max', 'mean_abs', 'halvings_per_s', 'norm_ratio'),
  'early_l1_share',
)
# Compared between models on the same clips; those on the left as logarithms.
_LOG_EFFECTS = ('l1', 'max')
_EFFECTS = (*_LOG_EFFECTS, 'early_l1_share', 'index_10', 'index_50')
SUMMARY_COLUMNS = (
  'part',
  'model',
  'other',
  'setting',
  'statistic',
  'of',
  'num_clips',
  'num_left_out',
  'estimate',
  'ci_low',
  'ci_high',
)
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

  Arrays are kept as `<part>.npz` as they are computed; the tables are made of
  them. Nothing is done where `summary.csv` is already there.

  Args:
    folder: Where the files go.
    classifiers: Models by name.
    split: The clips.
    origin: JSON-like description of the models and the split, by which a
      folder is told from that of another study.
    epsilons: Radii of FGSM.
    clip_to_range: Clip perturbed samples to [0, 1].
    confidence: Of the intervals.
    num_studied: Clips, evenly spread over the split, of the state Jacobians
      and the accumulation, which cost hundreds of gradients each.
    examples: Ids of the clips whose gradients are kept whole; () for the first.

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
    lambda: claim_folder(folder, settings),
    f'{folder} belongs to this study',
  )
  table = os.path.join(folder, 'summary.csv')
  if parallel.agree(lambda: storage.exists(table)):
    return
  studied = input_pipeline.spread(split, settings['num_studied'])
  arrays = _arrays(
    folder,
    classifiers,
    split,
    studied,
    settings,
    clip_to_range=clip_to_range,
  )

  def write_tables():
    clips, compared = clip_rows(split, settings['names'], arrays)
    signs = sign_rows(split, arrays['fidelity'])
    points = accumulation_rows(studied, arrays['accumulation'])
    for name, rows in (
      ('clips', clips),
      ('pairs', compared),
      ('fidelity', signs),
      ('fgsm', fgsm_rows(split, arrays['fidelity'], epsilons, confidence)),
      ('jacobians', jacobian_rows(arrays['jacobians'])),
      ('accumulation', points),
    ):
      if rows:
        storage.write_table(
          os.path.join(folder, f'{name}.csv'), tuple(rows[0]), rows
        )
    summary = summary_rows(settings['names'], arrays, confidence)
    storage.write_table(table, SUMMARY_COLUMNS, summary)

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

  def kept(name, make):
    arrays = analysis.kept(os.path.join(folder, f'{name}.npz'), make)
    meter.update(name)
    return arrays

  place = {str(id_): i for i, id_ in enumerate(split.ids)}
  shown = input_pipeline.subset(
    split, np.array([place[id_] for id_ in settings['examples']], int)
  )
  arrays = {
    'clips': {
      alignment: kept(
        f'clips-{alignment}',
        lambda alignment=alignment: {
          'id': split.ids,
          **analysis.clip_statistics(classifiers, split, alignment=alignment),
        },
      )
      for alignment in analysis.ALIGNMENTS
    }
  }
  kept(
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
    name: kept(
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
      **kept(
        f'jacobians-{i}',
        lambda recurrent=recurrent: recurrence.state_reach(recurrent, studied),
      ),
      'recurrent': recurrent,
    }
    for i, (name, recurrent) in enumerate(recurrent_models.items())
  }
  arrays['accumulation'] = {
    name: kept(
      f'accumulation-{i}',
      lambda classifier=classifier: growth.accumulation(classifier, studied),
    )
    for i, (name, classifier) in enumerate(classifiers.items())
  }
  meter.close()
  return arrays


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


def summary_rows(
  names: Sequence[str], arrays: Mapping[str, Any], confidence: float
) -> list[dict[str, Any]]:
  """Returns estimates over clips with bootstrap intervals.

  A mean of fewer than `FEWEST_OF_MEAN` clips has none.
  """
  rows = []

  def add(part, model, setting, statistic, values, *, other='', of=None):
    if statistic == 'half_life_ms':
      # Half-lives are infinite where nothing decays; their inverse is 0.
      statistic, values = 'halvings_per_s', 1000 / values
    of = of or ('median' if statistic in _SKEWED else 'mean')
    rows.append(
      {
        'part': part,
        'model': model,
        'other': other,
        'setting': setting,
        'statistic': statistic,
        'of': of,
        **_estimate(values, _STATISTICS[of], confidence),
      }
    )

  for alignment, part in arrays['clips'].items():
    for region in analysis.REGIONS:
      setting = f'{alignment}, {region}'
      for m, name in enumerate(names):
        for key, values in sorted(part[region].items()):
          add('clips', name, setting, key, values[:, m])
      for a, b in analysis.pairs(range(len(names))):
        for key in _EFFECTS:
          values = part[region][key].astype(float)
          if key in _LOG_EFFECTS:
            with np.errstate(divide='ignore'):
              values = np.log10(values)
          with np.errstate(invalid='ignore'):
            difference = values[:, a] - values[:, b]
          add(
            'effects',
            names[a],
            setting,
            f'log10_{key}' if key in _LOG_EFFECTS else key,
            difference,
            other=names[b],
            of='paired_d',
          )
    for p, (model, other) in enumerate(analysis.pairs(names)):
      for key, values in sorted(part['pairs'].items()):
        add('pairs', model, alignment, key, values[:, p], other=other)
  for name, part in arrays['fidelity'].items():
    for a, arithmetic in enumerate(precision.ARITHMETICS):
      for key, values in sorted(part['signs'].items()):
        add('fidelity', name, arithmetic, key, values[:, a])
  for name, part in arrays['jacobians'].items():
    for key, values in reach(part).items():
      add(
        'jacobians', name, part['recurrent'].training, key, values, of='median'
      )
  for name, part in arrays['accumulation'].items():
    along = part['epsilon']
    until = gradients.linear_until(
      along['n'][0], along['predicted'], along['measured'], LINEAR_TOLERANCE
    )
    add('accumulation', name, 'all', 'linear_until', until, of='median')
    for varied in growth.GROWTHS:
      if varied not in part:
        continue
      values = part[varied]
      if values['n'].shape[1] < 2:
        continue
      for e, epsilon in enumerate(growth.GROWTH_EPSILONS):
        for what in ('predicted', 'measured'):
          exponent = gradients.fitted_exponent(
            values['n'][0], values[what][..., e]
          )
          add(
            'accumulation',
            name,
            f'{varied}, epsilon {epsilon:g}',
            f'{what}_exponent',
            exponent,
          )
  return rows


def reach(part: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns what is told of a model's state Jacobians, [clips] each.

  `half_life_ms` of the exponential through the norms, infinite where they do
  not fall towards early frames; `norm_at_early_end`, that of ds_n / ds_i where
  the first `gradients.EARLY_SHARE` of the frames end; `one_step_median` and
  `one_step_max`, of ds_{j+1} / ds_j over the frames; for an LSTM `forget_gate`,
  the mean over frames.
  """
  starts, norms = part['start'][0], part['norms']
  life = []
  for row in norms:
    use = row > 0
    slope = np.nan
    if use.sum() > 1:
      slope = np.polyfit(starts[use], np.log2(row[use]), 1)[0]
    life.append(np.inf if slope <= 0 else frontend.FRAME_MS / slope)
  nearest = np.abs(starts - gradients.EARLY_SHARE * starts[-1]).argmin()
  result = {
    'half_life_ms': np.array(life),
    'norm_at_early_end': norms[:, nearest],
    'one_step_median': np.median(part['one_step'], -1),
    'one_step_max': part['one_step'].max(-1),
  }
  if 'forget' in part:
    result['forget_gate'] = part['forget'].mean(-1)
  return result


def _paired_d(values, axis=-1):
  """Returns the mean over the standard deviation (Cohen's d of pairs)."""
  spread = values.std(axis=axis, ddof=1)
  return values.mean(axis=axis) / np.where(spread > 0, spread, np.nan)


_STATISTICS: dict[str, Callable[..., np.ndarray]] = {
  'mean': np.mean,
  'median': np.median,
  'paired_d': _paired_d,
}


def _estimate(values, statistic, confidence):
  values = np.asarray(values, float)
  finite = values[np.isfinite(values)]
  result = {
    'num_clips': len(finite),
    'num_left_out': len(values) - len(finite),
    'estimate': float('nan'),
    'ci_low': float('nan'),
    'ci_high': float('nan'),
  }
  if len(finite) < 2:
    return result
  estimate = float(statistic(finite, axis=-1))
  if statistic is np.mean and len(finite) < FEWEST_OF_MEAN:
    return {**result, 'estimate': estimate}
  with np.errstate(invalid='ignore'):
    low, high = statistics.bootstrap_interval(
      finite,
      statistic,
      num_resamples=_NUM_RESAMPLES,
      confidence=confidence,
      seed=0,
    )
  return {**result, 'estimate': estimate, 'ci_low': low, 'ci_high': high}
