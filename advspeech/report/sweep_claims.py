"""Claims of the paper on what an attack breaks, and through which model."""

import collections

import numpy as np

from advspeech import claim, figures, statistics, storage
from advspeech.report import beyond_noise, titles
from advspeech.report import run as run_lib

_SHARED = 'wavernn_on_wavecnn'


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
    rows = beyond_noise.noise_rows(run, name, seed)
    if not rows:
      continue
    broken = beyond_noise.telling_rows(run, rows)
    answers.append(True if broken else None)
    words.append(beyond_noise.sentence(run, broken or rows))
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or ['No such model was judged.'],
    'At some epsilon the error is above that under '
    f'{beyond_noise.noise(run)}: {beyond_noise.TESTED}.',
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
    f'own do ({beyond_noise.TESTED}).'
  )
  answers, words = [], []
  for name, seed in run.judges:
    if name != 'wavernn' or name == run.source:
      continue
    own = _own_noise_rows(run, name, seed)
    others = beyond_noise.noise_rows(run, name, seed)
    if not (own and others):
      continue
    broken = [row for row in own if run.is_beyond_noise(row)]
    transferred = beyond_noise.telling_rows(run, others)
    answers.append(False if broken else True if transferred else None)
    # Where its own attack is above noise by most.
    noise = max(broken or own, key=lambda row: row['excess'])
    epsilon = noise['epsilon']
    other = run.at(name, seed, epsilon, run.control)
    direct_rate = noise['error_rate'] + noise['excess']
    words.append(
      f'{titles.member_title(name, seed)}: at epsilon '
      f'{noise["epsilon_given"]} {claim.percent(direct_rate)} by '
      f'its own examples ({claim.points(noise, "excess")} over noise), '
      f'{claim.percent(run.at(name, seed, epsilon)["error_rate"])} by those '
      f'made on {figures.title(run.source)} ({claim.points(other, "excess")} '
      f'over noise){_how_much_more(run, name, seed, epsilon)}; above noise at '
      f'{len(broken)} and {len(transferred)} of {len(own)} epsilons'
    )
  return claim.Claim(
    text,
    claim.verdict(answers),
    words or ['Add wavernn to config.sweep.sources.'],
    rule,
  )


def _own_noise_rows(run, name, seed):
  """Returns the control's rows of the attack on a model, judged by itself."""
  mask = run.config['sweep']['masks'][0]
  rows = run.over_trainings_on(name) if seed is None else run.rows
  return [
    row
    for row in rows
    if (row['source'], row['target'], row['control'])
    == (name, name, run.control)
    and row['seed'] == row['target_seed'] == seed
    and (row['attack'], row['mask'], row['transform']) == (run.attack, mask, '')
    and row['epsilon'] > 0
  ]


def _how_much_more(run, name, seed, epsilon):
  """Returns how much more a model's own examples break, clip by clip."""
  mask = run.config['sweep']['masks'][0]
  for row in run.direct:
    if (
      (row['source'], row['target'], row['seed']) == (run.source, name, seed)
      and (row['attack'], row['mask']) == (run.attack, mask)
      and row['epsilon'] == epsilon
    ):
      return (
        f'; its own {claim.points(row, "more")} more, corrected p '
        f'{run.corrected_p(row):.2g}'
      )
  return ''


def robust_to_noise(run: run_lib.Run) -> claim.Claim:
  """Returns whether noise spares what the attack breaks."""
  answers, words = [], []
  for name, seed in run.judges:
    rows, clean = (
      beyond_noise.noise_rows(run, name, seed),
      run.at(name, seed, 0),
    )
    if not rows or clean is None:
      continue
    broken = beyond_noise.telling_rows(run, rows)
    spared = [r for r in broken if r['error_rate'] <= clean['ci_high']]
    answers.append(bool(spared) if broken else None)
    words.append(
      f'{beyond_noise.sentence(run, spared or broken or rows)}, clean '
      f'{claim.percent(clean["error_rate"])}'
    )
  return claim.Claim(
    'Models are robust to noise, yet fooled by a crafted perturbation of the '
    'same size.',
    claim.verdict(answers),
    words or ['No control was judged.'],
    'At some epsilon the error is above that under '
    f'{beyond_noise.noise(run)} ({beyond_noise.TESTED}), which is '
    'within the interval of the clean error; refuted where noise is '
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
  for seed in [s for n, s in run.judges if n == _SHARED]:
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
      f'{titles.training_title(seed)}: shared front end '
      f'{claim.points(shared, "excess")}, own '
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


def smallest(run: run_lib.Run) -> claim.Claim:
  """Returns whether a small perturbation changes a model's answer."""
  text = (
    "A small perturbation changes the model's own answer (equation 1: the "
    'smallest one that does).'
  )
  # One epsilon, in whose choice the answers have no part: of several, one
  # changes them by chance.
  rule = (
    f'At the largest epsilon that leaves {_SMALL_DB:g} dB SNR or more in the '
    'mean the answer changes for more than half of the clips by its interval, '
    'by speaker where there is one, and for fewer under '
    f'{beyond_noise.noise(run)} (intervals apart); refuted where it changes '
    'for less than half.'
  )
  medians = _median_smallest(run)
  answers, words = [], []
  for name, seed in run.judges:
    small = [
      (attacked, noise)
      for noise in beyond_noise.noise_rows(run, name, seed)
      if (attacked := run.at(name, seed, noise['epsilon']))
      and attacked['mean_snr_db'] >= _SMALL_DB
    ]
    if not small:
      continue
    attacked, noise = small[-1]
    low, high = claim.widest(attacked, 'flip_ci')
    changed = low > max(0.5, claim.widest(noise, 'flip_ci')[1])
    answers.append(True if changed else False if high < 0.5 else None)
    words.append(
      f'{titles.member_title(name, seed)}: '
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
  """Returns by model and seed the median epsilon that changes an answer.

  Seed None is of the clips of all seeds.
  """
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
      for seed in (row['seed'], None):
        by_judge[row['target'], seed].append(row['epsilon'])
  return {
    judge: f'{np.median(epsilons):g}'
    if np.isfinite(epsilons).mean() > 0.5
    else 'beyond those tried'
    for judge, epsilons in by_judge.items()
  }
