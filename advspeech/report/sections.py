"""What the sections of a page show: rows and figures, ready to be rendered."""

import collections
import json
import math
import statistics as means
from typing import Any

from advspeech import statistics
from advspeech.report import architecture, claims, titles
from advspeech.report import run as run_lib

# What a self-check looks for, in plain words.
CHECKS = {
  'too_few_clips': 'Are there enough clips to tell the rates claimed?',
  'control_as_strong': 'Does noise of the same size break the model as often?',
  'beyond_chance': 'Is the error beyond that of a blind guess?',
  'non_monotone_curve': 'Does the error fall where the perturbation grows?',
  'one_answer': 'Does a model come to give one answer to all clips?',
  'masked_gradients': 'Does an attack that asks for no gradient of a model '
  'break more of it?',
  'not_converged': 'Do twice the steps and starts break more?',
  'unbroken_clips': 'Are there clips that no perturbation breaks, however '
  'large?',
  'below_one_lsb': 'Are perturbations smaller than one step of 16-bit audio?',
  'zero_gradients': 'Are there samples whose gradient is exactly zero?',
  'nonfinite_gradients': 'Are there gradients that are no finite numbers?',
  'logits_look_like_softmax': 'Does the model return probabilities, which '
  'flatten the gradient?',
  'batch_dependent_logits': 'Does an answer depend on the other clips of its '
  'batch?',
}
_MEASURES = {
  'snr_db': 'SNR, dB',
  'segmental_snr_db': 'segmental SNR, dB',
  'log_spectral_distance_db': 'log-spectral distance, dB',
  'unmasked_share': 'share of cells above the masking threshold',
  'stoi': 'STOI',
  'pesq': 'PESQ',
  'dnsmos': 'DNSMOS',
}


def in_short(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns clean, attacked and noisy error of every judge at one epsilon.

  Means over trainings, which have no `p`, where claims are about those.
  `direct` is of the attack made on the judge itself, None where that is the
  same or was not made.
  """
  epsilon = run.telling_epsilon
  rows = []
  for name, seed in run.judges:
    points = {
      'clean': run.at(name, seed, 0),
      'attacked': run.at(name, seed, epsilon),
      'noise': run.at(name, seed, epsilon, run.control),
    }
    if all(points.values()):
      p = None if seed is None else run.corrected_p(points['noise'])
      direct = run.direct_at(name, seed, epsilon)
      rows.append(
        {'target': name, 'seed': seed, 'p': p, 'direct': direct, **points}
      )
  return rows


def spread(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns how far trainings differ at one epsilon, a row a judge.

  Empty for a single one.
  """
  return [
    {
      'target': name,
      'attacked': run.at(name, None, run.telling_epsilon),
      'noise': run.at(name, None, run.telling_epsilon, run.control),
    }
    for name in dict.fromkeys(row['target'] for row in run.over_trainings)
  ]


def accuracies(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns every model's clean accuracy with its interval and the paper's."""
  rows = []
  for model in run.models:
    test = model['test']
    right = round(test['accuracy'] * test['num_clips'])
    low, high = statistics.wilson_interval(
      right, test['num_clips'], run.confidence
    )
    paper = claims.of_the_paper(run).get(model['member'])
    rows.append(
      {
        **model,
        'low': low,
        'high': high,
        'paper': paper[0] if paper else None,
        'training': sessions_of(model['sessions']),
      }
    )
  return rows


def sessions_of(sessions: list[dict[str, Any]]) -> dict[str, Any] | None:
  """Returns when and with what a part was made; None if it was not recorded."""
  if not sessions:
    return None
  commits = {
    s['commit'][:12] + (' (changed)' if s['changed'] else '') for s in sessions
  }
  return {
    **sessions[-1],
    'started': sessions[0]['started'],
    'num_sessions': len(sessions),
    'commits': sorted(commits - {''}),
  }


def architectures(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns Table 1 as built, of each model once."""
  first = {model['member']: model for model in reversed(run.models)}
  return [
    {
      'member': name,
      'groups': architecture.groups(model),
      'num_parameters': model['num_parameters'],
      'frontend_of': model.get('frontend_of', ''),
    }
    for name, model in reversed(first.items())
  ]


def beside_the_paper(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns the paper's numbers with ours at the epsilon nearest to each."""
  result = []
  for target, paper in claims.of_the_paper(run).items():
    _, epsilon, _ = paper
    tried = {row['epsilon'] for row in run.first if row['target'] == target}
    if not tried:
      continue
    nearest = min(tried, key=lambda e, wanted=epsilon: abs(e - wanted))
    ours = [
      {
        'seed': seed,
        'clean': run.at(name, seed, 0),
        'attacked': run.at(name, seed, nearest),
        'noise': run.at(name, seed, nearest, run.control),
      }
      for name, seed in run.judges
      if name == target
    ]
    result.append(
      {'target': target, 'paper': paper, 'epsilon': nearest, 'ours': ours}
    )
  return result


def by_class(row: run_lib.Row) -> list[dict[str, Any]]:
  """Returns every class with its error rate and its share of the answers.

  Empty for a row of several attacks joined, which has no answers of its own.
  """
  if not row['errors_by_class']:
    return []
  errors, answers = (
    json.loads(row[f'{what}_by_class']) for what in ('errors', 'answers')
  )
  return [
    {
      'name': name,
      'error_rate': wrong / num,
      'share': answers[name] / row['num_clips'],
    }
    for name, (wrong, num) in errors.items()
  ]


def masks(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns the first attack's rows for each mask, where there are several."""
  if len(run.config['sweep']['masks']) < 2:
    return []
  return [
    row
    for row in run.rows
    if row['attack'] == run.attack
    and row['source'] == run.source
    and row['seed'] == row['target_seed']
    and row['epsilon'] > 0
    and not (row['control'] or row['transform'])
    and row['error_rate'] != ''
  ]


def quality(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns medians of how attacked clips sound, a row a source and epsilon.

  Each with the number of clips that it is defined for, None where for none.
  """
  groups = collections.defaultdict(list)
  for row in run.quality:
    key = (row['source'], row['attack'], row['epsilon_given'])
    groups[key].append(row)
  rows = []
  for (source, attack, epsilon), group in groups.items():
    values = {
      name: [
        r[name]
        for r in group
        if isinstance(r.get(name), int | float) and not math.isnan(r[name])
      ]
      for name in _MEASURES
    }
    rows.append(
      {
        'source': source,
        'attack': attack,
        'epsilon_given': epsilon,
        'num_clips': len(group),
        'medians': [
          (means.median(values[name]), len(values[name]))
          if values[name]
          else None
          for name in _MEASURES
        ],
      }
    )
  return rows


def measures() -> list[str]:
  """Returns the headings of `quality`'s medians."""
  return list(_MEASURES.values())


def checks(run: run_lib.Run) -> list[dict[str, Any]]:
  """Returns every self-check: the question, and what it found in what."""
  found = collections.defaultdict(list)
  for finding in run.findings:
    found[finding['name']].append(
      {'title': titles.finding_title(finding), **finding}
    )
  return [
    {'question': CHECKS.get(name, name), 'findings': found.get(name, [])}
    for name in dict.fromkeys([*CHECKS, *found])
  ]
