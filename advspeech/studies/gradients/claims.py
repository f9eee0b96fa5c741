"""Claims of the paper that the study of gradients tests."""

from typing import Any

import numpy as np

from advspeech import claim, section, statistics
from advspeech.studies.gradients import figures, summary
from advspeech.sweep import rates

Row = dict[str, Any]

# A gradient of which no more than this lies in the first 5/8 is close to zero
# there, as in the paper's Figure 5, which is of clips so long.
_CLOSE_TO_ZERO, _PAPER_CLIP_S = 0.05, 6.0
# An influence of which no more than this is left over a clip has vanished.
_VANISHED = 1e-3


# What n is in equations 3 to 5, as `tables` varies it. Random samples
# of one clip are no larger problem: small steps in them add up in whatever has
# a gradient, by Taylor's theorem.
DIMENSIONS = {
  'samples': 'random samples of a clip',
  'length_masked': 'seconds of a clip, from its start',
  'length_cut': 'seconds of a clip that is cut there',
  'rate': 'sampling rate',
}
_COUNTED = ('length_masked', 'rate')


def claimed(results: section.Results) -> list[Row]:
  """Returns the estimates that claims go by, rows of `summary.csv`.

  Those over trainings where a model has enough of them, and otherwise those of
  each training.
  """
  rows = results.table('summary')
  means = {row['model'] for row in rows if row['num_trainings'] > 1}
  return [
    row
    for row in rows
    if row['model'] in means or _mean_of(row['model']) not in means
  ]


def _mean_of(model):
  """Returns what the mean over a model's trainings is called."""
  return model.rpartition('-seed')[0] + summary.MEAN


def growth(results: section.Results) -> list[dict[str, object]]:
  """Returns how the loss grows with n, a row a (dimension, epsilon, model).

  Rows of the gradients' summary.csv, with `varied`, a key of `DIMENSIONS`, and
  `epsilon`.
  """
  rows = []
  for row in claimed(results):
    varied, _, epsilon = row['setting'].partition(', epsilon ')
    if (
      row['part'] == 'accumulation'
      and row['statistic'] == 'measured_exponent'
      and varied in DIMENSIONS
    ):
      rows.append({**row, 'varied': varied, 'epsilon': float(epsilon)})
  order = list(DIMENSIONS)
  return sorted(rows, key=lambda r: (order.index(r['varied']), r['epsilon']))


def accumulation(results: section.Results) -> claim.Claim:
  """Returns whether the loss grows with the dimension."""
  text = (
    'At a fixed max-norm the change of activation grows in proportion to the '
    'dimension n of the audio (equations 3 to 5): with its length and with its '
    'sampling rate.'
  )
  rule = (
    'By seconds (of a clip, moved from its start on) and by sampling rate the '
    'interval of the exponent of n, by speaker where there is one, of the '
    'measured change of loss at the '
    'smallest epsilon, lies within 0.9 to 1.1, for every model; in part where '
    "some do. Random samples of a clip do not count: it is Taylor's first "
    'order, of any function that has a gradient.'
  )
  rows = growth(results)
  smallest = min((row['epsilon'] for row in rows), default=0)
  answers, words = [], []
  for row in rows:
    if row['epsilon'] != smallest:
      continue
    counts = row['varied'] in _COUNTED
    if counts:
      answers.append(claim.within(row, 0.9, 1.1))
    words.append(
      f'{DIMENSIONS[row["varied"]].capitalize()}: {_model(row)}: exponent '
      f'{claim.estimate(row)}, {row["num_clips"]} clips, '
      f'{row["num_left_out"]} left out, whose change is not positive'
      + ('' if counts else ' (not counted)')
    )
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def vanishing(results: section.Results) -> claim.Claim:
  """Returns whether the influence of early states vanishes."""
  text = (
    'The influence of an early state on the last one vanishes with distance, '
    'in the LSTM too (equations 8 to 12).'
  )
  rule = (
    'The norm of ds_n/ds_i of an LSTM that learned its task falls, going back '
    f'over a clip, to {1000 * _VANISHED:g} per mille or less (interval of '
    'the median number of halvings, by speaker where there is one).'
  )
  rows_of_all = claimed(results)
  rows = [
    row
    for row in rows_of_all
    if row['part'] == 'jacobians'
    and row['setting'] == 'trained'
    and row['statistic'] == 'halvings_per_s'
    and row['model'] in _with(rows_of_all, 'forget_gate')
  ]
  clip_s = results.config['clip_s']
  enough = -np.log2(_VANISHED) / clip_s
  answers, words = [], []
  for row in rows:
    learned = _learned(results, row['model'])
    answers.append(claim.within(row, enough, np.inf) if learned else None)
    a_clip = {
      key: '' if row[key] == '' else clip_s * row[key]
      for key in ('estimate', *(f'ci_{end}' for end in rates.ENDS))
    }
    words.append(
      f'{_model(row)}: halvings a second {claim.estimate(row)}, a clip '
      f'{claim.estimate(a_clip)} of the {clip_s * enough:.1f} needed'
      + ('' if learned else _NOT_LEARNED)
    )
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def one_step(results: section.Results) -> claim.Claim:
  """Returns whether one step keeps the bound of equation 10."""
  rows: dict[tuple[str, str], dict[str, Row]] = {}
  for row in claimed(results):
    if row['part'] == 'jacobians' and row['statistic'].startswith('one_step_'):
      key = row['model'], row['setting']
      rows.setdefault(key, {})[row['statistic']] = row
  answers, words = [], []
  for (_, training), found in rows.items():
    largest, usual = found['one_step_max'], found['one_step_median']
    is_trained = training == 'trained'
    if is_trained:
      answers.append(claim.within(largest, 0, 1))
    words.append(
      f'{_model(largest)} ({training}): bound 1; largest step of a clip '
      f'{claim.estimate(largest)}, usual step {claim.estimate(usual)} (medians '
      f'of {largest["num_clips"]} clips)'
      + ('' if is_trained else ', not counted')
    )
  return claim.Claim(
    'The norm of one step, ds_j+1/ds_j, is at most 1, whence those of many '
    'steps vanish (equation 10, whose bound leaves out the weights W).',
    claim.verdict(answers),
    _or_gradients(words),
    'The largest one-step norm of a clip is at most 1 for every recurrent '
    'network that was trained (interval of the median over clips, by speaker '
    'where there is one).',
  )


def early_gradient(results: section.Results) -> claim.Claim:
  """Returns whether the first samples have hardly a gradient."""
  text = (
    "WaveRNN's gradient is close to zero over the first 60,000 of 96,000 "
    "samples, WaveCNN's is not (Figure 5)."
  )
  rule = (
    f'In clips of {_PAPER_CLIP_S:g} s at most {claim.percent(_CLOSE_TO_ZERO)} '
    "of the L1 norm of a WaveRNN's gradient lies in the first 5/8 of the clip, "
    "more of every WaveCNN's (intervals of the medians over clips, by speaker "
    'where there are some), both of models that learned their task.'
  )
  if results.config['clip_s'] < _PAPER_CLIP_S:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      [
        f'It is about clips of {_PAPER_CLIP_S:g} s; those of this run have '
        f'{results.config["clip_s"]:g} s.'
      ],
      rule,
    )
  answers, words, cnn_is_not = [], [], []
  rows_of_all = claimed(results)
  lstm, recurrent = (
    _with(rows_of_all, name) for name in ('forget_gate', 'halvings_per_s')
  )
  for row in rows_of_all:
    if (row['part'], row['setting'], row['statistic']) != (
      *('clips', 'start, all', 'early_l1_share'),
    ):
      continue
    if row['model'] in recurrent - lstm:
      continue  # the plain tanh RNN
    learned = _learned(results, row['model'])
    close = claim.within(row, 0, _CLOSE_TO_ZERO) if learned else None
    if row['model'] in lstm:
      answers.append(close)
    else:
      cnn_is_not.append(close is False)
    words.append(
      f'{_model(row)}: median {claim.share(row)}'
      + _spread(results, row['model'])
      + ('' if learned else _NOT_LEARNED)
    )
  if not (cnn_is_not and all(cnn_is_not)):
    answers = [None if answer else answer for answer in answers]
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def _spread(results, model):
  """Returns how the early share of a model's gradient differs by clip."""
  shares = [
    row['early_l1_share']
    for row in results.table('clips')
    if model in (row['model'], _mean_of(row['model']))
    and (row['alignment'], row['region']) == ('start', 'all')
    and not np.isnan(row['early_l1_share'])
  ]
  if not shares:
    return ''
  low, high = np.quantile(shares, [0.25, 0.75])
  below = np.mean(np.array(shares) <= _CLOSE_TO_ZERO)
  return (
    f', quartiles {claim.percent(low)} and {claim.percent(high)}, '
    f'{claim.percent(below)} of {len(shares)} clips below the limit'
  )


_NOT_LEARNED = ', not known to be better than chance'


def _learned(results, model):
  """Returns whether a model studied errs less than a blind guess.

  Of a mean over trainings: whether all of them do.
  """
  chance = 1 - 1 / len(results.classes)
  learned = []
  for row in results.table('fgsm'):
    if row['epsilon'] == 0 and model in (row['model'], _mean_of(row['model'])):
      num_errors = round(row['error_rate'] * row['num_clips'])
      high = statistics.wilson_interval(num_errors, row['num_clips'])[1]
      learned.append(high < chance)
  return bool(learned) and all(learned)


def _with(rows, statistic):
  """Returns the models whose state Jacobians have a statistic.

  Recurrent ones have `halvings_per_s`, and LSTMs `forget_gate`.
  """
  return {
    row['model']
    for row in rows
    if row['part'] == 'jacobians' and row['statistic'] == statistic
  }


def _model(row):
  return figures.member_title(row['model'])


def _or_gradients(words):
  return words or claim.how_to_test('gradients')


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [
    make(results)
    for make in (accumulation, one_step, vanishing, early_gradient)
  ]
