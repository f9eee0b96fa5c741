"""Claims of the paper on what protects, a model or who is heard."""

import collections

import numpy as np

from advspeech import claim, figures, storage
from advspeech.report import beyond_noise, titles, transformed
from advspeech.report import run as run_lib

# Filters that anyone has at hand, by how their names begin.
_SIMPLE = ('lowpass', 'highpass', 'bandpass', 'median', 'resample')
# A trait still tells if noise of the same size spares it to so many points.
_SPARED = 0.1


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
  for row in transformed.filters(run):
    if row['taken'] and row['transform'].startswith(_SIMPLE):
      simple[row['transform']].append(row['taken'])
  answers, words = [], []
  for transform, found in simple.items():
    broken = [row for row in found if claim.widest(row, 'rise_without')[0] > 0]
    lasting = [_at_least_half(row) for row in broken]
    answers += lasting or [None]
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
      f'{lasting.count(True)}, less in {lasting.count(False)}, either in '
      f'{lasting.count(None)}.'
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


def privacy(run: run_lib.Run) -> claim.Claim:
  """Returns whether one trait is hidden and another is not."""
  rule = (
    "Where the attacked model's error is furthest above that under "
    f'{beyond_noise.noise(run)} ({beyond_noise.TESTED}), that of a model of '
    f'another task, on the same clips, exceeds noise by less than '
    f'{100 * _SPARED:.0f} points (upper end '
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
  names = {target: figures.title(end) for target, end in ends.items()}
  keys = ('target', 'target_seed', 'seed')
  for (target, _, seed), rows in storage.grouped(others, keys).items():
    judge = run.tasks[target]
    source = beyond_noise.noise_rows(run, run.source, seed)
    hidden = beyond_noise.telling_rows(run, source)
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
      f'{names[target]} ({judge["task"]}): {claim.points(shown, "excess")} at '
      f'epsilon {shown["epsilon_given"]}'
      + ('' if knows else ', at chance without any attack')
      + f'; {titles.member_title(run.source, seed)}: '
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
