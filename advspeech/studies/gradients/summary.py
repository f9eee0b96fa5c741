"""Estimates over clips with bootstrap intervals: `summary.csv`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import gradients, statistics
from advspeech.models import frontend
from advspeech.statistics import trainings
from advspeech.studies.gradients import analysis, growth, precision
from advspeech.sweep import rates

LINEAR_TOLERANCE = 0.1
_NUM_RESAMPLES = 2000
# Behind the name of a model: of the mean over its trainings.
MEAN = '-mean'
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
  'num_trainings',
  'num_clips',
  'num_left_out',
  'num_speakers',
  'estimate',
  'ci_low',
  'ci_high',
  'ci_speaker_low',
  'ci_speaker_high',
)


def summary_rows(
  names: Sequence[str],
  arrays: Mapping[str, Any],
  confidence: float,
  *,
  speakers: np.ndarray,
  studied: np.ndarray,
) -> list[dict[str, Any]]:
  """Returns estimates over clips with bootstrap intervals.

  A mean of fewer than `FEWEST_OF_MEAN` clips has none. Means and medians have
  another by speaker, which holds that by clip, where enough speakers are known.
  Behind the rows of models stand those over trainings, `<model>-mean`, where
  there are enough of a model, of pairs of the same seed.

  Args:
    names: Of the models.
    arrays: Of the study.
    confidence: Of the intervals.
    speakers: [clips] who speaks, '' where unknown.
    studied: The same of the clips whose state Jacobians and accumulation are
      taken.
  """
  rows = []
  of_seeds: dict[Any, dict[str, np.ndarray]] = {}

  def add(part, model, setting, statistic, values, *, other='', of=None):
    if statistic == 'half_life_ms':
      # Half-lives are infinite where nothing decays; their inverse is 0.
      statistic, values = 'halvings_per_s', 1000 / values
    of = of or ('median' if statistic in _SKEWED else 'mean')
    of_few = part in ('jacobians', 'accumulation')
    voices = studied if of_few else speakers
    rows.append(
      {
        'part': part,
        'model': model,
        'other': other,
        'setting': setting,
        'statistic': statistic,
        'of': of,
        'num_trainings': 1,
        **_estimate(values, of, confidence, voices),
      }
    )
    (base, seed), (other_base, other_seed) = map(_split, (model, other))
    if seed and other_seed in ('', seed):
      key = part, base, other_base, setting, statistic, of
      of_seeds.setdefault(key, {})[seed] = np.asarray(values, float)

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
  return rows + _over_trainings(of_seeds, confidence)


def _split(name):
  """Returns model and seed of 'wavecnn-seed0', ('wavecnn', '0')."""
  model, _, seed = name.rpartition('-seed')
  return (model, seed) if seed.isdecimal() else (name, '')


def _over_trainings(of_seeds, confidence):
  """Returns rows of means over seeds, of what enough of them have."""
  rows = []
  for key, by_seed in of_seeds.items():
    if len(by_seed) < trainings.FEWEST_TRAININGS:
      continue
    part, model, other, setting, statistic, of = key
    values = np.stack(list(by_seed.values()))
    finite = np.isfinite(values).all(0)
    left = values[:, finite]
    row = {
      'part': part,
      'model': f'{model}{MEAN}',
      'other': f'{other}{MEAN}' if other else '',
      'setting': setting,
      'statistic': statistic,
      'of': of,
      'num_trainings': len(values),
      'num_clips': int(finite.sum()),
      'num_left_out': int((~finite).sum()),
      'num_speakers': '',
      **dict.fromkeys(('estimate', 'ci_low', 'ci_high'), float('nan')),
      **dict.fromkeys(_BY_SPEAKER, ''),
    }
    if left.shape[1] > 1:
      compute = _STATISTICS[of]
      row['estimate'] = float(compute(left, axis=-1).mean())
      if of != 'mean' or left.shape[1] >= FEWEST_OF_MEAN:
        row['ci_low'], row['ci_high'] = trainings.statistic_interval(
          left,
          compute,
          num_resamples=_NUM_RESAMPLES,
          confidence=confidence,
        )
    rows.append(row)
  return rows


def reach(part: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns the summary of a model's state Jacobians, [clips] each.

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


_BY_SPEAKER = ('ci_speaker_low', 'ci_speaker_high')
_INTERVALS_BY_SPEAKER = {
  'mean': statistics.cluster_bootstrap_interval,
  'median': statistics.cluster_median_interval,
}


def _estimate(values, of, confidence, speakers):
  values, statistic = np.asarray(values, float), _STATISTICS[of]
  is_finite = np.isfinite(values)
  finite, voices = values[is_finite], speakers[is_finite]
  result = {
    'num_clips': len(finite),
    'num_left_out': len(values) - len(finite),
    'num_speakers': rates.num_speakers(voices),
    'estimate': float('nan'),
    'ci_low': float('nan'),
    'ci_high': float('nan'),
    **dict.fromkeys(_BY_SPEAKER, ''),
  }
  if len(finite) < 2:
    return result
  estimate = float(statistic(finite, axis=-1))
  if of == 'mean' and len(finite) < FEWEST_OF_MEAN:
    return {**result, 'estimate': estimate}
  with np.errstate(invalid='ignore'):
    low, high = statistics.bootstrap_interval(
      finite,
      statistic,
      num_resamples=_NUM_RESAMPLES,
      confidence=confidence,
      seed=0,
    )
  result |= {'estimate': estimate, 'ci_low': low, 'ci_high': high}
  if of in _INTERVALS_BY_SPEAKER and rates.are_enough(voices):
    outer = _INTERVALS_BY_SPEAKER[of](
      finite, voices, num_resamples=_NUM_RESAMPLES, confidence=confidence
    )
    ends = min(low, outer[0]), max(high, outer[1])
    result |= dict(zip(_BY_SPEAKER, ends, strict=True))
  return result
