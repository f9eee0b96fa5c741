"""Claims of the paper on the shape of the curve of error against epsilon."""

from advspeech import claim
from advspeech.report import beyond_noise, titles
from advspeech.report import run as run_lib
from advspeech.sweep.tables import curves

# Of a curve, with the clean one, before its shape is told.
_FEWEST_POINTS = 4
_TESTED = (
  'of the same clips at all epsilons, those of a speaker together where there '
  'are enough speakers, level shared out among the epsilons (Bonferroni)'
)


def linear(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveCNN's error rises in a straight line."""
  answers, words = [], []
  for curve in _curves(run, 'wavecnn'):
    if reason := _flat(run, curve):
      answers.append(None)
      words.append(f'seed {curve["seed"]}: {reason}')
      continue
    answers.append(curve['off_line_p'] >= 1 - run.confidence)
    words.append(
      f'seed {curve["seed"]}: farthest off the best line at epsilon '
      f'{curve["off_line_epsilon"]:g}, corrected p {curve["off_line_p"]:.2g}'
    )
  return claim.Claim(
    "WaveCNN's error rises in a straight line with epsilon.",
    claim.verdict(answers),
    words or ['No WaveCNN was judged.'],
    'The error rises, and no point is off the least-squares line in which each '
    'is weighted by the width of its interval (t test of what clips '
    f'contribute): {_TESTED}.',
  )


def _curves(run, name):
  """Returns a model's rows of `curves.csv` under the first attack, by seed."""
  mask = run.config['sweep']['masks'][0]
  rows = [
    row
    for row in run.curves
    if (row['source'], row['target']) == (run.source, name)
    and row['seed'] == row['target_seed']
    and (row['attack'], row['mask']) == (run.attack, mask)
  ]
  return sorted(rows, key=lambda row: row['seed'])


def _flat(run, curve):
  """Returns why a curve has no shape to speak of, '' if it has one."""
  if curve['num_epsilons'] < _FEWEST_POINTS:
    return f'{curve["num_epsilons"]} epsilons are too few'
  rises = curve['rise_p'] < 1 - run.confidence
  return '' if rises else 'the error does not rise beyond chance'


def flat_then_jump(run: run_lib.Run) -> claim.Claim:
  """Returns whether WaveRNN's error is flat and then jumps."""
  answers, words = [], []
  for curve in _curves(run, 'wavernn'):
    if reason := _flat(run, curve):
      answers.append(None)
      words.append(f'seed {curve["seed"]}: {reason}')
      continue
    jumps = None
    if curve['sudden'] >= run.confidence:
      jumps = True
    elif curve['gradual'] >= run.confidence:
      jumps = False
    by_noise = jumps and not _ends_above_noise(run, curve['seed'])
    answers.append(None if by_noise else jumps)
    words.append(
      f'seed {curve["seed"]}: a jump in {claim.percent(curve["sudden"])} of '
      f'resamples, none in {claim.percent(curve["gradual"])}'
      + ('; under noise it comes as far' if by_noise else '')
    )
  begun, done = (claim.percent(x) for x in (curves.BEGUN, curves.DONE))
  return claim.Claim(
    "WaveRNN's error stays flat under small perturbations, then jumps.",
    claim.verdict(answers),
    words or ['No WaveRNN was judged.'],
    f'The epsilon at which {begun} of the rise is reached is at least '
    f'{curves.JUMP:g} times that of {done} (on a straight line '
    f'{curves.BEGUN / curves.DONE:.2f} times), wherever between the epsilons '
    f'tried they lie, in {claim.percent(run.confidence)} of resamples of the '
    'speakers, of the clips where there are too few; refuted where it is less '
    'in as many. The error ends above noise of the same size '
    f'({beyond_noise.TESTED}).',
  )


def _ends_above_noise(run, seed):
  """Returns whether WaveRNN errs more than under noise where it errs most."""
  rows = beyond_noise.noise_rows(run, 'wavernn', seed)
  attacked = {
    row['epsilon']: run.at('wavernn', seed, row['epsilon'])['error_rate']
    for row in rows
  }
  most = max(attacked.values(), default=0.0)
  return any(
    run.is_beyond_noise(row) and attacked[row['epsilon']] >= curves.DONE * most
    for row in rows
  )


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
