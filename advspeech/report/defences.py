"""Runs that differ in what their networks were trained on, clip by clip.

Of runs on the same clips: error under every attack that each was given, and
how much less than another's it is, paired by clip and seed.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from advspeech import registry, storage, sweep
from advspeech.report import run as run_lib
from advspeech.report import verdicts as verdicts_lib
from advspeech.report.verdicts import Point, Verdicts

# Training on them is the baseline of a defence of their size.
NOISE = ('noise', 'gaussian')
UNDEFENDED = 'none'
_TITLES = {
  'noise': 'random signs',
  'gaussian': 'Gaussian noise',
  'fgsm_rs': 'FGSM-RS',
  'n_fgsm': 'N-FGSM',
  'pgd': 'PGD',
  'trades': 'TRADES',
}
# Of `summary.csv` of the gradient study, with what a page calls them.
GRADIENTS = {
  'l2': 'L2 norm',
  'speech_correlation': 'rank correlation with the level of speech',
  'halvings_per_s': 'halvings a second, going back',
}


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
  """A run among others on the same clips.

  Attributes:
    title: What tells it from the others.
    run: As read.
    verdicts: On its clips.
  """

  title: str
  run: run_lib.Run
  verdicts: Verdicts

  @property
  def defence(self) -> Mapping[str, Any]:
    """Returns what its networks were trained on."""
    return defence_of(self.run)

  @property
  def is_defended(self) -> bool:
    """Returns whether against an attack, and not by noise alone."""
    return self.defence['name'] not in (UNDEFENDED, *NOISE)


def defence_of(run: run_lib.Run) -> Mapping[str, Any]:
  """Returns `config.training.defence` of a run."""
  return run.config['training']['defence']


def defence_title(run: run_lib.Run) -> str:
  """Returns what a page calls what a run's networks were trained on."""
  defence = defence_of(run)
  if defence['name'] == UNDEFENDED:
    return 'no defence'
  return f'{name_title(defence["name"])} at {defence["epsilon"]}'


def name_title(name: str) -> str:
  """Returns what a page calls a defence."""
  return registry.title(name, _TITLES)


def groups(runs: Sequence[run_lib.Run]) -> list[list[Member]]:
  """Returns runs of one task on the same clips together, two or more each.

  Their titles are what they were trained on, and their folders where that is
  not enough.

  Args:
    runs: In the order of the page.
  """
  found: dict[Any, list[tuple[run_lib.Run, Verdicts]]] = {}
  for run in runs:
    verdicts = verdicts_lib.of_run(run)
    if verdicts is not None:
      key = run.task, tuple(run.classes), verdicts.ids
      found.setdefault(key, []).append((run, verdicts))
  result = []
  for members in found.values():
    names = [defence_title(run) for run, _ in members]
    # What any of them breaks is of the attacks that all runs were given.
    common = set.intersection(*(set(v.norms) for _, v in members))
    if len(members) > 1:
      result.append(
        [
          Member(
            _title(name, names, run),
            run,
            verdicts_lib.with_strongest(verdicts, common),
          )
          for name, (run, verdicts) in zip(names, members, strict=True)
        ]
      )
  return result


def _title(name, names, run):
  if names.count(name) == 1:
    return name
  return f'{name} ({os.path.basename(storage.absolute(run.folder))})'


def targets(members: Sequence[Member]) -> list[str]:
  """Returns models that two or more runs have, in order of appearance."""
  names = [name for m in members for name in m.run.config['models']]
  return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def baseline(members: Sequence[Member], of: Member) -> Member | None:
  """Returns the run trained on noise of the size of a defence, if there is.

  None of a run that is not defended.
  """
  if not of.is_defended:
    return None
  size = verdicts_lib.same(of.defence['epsilon'])
  for member in members:
    defence = member.defence
    if (
      defence['name'] in NOISE and verdicts_lib.same(defence['epsilon']) == size
    ):
      return member
  return None


def undefended(members: Sequence[Member]) -> Member | None:
  """Returns the first run without a defence, if there is one."""
  return next((m for m in members if m.defence['name'] == UNDEFENDED), None)


def rate(member: Member, point: Point) -> dict[str, Any] | None:
  """Returns a run's error at a point, over all of its seeds."""
  wrong = member.verdicts.at(point, member.run.config['seeds'])
  if wrong is None:
    return None
  return verdicts_lib.rate(
    wrong, member.verdicts.speakers, member.run.confidence
  )


def pairs(member: Member, other: Member, point: Point) -> list[dict[str, Any]]:
  """Returns how much more a run errs than another, a row a training.

  One row over all trainings where they are enough for an interval; one for each
  seed that both have, else, with its `seed`.

  Args:
    member: The run.
    other: That it is compared with.
    point: Where.
  """
  found = spread(member, other, point)
  if found is None:
    return []
  if found['num_trainings'] > 1 and found['excess_low'] != '':
    return [{**found, 'seed': None}]
  return [
    {**_less(member, other, point, [seed]), 'seed': seed}
    for seed in _seeds(member, other)
  ]


def spread(
  member: Member, other: Member | None, point: Point
) -> dict[str, Any] | None:
  """Returns how much more a run errs than another, over seeds that both have.

  None where there is no other, or one of them was not attacked so.
  """
  if other is None:
    return None
  return _less(member, other, point, _seeds(member, other))


def _seeds(member, other):
  theirs = other.run.config['seeds']
  return [seed for seed in member.run.config['seeds'] if seed in theirs]


def _less(member, other, point, seeds):
  a, b = (m.verdicts.at(point, seeds) for m in (member, other))
  if a is None or b is None:
    return None
  return verdicts_lib.difference(
    a, b, member.verdicts.speakers, member.run.confidence
  )


def gradient_rows(members: Sequence[Member]) -> list[dict[str, Any]]:
  """Returns what input gradients became, a row a (run, model, training).

  By GRADIENTS, of recorded samples; means over trainings where there are
  enough. None of a run whose gradients were not studied.

  Args:
    members: Runs on the same clips.
  """
  rows = []
  for member in members:
    found: dict[str, dict[str, Any]] = {}
    for row in member.run.studies['gradients'].table('summary'):
      if (row['part'], row['setting']) == ('clips', 'start, recorded'):
        found.setdefault(row['model'], {})[row['statistic']] = row
    means = {m: r for m, r in found.items() if m.endswith('-mean')}
    for model, statistics in (means or found).items():
      name, _, seed = model.rpartition('-seed')
      rows.append(
        {
          'title': member.title,
          'target': name or model.removesuffix('-mean'),
          'seed': seed if name else None,
          'estimates': [statistics.get(key) for key in GRADIENTS],
        }
      )
  return rows


def error_rows(members: Sequence[Member], target: str) -> list[dict[str, Any]]:
  """Returns a table of a model's errors, a row a (way, epsilon).

  `rates` has an entry a run, None where it was not attacked so; `over_noise`
  the same of the run less its baseline (see `baseline`).

  Args:
    members: Runs on the same clips.
    target: The model.
  """
  points: dict[Point, verdicts_lib.Size] = {}
  for member in members:
    for point in member.verdicts.wrong:
      if point.target == target:
        points.setdefault(point, member.verdicts.sizes[point.epsilon])
  ways = _ordered([point.way for point in points])
  order = sorted(points, key=lambda p: (ways[p.way], points[p].epsilon))
  baselines = [baseline(members, m) for m in members]
  rows = []
  for point in order:
    size = points[point]
    rates = [rate(member, point) for member in members]
    if not size.epsilon and not _is_first_clean(point.way, rows):
      continue
    rows.append(
      {
        'way': point.way,
        'size': size,
        'rates': rates,
        'over_noise': [
          spread(m, base, point)
          for m, base in zip(members, baselines, strict=True)
        ],
      }
    )
  return rows


def _is_first_clean(way, rows):
  """Returns whether clean clips behind this transform are not shown yet."""
  return not any(
    row['size'].epsilon == 0 and row['way'].transform == way.transform
    for row in rows
  )


def _ordered(ways):
  """Returns the places of ways in a table: own attacks, others', transforms."""
  strongest = sweep.STRONGEST.values()
  order = sorted(
    dict.fromkeys(ways),
    key=lambda way: (
      bool(way.transform),
      bool(way.other),
      way.attack in strongest,
    ),
  )
  # The attacks of one transform stand together.
  transforms = list(dict.fromkeys(way.transform for way in order))
  order.sort(key=lambda way: transforms.index(way.transform))
  return {way: i for i, way in enumerate(order)}
