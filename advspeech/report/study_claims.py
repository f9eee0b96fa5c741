"""Claims of the paper that the studies of gradients and of features test."""

import collections

import numpy as np

from advspeech import feature_study, gradient_study, statistics, storage
from advspeech.report import claim
from advspeech.report import run as run_lib

# A gradient of which no more than this lies in the first 5/8 is close to zero
# there, as in the paper's Figure 5, which is of clips so long.
_CLOSE_TO_ZERO, _PAPER_CLIP_S = 0.05, 6.0
# An influence of which no more than this is left over a clip has vanished.
_VANISHED = 1e-3


def accumulation(run: run_lib.Run) -> claim.Claim:
  """Returns whether the loss grows with the samples moved."""
  text = (
    'At a fixed max-norm the change of activation grows in proportion to the '
    'number of samples moved (equations 3 to 5).'
  )
  rule = (
    'The 95 % interval of the exponent of n, of the measured change of loss, '
    'lies within 0.9 to 1.1.'
  )
  rows = [
    row
    for row in _gradient_summary(run)
    if row['part'] == 'accumulation'
    and row['setting'].startswith('samples, ')
    and row['statistic'] == 'measured_exponent'
  ]
  if rows:
    smallest = min(rows, key=lambda r: float(r['setting'].split()[-1]))
    rows = [r for r in rows if r['setting'] == smallest['setting']]
  answers = [claim.within(r, 0.9, 1.1) for r in rows]
  words = [
    f'{_model(r)}: exponent {claim.estimate(r)} ({r["setting"]}'
    + (f', {r["num_left_out"]} clips left out)' if r['num_left_out'] else ')')
    for r in rows
  ]
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def vanishing(run: run_lib.Run) -> claim.Claim:
  """Returns whether the influence of early states vanishes."""
  text = (
    'The influence of an early state on the last one vanishes with distance, '
    'in the LSTM too (equations 8 to 12).'
  )
  rule = (
    'The norm of ds_n/ds_i of an LSTM that learned its task falls, going back '
    f'over a clip, to {1000 * _VANISHED:g} per mille or less (95 % interval of '
    'the median number of halvings).'
  )
  summary = _gradient_summary(run)
  rows = [
    row
    for row in summary
    if row['part'] == 'jacobians'
    and row['setting'] == 'trained'
    and row['statistic'] == 'halvings_per_s'
    and row['model'] in _with(summary, 'forget_gate')
  ]
  clip_s = run.config['clip_s']
  enough = -np.log2(_VANISHED) / clip_s
  answers, words = [], []
  for row in rows:
    learned = _learned(run, row['model'])
    answers.append(claim.within(row, enough, np.inf) if learned else None)
    words.append(
      f'{_model(row)}: {claim.estimate(row)} halvings a second, '
      f'{clip_s * row["estimate"]:.1f} a clip of the {clip_s * enough:.1f} '
      'needed' + ('' if learned else _NOT_LEARNED)
    )
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def early_gradient(run: run_lib.Run) -> claim.Claim:
  """Returns whether the first samples have hardly a gradient."""
  text = (
    "WaveRNN's gradient is close to zero over the first 60,000 of 96,000 "
    "samples, WaveCNN's is not (Figure 5)."
  )
  rule = (
    f'In clips of {_PAPER_CLIP_S:g} s at most {claim.percent(_CLOSE_TO_ZERO)} '
    "of the L1 norm of a WaveRNN's gradient lies in the first 5/8 of the clip, "
    "more of every WaveCNN's (95 % intervals of the medians over clips), both "
    'of models that learned their task.'
  )
  if run.config['clip_s'] < _PAPER_CLIP_S:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      [
        f'It is about clips of {_PAPER_CLIP_S:g} s; those of this run have '
        f'{run.config["clip_s"]:g} s.'
      ],
      rule,
    )
  answers, words, cnn_is_not = [], [], []
  summary = _gradient_summary(run)
  lstm, recurrent = (
    _with(summary, name) for name in ('forget_gate', 'halvings_per_s')
  )
  for row in summary:
    if (row['part'], row['setting'], row['statistic']) != (
      *('clips', 'start, all', 'early_l1_share'),
    ):
      continue
    if row['model'] in recurrent - lstm:
      continue  # the plain tanh RNN
    learned = _learned(run, row['model'])
    close = claim.within(row, 0, _CLOSE_TO_ZERO) if learned else None
    if row['model'] in lstm:
      answers.append(close)
    else:
      cnn_is_not.append(close is False)
    words.append(
      f'{_model(row)}: median {claim.share(row)}{_spread(run, row["model"])}'
      + ('' if learned else _NOT_LEARNED)
    )
  if not (cnn_is_not and all(cnn_is_not)):
    answers = [None if answer else answer for answer in answers]
  return claim.Claim(text, claim.verdict(answers), _or_gradients(words), rule)


def _spread(run, model):
  """Returns how the early share of a model's gradient differs by clip."""
  path = run.path('gradients', 'clips.csv')
  shares = [
    row['early_l1_share']
    for row in (storage.read_table(path) if storage.exists(path) else ())
    if row['model'] == model
    and (row['alignment'], row['region']) == ('start', 'all')
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


def _learned(run, model):
  """Returns whether a model studied errs less than a blind guess."""
  path = run.path('gradients', 'fgsm.csv')
  for row in storage.read_table(path) if storage.exists(path) else ():
    if row['model'] == model and row['epsilon'] == 0:
      num_errors = round(row['error_rate'] * row['num_clips'])
      high = statistics.wilson_interval(num_errors, row['num_clips'])[1]
      return high < 1 - 1 / len(run.classes)
  return False


def _with(summary, statistic):
  """Returns the models whose state Jacobians have a statistic.

  Recurrent ones have `halvings_per_s`, and LSTMs `forget_gate`.
  """
  return {
    row['model']
    for row in summary
    if row['part'] == 'jacobians' and row['statistic'] == statistic
  }


def _gradient_summary(run):
  path = run.path('gradients', 'summary.csv')
  return storage.read_table(path) if storage.exists(path) else []


def _model(row):
  return gradient_study.member_title(row['model'])


def _or_gradients(words):
  return words or [
    'Run python -m launch.gradients with the same --config and --workdir.'
  ]


def conversion(run: run_lib.Run) -> claim.Claim:
  """Returns whether conversion loss can be the larger part."""
  text = (
    'Attacks on features carry a conversion loss besides their perturbation, '
    'and it can be the larger of the two (Figure 3, equation 6).'
  )
  rule = (
    'For some feature and the smallest budget tried the conversion loss has '
    'the larger L2 norm in more than half of the clips (95 % interval).'
  )
  path = run.path('features', 'budgets.csv')
  rows = [
    row
    for row in (storage.read_table(path) if storage.exists(path) else [])
    if row['representation'] != 'waveform'
    and row['method'] == 'fgsm'
    and row['kind'] == 'epsilon'
    and row['target'] == row['source']  # sizes are the same for every judge
    and row['budget'] > 0
    and row['num_attainable'] > 0
  ]
  if not rows:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      ['Run python -m launch.features with the same --config and --workdir.'],
      rule,
    )
  smallest: dict[tuple[str, str], run_lib.Row] = {}
  for row in rows:
    key = (row['representation'], row['through'], row['seed'])
    if row['budget'] <= smallest.get(key, row)['budget']:
      smallest[key] = row
  answers, words = collections.defaultdict(list), []
  for (name, through, seed), row in smallest.items():
    share, num = row['conversion_larger'], row['num_attainable']
    low, high = statistics.wilson_interval(round(share * num), num)
    known = {'estimate': share, 'ci_low': low, 'ci_high': high}
    answers[seed].append(claim.within(known, 0.5, 1))
    words.append(
      f'{feature_study.representation_title(name)}, gradient through '
      f'{through}, seed {seed}: {claim.share(known)} of clips at budget '
      f'{row["budget"]:g}'
    )
  found = [
    True if True in of_seed else None if None in of_seed else False
    for of_seed in answers.values()
  ]
  return claim.Claim(text, claim.verdict(found), words, rule)
