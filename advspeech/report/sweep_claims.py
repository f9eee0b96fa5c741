"""Claims of the paper that the sweep tests."""

import collections

import numpy as np

from advspeech import claim, figures, statistics, storage
from advspeech.report import run as run_lib

# Filters that anyone has at hand, by how their names begin.
_SIMPLE = ('lowpass', 'highpass', 'bandpass', 'median', 'resample')
_SHARED = 'wavernn_on_wavecnn'
# Of a curve, with the clean one, before its shape is told.
_FEWEST_POINTS = 4
# A trait still tells if noise of the same size spares it to so many points.
_SPARED = 0.1


def effective(run: run_lib.Run) -> claim.Claim:
  """Returns whether FGSM breaks the model it is made on."""
  return _broken(
    run,
    [pair for pair in run.judges if pair[0] == run.source],
    'The attack is effective: FGSM raises the error of the model it is made on '
    '(Figure 6).',
  )


def transferred(run: run_lib.Run) -> claim.Claim:
  """Returns whether it breaks a model it was not made on."""
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
  """Returns a claim that holds where the attack does more than noise."""
  answers, words = [], []
  for name, seed in judges:
    rows = _noise_rows(run, name, seed)
    if not rows:
      continue
    broken = _broken_at(run, rows)
    answers.append(True if broken else None)
    words.append(_against_noise(run, broken or rows))
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or ['No such model was judged.'],
    f'At some epsilon the error is above that under {_noise(run)}: {_TESTED}.',
  )


# How it is decided at which epsilons the attack does more than noise.
_TESTED = (
  "McNemar's exact test on the same clips, level shared out among the epsilons "
  '(Bonferroni), and the interval of the difference by speaker, where there is '
  'one, above zero'
)


def _noise(run):
  return figures.control_title(run.control)


def _noise_rows(run, name, seed):
  """Returns the rows of the attack's control above epsilon 0, ascending."""
  rows = [
    row
    for row in run.first
    if (row['target'], row['seed'], row['control']) == (name, seed, run.control)
    and row['epsilon'] > 0
  ]
  return sorted(rows, key=lambda row: row['epsilon'])


def _broken_at(run, rows):
  """Returns the rows at which the attack breaks more clips than noise does.

  Args:
    run: The run.
    rows: Of `_noise_rows`.
  """
  return [
    row
    for row in rows
    if row['excess'] > 0
    and run.corrected_p(row) < 1 - run.confidence
    and (row['excess_speaker_low'] == '' or row['excess_speaker_low'] > 0)
  ]


def _against_noise(run, rows):
  """Returns a judge's errors where, of these rows, the attack exceeds most."""
  row = max(rows, key=lambda r: r['excess'])
  name, seed = row['target'], row['seed']
  attacked = run.at(name, seed, row['epsilon'])
  return (
    f'{run_lib.member_title(name, seed)}: '
    f'{claim.percent(attacked["error_rate"])} against '
    f'{claim.percent(row["error_rate"])} under noise at epsilon '
    f'{row["epsilon_given"]} ({claim.points(row, "excess")}, corrected p '
    f'{run.corrected_p(row):.2g})'
  )


def direct(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveRNN cannot be attacked but by way of another."""
  text = (
    'WaveRNN cannot be attacked directly, for its gradient vanishes: examples '
    f'made on {figures.title(run.source)} break it, its own do not (the reason '
    'for WaveCNN, “The Substitution Model Approach”).'
  )
  rule = (
    'Examples made on WaveRNN itself do no more than noise at any epsilon, and '
    f'those made on {figures.title(run.source)} do at some; refuted where its '
    f'own do ({_TESTED}).'
  )
  mask = run.config['sweep']['masks'][0]
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavernn' or name == run.source:
      continue
    own = [
      row
      for row in run.rows
      if (row['source'], row['target'], row['control'])
      == (name, name, run.control)
      and row['seed'] == row['target_seed'] == seed
      and (row['attack'], row['mask']) == (run.attack, mask)
      and row['epsilon'] > 0
    ]
    pairs = [
      row
      for row in run.direct
      if (row['source'], row['target'], row['seed']) == (run.source, name, seed)
      and (row['attack'], row['mask']) == (run.attack, mask)
      and row['epsilon'] > 0
    ]
    if not (own and pairs):
      continue
    broken = _broken_at(run, own)
    transferred = _broken_at(run, _noise_rows(run, name, seed))
    answers.append(False if broken else True if transferred else None)
    # Where its own attack is above noise by most.
    noise = max(broken or own, key=lambda row: row['excess'])
    pair = next(r for r in pairs if r['epsilon'] == noise['epsilon'])
    other = run.at(name, seed, noise['epsilon'], run.control)
    words.append(
      f'{run_lib.member_title(name, seed)}: at epsilon '
      f'{noise["epsilon_given"]} {claim.percent(pair["direct_error_rate"])} by '
      f'its own examples ({claim.points(noise, "excess")} over noise), '
      f'{claim.percent(pair["error_rate"])} by those made on '
      f'{figures.title(run.source)} ({claim.points(other, "excess")} over '
      f'noise); its own {claim.points(pair, "more")} more, corrected p '
      f'{run.corrected_p(pair):.2g}; above noise at {len(broken)} and '
      f'{len(transferred)} of {len(own)} epsilons'
    )
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or ['Add wavernn to config.sweep.sources.'],
    rule,
  )


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
  if run.task != 'gender' or not any(n == 'wavernn' for n, _ in run.judges):
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
  seeds = sorted({s for n, s in run.judges if n == 'wavernn'})
  answers = [any(f['seed'] == seed for f in falls) or None for seed in seeds]
  words = [f'{run_lib.finding_title(f)}: {f["sentence"]}' for f in falls]
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


def filters(run: run_lib.Run) -> claim.Claim:
  """Returns whether simple filters leave the attack."""
  rule = (
    'Of every model that the attack breaks (interval of the rise in error '
    'above zero) at least half of that rise is left behind every simple '
    'filter: attacked less clean, both filtered, on the same clips (interval '
    'of what is left, less half of the rise without a filter); intervals by '
    'speaker where there are some.'
  )
  text = 'The perturbation is broadband: simple filtering does not remove it.'
  simple = collections.defaultdict(list)
  for row in run_lib.filters(run):
    if row['taken'] and row['transform'].startswith(_SIMPLE):
      simple[row['transform']].append(row['taken'])
  answers, words = [], []
  for transform, found in simple.items():
    broken = [row for row in found if claim.widest(row, 'rise_without')[0] > 0]
    kept = [_at_least_half(row) for row in broken]
    answers += kept or [None]
    if not broken:
      words.append(f'{transform}: no error rises without it.')
      continue
    left, without = (
      100 * np.mean([row[key] for row in broken])
      for key in ('rise', 'rise_without')
    )
    words.append(
      f'{transform}: {left:.1f} of {without:.1f} points left (mean of '
      f'{len(broken)} models that are broken); at least half in '
      f'{kept.count(True)}, less in {kept.count(False)}, either in '
      f'{kept.count(None)}.'
    )
  if words:
    words.append(f'At epsilon {run.telling_epsilon:g}.')
  return claim.Claim(
    text,
    claim.verdict(answers),
    words
    or [
      'The sweep names no filter in config.sweep.transforms, or its '
      'attack/transforms.csv is not there.'
    ],
    rule,
  )


def _at_least_half(row):
  """Returns whether half of the rise is left, None if that is not known."""
  low, high = claim.widest(row, 'over_half')
  if low >= 0:
    return True
  return False if high < 0 else None


def robust_to_noise(run: run_lib.Run) -> claim.Claim:
  """Returns whether noise spares what the attack breaks."""
  answers, words = [], []
  for name, seed in run.judges:
    rows, clean = _noise_rows(run, name, seed), run.at(name, seed, 0)
    if not rows or clean is None:
      continue
    broken = _broken_at(run, rows)
    spared = [r for r in broken if r['error_rate'] <= clean['ci_high']]
    answers.append(bool(spared) if broken else None)
    words.append(
      f'{_against_noise(run, spared or broken or rows)}, clean '
      f'{claim.percent(clean["error_rate"])}'
    )
  return claim.Claim(
    'Models are robust to noise, yet fooled by a crafted perturbation of the '
    'same size.',
    claim.verdict(answers),
    words or ['No control was judged.'],
    f'At some epsilon the error is above that under {_noise(run)} ({_TESTED}), '
    'which is within the interval of the clean error; refuted where noise is '
    'beyond it at every such epsilon.',
  )


def shared_frontend(run: run_lib.Run) -> claim.Claim:
  """Returns whether a shared front end makes the transfer."""
  text = 'Transfer comes from the front end that both models have in common.'
  rule = (
    "At one epsilon the excess over noise of a WaveRNN on WaveCNN's own front "
    'end is above that of a WaveRNN with its own (interval of the difference, '
    'by speaker where there is one); in part, if that one is broken '
    'significantly too.'
  )
  answers, words = [], []
  epsilon = run.telling_epsilon
  for seed in sorted({s for n, s in run.judges if n == _SHARED}):
    shared, own = (
      run.at(name, seed, epsilon, run.control) for name in (_SHARED, 'wavernn')
    )
    if shared is None or own is None:
      continue
    low, high = statistics.square_and_add(
      *((row['excess'], *claim.widest(row, 'excess')) for row in (shared, own))
    )
    more = shared['excess'] - own['excess']
    if low > 0:
      answers += [True, claim.widest(own, 'excess')[0] <= 0]
    else:
      answers.append(False if high < 0 else None)
    words.append(
      f'seed {seed}: shared front end {claim.points(shared, "excess")}, own '
      f'{claim.points(own, "excess")} over noise at epsilon {epsilon:g}; '
      f'{100 * more:+.1f} points [{100 * low:.1f}, {100 * high:.1f}] more'
    )
  return claim.Claim(
    text,
    claim.verdict(answers),
    words
    or [
      f'Add {_SHARED} to config.models: a WaveRNN on the front end of WaveCNN.'
    ],
    rule,
  )


def adversarial_training(run: run_lib.Run) -> claim.Claim:
  """Returns that no defence was trained."""
  del run
  return claim.Claim(
    'Adversarial training can defend where the attack is known (Discussion).',
    claim.NOT_TESTED,
    ['No model of this run was trained on adversarial examples.'],
    'A defended run and an undefended one side by side: launch.report '
    '--compare.',
  )


def privacy(run: run_lib.Run) -> claim.Claim:
  """Returns whether one trait is hidden and another is not."""
  rule = (
    "Where the attacked model's error is furthest above that under "
    f'{_noise(run)} ({_TESTED}), that of a model of another task, on the same '
    f'clips, exceeds noise by less than {100 * _SPARED:.0f} points (upper end '
    'of the interval, as above), by a model that tells the trait of clean '
    'clips; refuted where it exceeds noise there (lower end).'
  )
  text = (
    'Privacy: a perturbation can hide one trait while another analysis still '
    'works (Introduction).'
  )
  answers, words = [], []
  others = [
    row
    for row in run.others
    if row['control'] == run.control
    and row['epsilon'] > 0
    and run.tasks.get(row['target'], {}).get('task', run.task) != run.task
  ]
  ends = storage.distinct_ends({row['target'] for row in run.others})
  titles = {target: figures.title(end) for target, end in ends.items()}
  keys = ('target', 'target_seed', 'seed')
  for (target, _, seed), rows in storage.grouped(others, keys).items():
    judge = run.tasks[target]
    source = _noise_rows(run, run.source, seed)
    hidden = _broken_at(run, source)
    # One epsilon, in whose choice the judge has no part: of several, one
    # spares a judge by chance.
    own = max(hidden or source, key=lambda row: row['excess'])
    shown = next(row for row in rows if row['epsilon'] == own['epsilon'])
    clean = run.clean_of_other(rows[0])
    chance = 1 - 1 / len(judge['classes'])
    knows = clean is not None and clean['ci_high'] < chance
    low, high = claim.widest(shown, 'excess')
    if hidden and knows and high < _SPARED:
      answers.append(True)
    else:
      answers.append(False if hidden and low > 0 else None)
    words.append(
      f'{titles[target]} ({judge["task"]}): {claim.points(shown, "excess")} at '
      f'epsilon {shown["epsilon_given"]}'
      + ('' if knows else ', at chance without any attack')
      + f'; {run_lib.member_title(run.source, seed)}: '
      + claim.points(own, 'excess')
    )
  return claim.Claim(
    text,
    claim.verdict(answers),
    words
    or [
      'No model of another task judged; name one in config.sweep.checkpoints '
      'or config.sweep.victims.'
    ],
    rule,
  )


def smallest(run: run_lib.Run) -> claim.Claim:
  """Returns whether a small perturbation changes a model's answer."""
  text = (
    "A small perturbation changes the model's own answer (equation 1: the "
    'smallest one that does).'
  )
  rule = (
    f'At some epsilon that leaves {_SMALL_DB:g} dB SNR or more in the mean the '
    'answer changes for more than half of the clips by its interval, by '
    f'speaker where there is one, and for fewer under {_noise(run)} (intervals '
    'apart); refuted where it changes for less than half at every such epsilon.'
  )
  medians = _median_smallest(run)
  answers, words = [], []
  for name, seed in run.judges:
    small = []
    for noise in _noise_rows(run, name, seed):
      attacked = run.at(name, seed, noise['epsilon'])
      if attacked['mean_snr_db'] >= _SMALL_DB:
        small.append((attacked, noise))
    if not small:
      continue
    ends = [[claim.widest(row, 'flip_ci') for row in pair] for pair in small]
    changed = [
      pair
      for pair, (attack, control) in zip(small, ends, strict=True)
      if attack[0] > max(0.5, control[1])
    ]
    never = all(attack[1] < 0.5 for attack, _ in ends)
    answers.append(True if changed else False if never else None)
    attacked, noise = max(changed or small, key=lambda x: x[0]['flip_rate'])
    words.append(
      f'{run_lib.member_title(name, seed)}: '
      f'{claim.percent(attacked["flip_rate"])} of the answers'
      f'{claim.by_speaker(attacked, "flip_ci")} change at '
      f'epsilon {attacked["epsilon_given"]} '
      f'({attacked["mean_snr_db"]:.0f} dB SNR), '
      f'{claim.percent(noise["flip_rate"])} under noise; median of the '
      f'smallest that do: {medians.get((name, seed), "not known")}'
    )
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or [f'No epsilon tried leaves {_SMALL_DB:g} dB SNR.'],
    rule,
  )


# A perturbation is called small where the recording is louder by so much.
_SMALL_DB = 20.0


def _median_smallest(run):
  """Returns by model and seed the median epsilon that changes an answer."""
  path = run.path('attack', 'minimal.csv')
  by_judge = collections.defaultdict(list)
  mask = run.config['sweep']['masks'][0]
  rows = ()
  if storage.exists(path):
    rows = storage.read_table(path, may_be_empty=True)
  for row in rows:
    if (
      row['success'] == 'own'
      and row['source'] == run.source
      and row['seed'] == row['target_seed']
      and (row['attack'], row['mask']) == (run.attack, mask)
      and row['target'] in run.config['models']
    ):
      by_judge[row['target'], row['seed']].append(row['epsilon'])
  return {
    judge: f'{np.median(epsilons):g}'
    if np.isfinite(epsilons).mean() > 0.5
    else 'beyond those tried'
    for judge, epsilons in by_judge.items()
  }
