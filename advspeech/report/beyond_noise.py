"""Where an attack does more than noise of its size, over all epsilons tried."""

from collections.abc import Sequence

from advspeech import claim, figures
from advspeech.report import run as run_lib
from advspeech.report import titles

# How it is decided at which epsilons the attack does more than noise.
TESTED = (
  "McNemar's exact test on the same clips and, where there are enough "
  'speakers, a bootstrap that draws these, the level of both shared out among '
  'the epsilons (Bonferroni); of five trainings or more instead the interval '
  'of the mean difference over trainings at that level, by speaker where there '
  'are enough'
)


def noise(run: run_lib.Run) -> str:
  """Returns what the noise of an attack's size is called."""
  return figures.control_title(run.control)


def noise_rows(
  run: run_lib.Run, name: str, seed: int | None
) -> list[run_lib.Row]:
  """Returns the rows of the attack's control above epsilon 0, ascending.

  Args:
    run: The run.
    name: Of the judge.
    seed: Of source and judge; None for means over trainings.
  """
  rows = [
    row
    for row in (run.over_trainings if seed is None else run.first)
    if (row['target'], row['seed'], row['control']) == (name, seed, run.control)
    and row['epsilon'] > 0
  ]
  return sorted(rows, key=lambda row: row['epsilon'])


def telling_rows(
  run: run_lib.Run, rows: Sequence[run_lib.Row]
) -> list[run_lib.Row]:
  """Returns the rows at which the attack breaks more clips than noise does.

  Args:
    run: The run.
    rows: Of `noise_rows`.
  """
  return [row for row in rows if run.is_beyond_noise(row)]


def sentence(run: run_lib.Run, rows: Sequence[run_lib.Row]) -> str:
  """Returns a judge's errors where, of these rows, the attack exceeds most."""
  row = max(rows, key=lambda r: r['excess'])
  name, seed = row['target'], row['seed']
  attacked = run.at(name, seed, row['epsilon'])
  return (
    f'{titles.member_title(name, seed)}: '
    f'{claim.percent(attacked["error_rate"])} against '
    f'{claim.percent(row["error_rate"])} under noise at epsilon '
    f'{row["epsilon_given"]} ({claim.points(row, "excess")}, '
    f'{run.significance(row)})'
  )
