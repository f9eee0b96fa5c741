"""Several runs on one page: tasks, corpora or defences side by side."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

from advspeech import errors, section, storage
from advspeech.report import (
  defence_claims,
  defence_curves,
  defences,
  page,
  reading,
  run_curves,
  sections,
)
from advspeech.report import run as run_lib


def compare(workdir: str, run_folders: Sequence[str]) -> str:
  """Writes `comparison/index.html` in a folder; returns its path.

  Args:
    workdir: Where the page goes.
    run_folders: Folders of the runs, each attacked.

  Raises:
    errors.InputError: If there are not two runs at least, or one of them was
      not attacked.
  """
  if len(run_folders) < 2:
    raise errors.InputError(
      'a comparison needs two runs or more, got '
      f'{", ".join(run_folders) or "none"}; name their folders behind --compare'
    )
  runs = titled([reading.read(folder) for folder in run_folders])
  folder = os.path.join(workdir, 'comparison')
  storage.make_folder(folder)
  curve = section.Figure(
    'figure6',
    lambda: run_curves.error_over_runs(
      {t: run.over_trainings or run.first for t, run in runs.items()},
      min(run.confidence for run in runs.values()),
    ),
    'Error rate against epsilon, a panel for each run, a line for each model, '
    'dashed under noise of the same size.',
    "The paper's Figure 6. Solid: the first attack of each run; dashed: noise "
    'of the same size in its norm; dotted: a blind guess.',
  )
  rows = fragility(runs)
  return page.render(
    'comparison.html.j2',
    folder,
    runs=runs,
    curve=page.draw(curve, folder),
    in_short={title: sections.in_short(run) for title, run in runs.items()},
    defences=[
      _defences(i, members, folder)
      for i, members in enumerate(defences.groups(list(runs.values())))
    ],
    gradient_titles=list(defences.GRADIENTS.values()),
    fragility=rows,
    correlation=rank_correlation(rows),
    accuracies={t: sections.accuracies(run) for t, run in runs.items()},
    links={
      title: storage.relative(run.path('report', 'index.html'), folder)
      for title, run in runs.items()
    },
  )


def _defences(number, members, folder):
  """Returns the part of the page on runs of the same clips."""
  targets = defences.targets(members)
  curve = section.Figure(
    f'defences-{number}',
    lambda: defence_curves.errors_by_run(members, targets),
    'Error rate against epsilon, a row of panels for each model, under FGSM '
    'and under whatever any attack breaks, a line for each run.',
    'Error of each model under attacks on itself, by what it was trained on: '
    'FGSM on the left, on the right whatever any of its attacks of that size '
    'breaks. A defence that holds on the left alone is one against FGSM alone.',
  )
  matched = section.Figure(
    f'matched-{number}',
    lambda: defence_curves.errors_against_clean(members, targets),
    'Error under attack against clean error, a panel for each model and '
    'epsilon, a line for each defence over the epsilons it was trained at.',
    'What robustness costs: at the same clean error the lower line is the '
    'better defence, at whatever epsilon it was trained.',
  )
  shown = [curve] if targets else []
  if targets and defence_curves.sizes_of(members):
    shown.append(matched)
  return {
    'members': members,
    'images': [page.draw(each, folder) for each in shown],
    'claims': {
      member.title: defence_claims.of_member(members, member)
      for member in members
      if member.is_defended
    },
    'tables': {
      target: defences.error_rows(members, target) for target in targets
    },
    'baselines': [defences.baseline(members, m) for m in members],
    'gradients': defences.gradient_rows(members),
  }


def titled(runs: Sequence[run_lib.Run]) -> dict[str, run_lib.Run]:
  """Returns runs by task, corpus and defence, and folder if need be."""
  names = [_name(run) for run in runs]
  result = {}
  for name, run in zip(names, runs, strict=True):
    folder = os.path.basename(storage.absolute(run.folder))
    title = f'{name} ({folder})' if names.count(name) > 1 else name
    if title in result:
      raise errors.InputError(
        f'{run.folder} and {result[title].folder} cannot be told apart on one '
        'page; name every run once, in folders of different names'
      )
    result[title] = run
  return result


def _name(run):
  name = f'{run.task}, {run.corpus}'
  if defences.defence_of(run)['name'] == defences.UNDEFENDED:
    return name
  return f'{name}, trained on {defences.defence_title(run)}'


def fragility(runs: dict[str, run_lib.Run]) -> list[dict[str, Any]]:
  """Returns how little it takes to break each model, a row a model and seed.

  `halfway` is the epsilon at which the error is halfway from the clean one to
  a blind guess, on straight lines between those tried; None if it stays below,
  and 0 of a model that guesses clean clips blindly.
  """
  rows = []
  for title, run in runs.items():
    chance = 1 - 1 / len(run.classes)
    for name, seed in run.judges:
      point = run.at(name, seed, 0)
      if point is None:
        continue
      clean = point['error_rate']
      curve = sorted(
        (row['epsilon'], row['error_rate'])
        for row in run.evidence
        if (row['target'], row['seed'], row['control']) == (name, seed, '')
      )
      rows.append(
        {
          'run': title,
          'target': name,
          'seed': seed,
          'clean': clean,
          'halfway': _crossing(curve, (clean + chance) / 2),
        }
      )
  return rows


def _crossing(curve, level):
  if curve[0][1] >= level:
    return curve[0][0]
  for (e0, r0), (e1, r1) in itertools.pairwise(curve):
    if r0 < level <= r1:
      return e0 + (e1 - e0) * (level - r0) / (r1 - r0)
  return None


def rank_correlation(
  rows: Sequence[dict[str, Any]],
) -> tuple[float, float] | None:
  """Returns that of clean error and halfway, and p by permutation.

  A model that does not come so far is more robust than any that does. None for
  too few values.

  Args:
    rows: Of `fragility`.
  """
  clean = [row['clean'] for row in rows]
  halfway = [
    float('inf') if row['halfway'] is None else row['halfway'] for row in rows
  ]
  if min(len(set(values)) for values in (clean, halfway)) < 3:
    return None
  from scipy import stats

  def rho(order):
    return stats.spearmanr(order, halfway).statistic

  test = stats.permutation_test(
    (clean,), rho, permutation_type='pairings', n_resamples=1999, rng=0
  )
  return float(test.statistic), float(test.pvalue)
