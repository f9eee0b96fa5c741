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
    whose = titles.training_title(curve['seed'])
    if reason := _flat(run, curve):
      answers.append(None)
      words.append(f'{whose}: {reason}')
      continue
    answers.append(curve['off_line_p'] >= 1 - run.confidence)
    words.append(
      f'{whose}: farthest off the best line at epsilon '
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
  """Returns a model's curves under the first attack, of all seeds or each.

  Rows of `curves.csv`; the seed of that on all trainings is None.
  """
  mask = run.config['sweep']['masks'][0]
  rows = [
    {**row, 'seed': None if row['seed'] == '' else row['seed']}
    for row in run.curves
    if (row['source'], row['target']) == (run.source, name)
    and row['seed'] == row['target_seed']
    and (row['attack'], row['mask']) == (run.attack, mask)
  ]
  together = [row for row in rows if row['seed'] is None]
  return together or sorted(rows, key=lambda row: row['seed'])


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
    whose = titles.training_title(curve['seed'])
    if reason := _flat(run, curve):
      answers.append(None)
      words.append(f'{whose}: {reason}')
      continue
    jumps = None
    if curve['sudden'] >= run.confidence:
      jumps = True
    elif curve['gradual'] >= run.confidence:
      jumps = False
    by_noise = jumps and not _ends_above_noise(run, curve['seed'])
    answers.append(None if by_noise else jumps)
    words.append(
      f'{whose}: a jump in {claim.percent(curve["sudden"])} of '
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
    'The error is below that at a smaller epsilon, level shared out among all '
    "pairs of epsilons (Bonferroni): McNemar's exact test on the same clips "
    'and, where there are enough speakers, a bootstrap that draws these; of '
    'five trainings or more a t test of their mean instead.'
  )
  if run.task != 'gender' or 'wavernn' not in dict(run.judges):
    return claim.Claim(
      text, claim.NOT_TESTED, ['It is about WaveRNN on the gender task.'], rule
    )
  answers, words = [], []
  for curve in _curves(run, 'wavernn'):
    falls = curve['fall_p'] < 1 - run.confidence
    answers.append(falls or None)
    if falls:
      high, low = (
        run.at('wavernn', curve['seed'], curve[end])['error_rate']
        for end in ('fall_from', 'fall_to')
      )
      words.append(
        f'{titles.training_title(curve["seed"])}: from {claim.percent(high)} '
        f'at epsilon {curve["fall_from"]:g} to {claim.percent(low)} at '
        f'{curve["fall_to"]:g}, corrected p {curve["fall_p"]:.2g}'
      )
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
