"""The paper's claims, each with what a run says of it.

A verdict is drawn from the tables by the rule in the claim's docstring, for
every seed (and model) on its own; 'in part' is where they disagree.
"""

import collections
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from advspeech import figures, storage
from advspeech.report import run as run_lib

CONFIRMED, REFUTED, IN_PART = 'confirmed', 'refuted', 'in part'
NOT_TESTED = 'not tested'
# The paper's numbers: (clean accuracy, epsilon, error under FGSM there).
PAPER = {
  'gender': {'wavernn': (0.88, 0.02, 0.31), 'wavecnn': (0.88, 0.02, 0.25)},
  'emotion': {'wavernn': (0.84, 0.015, 0.48), 'wavecnn': (0.85, 0.015, 0.425)},
  'speaker': {'wavernn': (0.69, 0.032, 0.62), 'wavecnn': (0.73, 0.032, 0.44)},
}
# Filters that anyone has at hand, by how their names begin.
_SIMPLE = ('lowpass', 'highpass', 'bandpass', 'median', 'resample')
# A gradient of which no more than this lies in the first 5/8 is close to zero
# there, as in the paper's Figure 5.
_CLOSE_TO_ZERO = 0.05
_SHARED = 'wavernn_on_wavecnn'


class Claim(NamedTuple):
  """A claim and what was found.

  Attributes:
    text: What the paper says, and where.
    verdict: 'confirmed', 'refuted', 'in part' or 'not tested'.
    found: The numbers; or how it can be tested.
    rule: When it counts as confirmed.
  """

  text: str
  verdict: str
  found: str
  rule: str


def of_run(run: run_lib.Run) -> list[Claim]:
  """Returns every claim with its verdict on this run."""
  return [claim(run) for claim in _CLAIMS]


def _verdict(answers: Iterable[bool]) -> str:
  answers = list(answers)
  if not answers:
    return NOT_TESTED
  if all(answers):
    return CONFIRMED
  return IN_PART if any(answers) else REFUTED


def _effective(run):
  return _broken(
    run,
    [pair for pair in run.judges if pair[0] == run.source],
    'The attack is effective: FGSM raises the error of the model it is made on '
    '(Figure 6).',
  )


def _transferred(run):
  others = [
    (name, seed)
    for name, seed in run.judges
    if name not in (run.source, _SHARED)
  ]
  return _broken(
    run,
    others,
    f'It transfers: examples made on {figures.title(run.source)} break a model '
    'that they were not made on (Figure 6).',
  )


def _broken(run, judges, text):
  """Returns a claim that holds where the attack does more than random signs."""
  answers, words = [], []
  for name, seed in judges:
    best = _best_excess(run, name, seed)
    if best is None:
      continue
    attacked = run.at(name, seed, best['epsilon'])
    found = best['mcnemar_p'] * best['num_tried'] < 1 - run.confidence
    answers.append(found and best['excess'] > 0)
    words.append(
      f'{run_lib.member_title(name, seed)}: {_percent(attacked["error_rate"])} '
      f'against {_percent(best["error_rate"])} under random signs at epsilon '
      f'{best["epsilon_given"]} ({_points(best, "excess")})'
    )
  return Claim(
    text,
    _verdict(answers),
    '; '.join(words) or 'No such model was judged.',
    'At some epsilon the error is above that under random signs of the same '
    "size: McNemar's exact test on the same clips, level shared out among the "
    'epsilons (Bonferroni).',
  )


def _best_excess(run, name, seed):
  """Returns the control's row where the attack exceeds it most."""
  rows = [
    row
    for row in run.first
    if (row['target'], row['seed'], row['control'])
    == (name, seed, 'random_sign')
    and row['epsilon'] > 0
  ]
  if not rows:
    return None
  return {**max(rows, key=lambda r: r['excess']), 'num_tried': len(rows)}


def _linear(run):
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavecnn':
      continue
    rows = _curve(run, name, seed)
    slope = np.polyfit(
      [r['epsilon'] for r in rows], [r['error_rate'] for r in rows], 1
    )
    line = np.polyval(slope, [r['epsilon'] for r in rows])
    missed = sum(
      not r['ci_low'] <= at <= r['ci_high']
      for r, at in zip(rows, line, strict=True)
    )
    answers.append(not missed)
    words.append(
      f'seed {seed}: the best line misses the intervals of {missed} of '
      f'{len(rows)} points'
    )
  return Claim(
    "WaveCNN's error rises in a straight line with epsilon.",
    _verdict(answers),
    '; '.join(words) or 'No WaveCNN was judged.',
    'The least-squares line passes through the interval of every point.',
  )


def _curve(run, name, seed):
  rows = [
    row
    for row in run.first
    if (row['target'], row['seed'], row['control']) == (name, seed, '')
  ]
  return sorted(rows, key=lambda row: row['epsilon'])


def _flat_then_jump(run):
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavernn':
      continue
    rows = _curve(run, name, seed)
    rates = np.array([row['error_rate'] for row in rows])
    steps = np.diff(rates)
    total = rates.max() - rates[0]
    if not len(steps) or total <= 0:
      continue
    share = steps.max() / total
    at = int(steps.argmax())
    answers.append(share > 0.5 and rates[at] <= rows[0]['ci_high'])
    words.append(
      f'seed {seed}: the steepest step, from epsilon '
      f'{rows[at]["epsilon_given"]} to {rows[at + 1]["epsilon_given"]}, makes '
      f'{_percent(share)} of the whole rise, from {_percent(rates[at])}'
    )
  return Claim(
    "WaveRNN's error stays flat under small perturbations, then jumps.",
    _verdict(answers),
    '; '.join(words) or 'No WaveRNN was judged.',
    'One step between neighbouring epsilons makes more than half of the rise, '
    'and begins inside the interval of the clean error.',
  )


def _fluctuates(run):
  text = 'The gender curve of WaveRNN fluctuates: it falls where epsilon grows.'
  rule = (
    "McNemar's test finds a fall between two epsilons; checked after every "
    'sweep.'
  )
  if run.task != 'gender' or not any(n == 'wavernn' for n, _ in run.judges):
    return Claim(
      text, NOT_TESTED, 'It is about WaveRNN on the gender task.', rule
    )
  falls = [
    f
    for f in run.findings
    if f['name'] == 'non_monotone_curve'
    and f.get('where', '').startswith(f'{run.attack} on {run.source}')
    and f.get('where', '').endswith('judged by wavernn')
  ]
  seeds = sorted({s for n, s in run.judges if n == 'wavernn'})
  answers = [
    any(f' seed {seed},' in f['where'] for f in falls) for seed in seeds
  ]
  found = '; '.join(f['sentence'] for f in falls)
  return Claim(text, _verdict(answers), found or 'No curve falls.', rule)


def _vulnerability(run):
  del run
  return Claim(
    'The clean accuracy of a model does not tell how vulnerable it is.',
    NOT_TESTED,
    'It is a claim across tasks: python -m launch.report --compare RUN RUN '
    'puts several runs on one page.',
    'Several runs are needed.',
  )


def _accumulation(run):
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
  answers = [r['ci_low'] >= 0.9 and r['ci_high'] <= 1.1 for r in rows]
  words = [
    f'{r["model"]}: exponent {_estimate(r)} ({r["setting"]})' for r in rows
  ]
  return Claim(text, _verdict(answers), _or_gradients(words), rule)


def _vanishing(run):
  text = (
    'The influence of an early state on the last one vanishes with distance, '
    'in the LSTM too (equations 8 to 12).'
  )
  rule = (
    'The norm of ds_n/ds_i of a trained LSTM is halved, going back, at a rate '
    'above zero (95 % interval).'
  )
  rows = [
    row
    for row in _gradient_summary(run)
    if row['part'] == 'jacobians'
    and row['setting'] == 'trained'
    and row['statistic'] == 'halvings_per_s'
  ]
  answers = [row['ci_low'] > 0 for row in rows]
  words = [f'{r["model"]}: {_estimate(r)} halvings a second' for r in rows]
  return Claim(text, _verdict(answers), _or_gradients(words), rule)


def _early_gradient(run):
  text = (
    "WaveRNN's gradient is close to zero over the first 60,000 of 96,000 "
    "samples, WaveCNN's is not (Figure 5)."
  )
  rule = (
    f'At most {_percent(_CLOSE_TO_ZERO)} of the L1 norm of a WaveRNN gradient '
    'lies in the first 5/8 of the clip (upper end of the 95 % interval).'
  )
  rows = [
    row
    for row in _gradient_summary(run)
    if row['part'] == 'clips'
    and row['setting'] == 'start, all'
    and row['statistic'] == 'early_l1_share'
  ]
  answers = [
    row['ci_high'] <= _CLOSE_TO_ZERO
    for row in rows
    if row['model'].rpartition('/')[2].startswith('wavernn')
  ]
  words = [f'{r["model"]}: {_share(r)}' for r in rows]
  return Claim(text, _verdict(answers), _or_gradients(words), rule)


def _gradient_summary(run):
  path = run.path('gradients', 'summary.csv')
  return storage.read_table(path) if os.path.exists(path) else []


def _or_gradients(words: Sequence[str]) -> str:
  return '; '.join(words) or (
    'Run python -m launch.gradients with the same --config and --workdir.'
  )


def _conversion(run):
  text = (
    'Attacks on features carry a conversion loss besides their perturbation, '
    'and it can be the larger of the two (Figure 3, equation 6).'
  )
  rule = (
    'For some feature and budget the conversion loss has the larger L2 norm in '
    'more than half of the clips.'
  )
  path = run.path('features', 'budgets.csv')
  rows = [
    row
    for row in (storage.read_table(path) if os.path.exists(path) else [])
    if row['representation'] != 'waveform'
    and row['method'] == 'fgsm'
    and row['kind'] == 'epsilon'
    and row['budget'] > 0
    and isinstance(row['conversion_larger'], float | int)
  ]
  if not rows:
    return Claim(
      text,
      NOT_TESTED,
      'Run python -m launch.features with the same --config and --workdir.',
      rule,
    )
  largest: dict[str, run_lib.Row] = {}
  for row in rows:
    name = row['representation']
    if row['conversion_larger'] >= largest.get(name, row)['conversion_larger']:
      largest[name] = row
  words = [
    f'{name.replace("_", ", ", 1).replace("_", " ")}: '
    f'{_percent(row["conversion_larger"])} of clips at budget {row["budget"]:g}'
    for name, row in largest.items()
  ]
  found = any(row['conversion_larger'] > 0.5 for row in largest.values())
  return Claim(text, _verdict([found]), '; '.join(words), rule)


def _filters(run):
  rule = (
    'Behind every simple filter at least half of the rise in error is left: '
    'attacked less clean, both filtered, against the same without a filter.'
  )
  text = 'The perturbation is broadband: simple filtering does not remove it.'
  rises = collections.defaultdict(list)
  for row in run_lib.filters(run):
    if row['clean'] and row['blind']:
      rise = row['blind']['error_rate'] - row['clean']['error_rate']
      rises[row['transform']].append(rise)
  answers, words = [], []
  without = np.mean(rises.pop('', [0]))
  for transform, found in rises.items():
    if transform.startswith(_SIMPLE) and without > 0:
      left = np.mean(found)
      answers.append(left >= 0.5 * without)
      words.append(
        f'{transform}: {100 * left:.1f} of {100 * without:.1f} points left'
      )
  if words:
    words.append(f'at epsilon {run.telling_epsilon:g}, mean over models')
  return Claim(
    text,
    _verdict(answers),
    '; '.join(words) or 'The sweep names no filter in config.sweep.transforms.',
    rule,
  )


def _robust_to_noise(run):
  answers, words = [], []
  for name, seed in run.judges:
    best = _best_excess(run, name, seed)
    clean = run.at(name, seed, 0)
    if best is None or clean is None:
      continue
    broken = best['mcnemar_p'] * best['num_tried'] < 1 - run.confidence
    answers.append(broken and best['error_rate'] <= clean['ci_high'])
    words.append(
      f'{run_lib.member_title(name, seed)}: clean '
      f'{_percent(clean["error_rate"])}, random signs '
      f'{_percent(best["error_rate"])} at epsilon {best["epsilon_given"]}'
    )
  return Claim(
    'Models are robust to noise, yet fooled by a crafted perturbation of the '
    'same size.',
    _verdict(answers),
    '; '.join(words) or 'No control was judged.',
    'Where the attack exceeds random signs by most, and significantly, the '
    'error under random signs is within the interval of the clean error.',
  )


def _shared_frontend(run):
  text = 'Transfer comes from the front end that both models have in common.'
  rule = (
    "At one epsilon the excess over noise of a WaveRNN on WaveCNN's own front "
    'end is above that of a WaveRNN with its own; in part, if that one is '
    'broken significantly too.'
  )
  answers, words = [], []
  epsilon = run.telling_epsilon
  for seed in sorted({s for n, s in run.judges if n == _SHARED}):
    shared, own = (
      run.at(name, seed, epsilon, 'random_sign')
      for name in (_SHARED, 'wavernn')
    )
    if shared is None or own is None:
      continue
    more = shared['excess'] > own['excess']
    answers += [more, more and own['excess_low'] <= 0]
    words.append(
      f'seed {seed}: shared front end {_points(shared, "excess")}, own '
      f'{_points(own, "excess")} over noise at epsilon {epsilon:g}'
    )
  return Claim(
    text,
    _verdict(answers),
    '; '.join(words)
    or f'Add {_SHARED} to config.models: a WaveRNN on the front end of '
    'WaveCNN.',
    rule,
  )


def _adversarial_training(run):
  del run
  return Claim(
    'Adversarial training can defend where the attack is known (Discussion).',
    NOT_TESTED,
    'No model of this run was trained on adversarial examples.',
    'A defended run and an undefended one side by side: launch.report '
    '--compare.',
  )


def _privacy(run):
  rule = (
    "The attacked task's error exceeds noise significantly, the other task's "
    'does not.'
  )
  text = (
    'Privacy: a perturbation can hide one trait while another analysis still '
    'works (Introduction).'
  )
  own = [pair for pair in run.judges if pair[0] in run.config['models']]
  others = [pair for pair in run.judges if pair[0] not in run.config['models']]
  answers, words = [], []
  for judges, hidden in ((own, True), (others, False)):
    for name, seed in judges if others else ():
      row = run.at(name, seed, run.telling_epsilon, 'random_sign')
      if row is None:
        continue
      broken = row['mcnemar_p'] < 1 - run.confidence and row['excess'] > 0
      answers.append(broken == hidden)
      words.append(
        f'{os.path.basename(name)}, seed {seed}: {_points(row, "excess")}'
      )
  return Claim(
    text,
    _verdict(answers),
    '; '.join(words)
    or 'No model of another task judged; name one in config.sweep.checkpoints.',
    rule,
  )


def _smallest(run):
  text = (
    "A small perturbation changes the model's own answer (equation 1: the "
    'smallest one that does).'
  )
  rule = (
    'Some epsilon tried changes the answer for more than half of the clips.'
  )
  path = run.path('attack', 'minimal.csv')
  by_judge = collections.defaultdict(list)
  mask = run.config['sweep']['masks'][0]
  for row in storage.read_table(path) if os.path.exists(path) else ():
    if (
      row['success'] == 'own'
      and row['source'] == run.source
      and row['seed'] == row['target_seed']
      and (row['attack'], row['mask']) == (run.attack, mask)
    ):
      by_judge[row['target'], row['seed']].append(row['epsilon'])
  answers, words = [], []
  for (name, seed), epsilons in by_judge.items():
    changed = np.isfinite(epsilons)
    answers.append(bool(changed.mean() > 0.5))
    median = f'{np.median(epsilons):g}' if answers[-1] else 'beyond those tried'
    words.append(
      f'{run_lib.member_title(name, seed)}: {_percent(changed.mean())} of '
      f'clips, median {median}'
    )
  return Claim(
    text, _verdict(answers), '; '.join(words) or 'No minimal.csv.', rule
  )


def _percent(rate: float) -> str:
  return f'{100 * rate:.1f} %'


def _points(row, key):
  low, high = 100 * row[f'{key}_low'], 100 * row[f'{key}_high']
  return f'{100 * row[key]:+.1f} points [{low:.1f}, {high:.1f}]'


def _estimate(row):
  return f'{row["estimate"]:.2f} [{row["ci_low"]:.2f}, {row["ci_high"]:.2f}]'


def _share(row):
  low, high = 100 * row['ci_low'], 100 * row['ci_high']
  return f'{100 * row["estimate"]:.1f} % [{low:.1f}, {high:.1f}]'


_CLAIMS: tuple[Callable[[run_lib.Run], Claim], ...] = (
  _effective,
  _transferred,
  _linear,
  _flat_then_jump,
  _fluctuates,
  _vulnerability,
  _accumulation,
  _conversion,
  _vanishing,
  _early_gradient,
  _filters,
  _robust_to_noise,
  _shared_frontend,
  _adversarial_training,
  _privacy,
  _smallest,
)
