"""Claims of the paper on the shape of the curve of error against epsilon."""

import numpy as np

from advspeech import claim, statistics
from advspeech.report import run as run_lib
from advspeech.report import titles

# Of a curve, with the clean one, before its shape is told.
_FEWEST_POINTS = 4


def linear(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveCNN's error rises in a straight line."""
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavecnn':
      continue
    rows = _curve(run, name, seed)
    if reason := _flat(rows):
      answers.append(None)
      words.append(f'seed {seed}: {reason}')
      continue
    # All of them at once are to hold the line with the run's confidence.
    each = 1 - (1 - run.confidence) / len(rows)
    intervals = np.array(
      [
        statistics.wilson_interval(r['num_errors'], r['num_clips'], each)
        for r in rows
      ]
    )
    epsilons = [r['epsilon'] for r in rows]
    line = np.polyval(
      np.polyfit(
        epsilons,
        [r['error_rate'] for r in rows],
        1,
        # A rate near 0 or 1 is known better than one near a half.
        w=1 / np.ptp(intervals, axis=1),
      ),
      epsilons,
    )
    low, high = intervals.T
    missed = int(((line < low) | (line > high)).sum())
    answers.append(not missed)
    words.append(
      f'seed {seed}: the best line misses the widened intervals of {missed} '
      f'of {len(rows)} points'
    )
  return claim.Claim(
    "WaveCNN's error rises in a straight line with epsilon.",
    claim.verdict(answers),
    words or ['No WaveCNN was judged.'],
    'The error rises beyond the intervals, and the least-squares line, each '
    'point weighted by the width of its interval, passes through the interval '
    'of every point, level shared out among the points (Bonferroni).',
  )


def _flat(rows):
  """Returns why a curve has no shape to speak of, '' if it has one."""
  if len(rows) < _FEWEST_POINTS:
    return f'{len(rows)} epsilons are too few'
  highest = max(rows, key=lambda row: row['error_rate'])
  rises = highest['ci_low'] > rows[0]['ci_high']
  return '' if rises else 'the error does not rise beyond its intervals'


def _curve(run, name, seed):
  rows = [
    row
    for row in run.first
    if (row['target'], row['seed'], row['control']) == (name, seed, '')
  ]
  return sorted(rows, key=lambda row: row['epsilon'])


def flat_then_jump(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveRNN's error is flat and then jumps."""
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavernn':
      continue
    rows = _curve(run, name, seed)
    if reason := _flat(rows):
      answers.append(None)
      words.append(f'seed {seed}: {reason}')
      continue
    # Each is reached beyond the first of its two epsilons, and by the second.
    begins, ends = (_reached(rows, share) for share in (_BEGUN, _DONE))
    jumps = None
    if begins[0] >= _JUMP * ends[1]:
      jumps = True
    elif begins[1] <= _JUMP * ends[0]:
      jumps = False
    control = run.at(name, seed, ends[1], run.control)
    by_noise = control is not None and control['excess_low'] <= 0
    answers.append(None if jumps and by_noise else jumps)
    words.append(
      f'seed {seed}: {claim.percent(_BEGUN)} of the rise is reached between '
      f'epsilon {begins[0]:g} and {begins[1]:g}, {claim.percent(_DONE)} '
      f'between {ends[0]:g} and {ends[1]:g}'
      + ('; under noise it comes as far' if jumps and by_noise else '')
      + ('; the epsilons lie too far apart to tell' if jumps is None else '')
    )
  return claim.Claim(
    "WaveRNN's error stays flat under small perturbations, then jumps.",
    claim.verdict(answers),
    words or ['No WaveRNN was judged.'],
    f'The epsilon at which {claim.percent(_BEGUN)} of the rise is reached is '
    f'at least {_JUMP:g} times that of {claim.percent(_DONE)} (on a straight '
    f'line {_BEGUN / _DONE:.2f} times), wherever between the epsilons tried '
    'they lie, and the error ends above noise of the same size.',
  )


# Of a rise in error: where it begins and is done, and how near these lie to
# each other, as epsilons, where it is a jump.
_BEGUN, _DONE, _JUMP = 0.1, 0.9, 0.5


def _reached(rows, share):
  """Returns the epsilons between which a share of the rise is first reached."""
  rates = np.array([row['error_rate'] for row in rows])
  level = rates[0] + share * (rates.max() - rates[0])
  at = int(np.argmax(rates >= level))
  return rows[max(0, at - 1)]['epsilon'], rows[at]['epsilon']


def fluctuates(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveRNN's error on gender goes up and down."""
  text = 'The gender curve of WaveRNN fluctuates: it falls where epsilon grows.'
  rule = (
    "McNemar's test finds a fall between two epsilons; checked after every "
    'sweep.'
  )
  if run.task != 'gender' or 'wavernn' not in dict(run.judges):
    return claim.Claim(
      text, claim.NOT_TESTED, ['It is about WaveRNN on the gender task.'], rule
    )
  mask = run.config['sweep']['masks'][0]
  falls = [
    f
    for f in run.findings
    if f['name'] == 'non_monotone_curve'
    and (f['attack'], f['source']) == (run.attack, run.source)
    and (f['mask'], f['target']) == (mask, 'wavernn')
  ]
  seeds = sorted({r['seed'] for r in run.first if r['target'] == 'wavernn'})
  answers = [any(f['seed'] == seed for f in falls) or None for seed in seeds]
  words = [f'{titles.finding_title(f)}: {f["sentence"]}' for f in falls]
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or ['No curve falls.'],
    rule,
  )


def vulnerability(run: run_lib.Run) -> claim.Claim:
  """Returns that one run cannot tell."""
  del run
  return claim.Claim(
    'The clean accuracy of a model does not tell how vulnerable it is.',
    claim.NOT_TESTED,
    [
      'It is a claim across tasks: python -m launch.report --compare RUN RUN '
      'puts several runs on one page.'
    ],
    'Several runs are needed.',
  )
