"""The stages of a run, in their order."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from advspeech import parallel, paths, report
from advspeech.experiment import data, studying
from advspeech.experiment.attacking import attack
from advspeech.experiment.run import Run, exists
from advspeech.experiment.training import train


class Stage(NamedTuple):
  """A part of a run that can be stopped and started again.

  Attributes:
    name: What it does.
    is_complete: Whether nothing is left to do.
    run: Does what is left.
  """

  name: str
  is_complete: Callable[[Run], bool]
  run: Callable[[Run], object]


def of(run: Run) -> tuple[Stage, ...]:
  """Returns prepare, train, attack, the config's studies, report."""
  return (
    Stage('prepare', _is_prepared, _prepare),
    Stage('train', _is_trained, train),
    Stage('attack', _is_attacked, attack),
    *(
      Stage(
        name,
        functools.partial(studying.is_studied, name=name),
        functools.partial(studying.study, name=name),
      )
      for name in run.config.studies
    ),
    Stage('report', _is_reported, lambda run: write_page(run.paths.root)),
  )


def left(run: Run) -> Sequence[Stage]:
  """Returns the stages that are not complete.

  The corpus is not missed where all else is there.
  """
  found = [stage for stage in of(run) if not stage.is_complete(run)]
  return [] if [stage.name for stage in found] == ['prepare'] else found


def write_page(workdir: str) -> str:
  """Draws the figures and the page of a run; returns its path.

  Args:
    workdir: Whose tables are there; its config is not asked.

  Raises:
    errors.InputError: If the attack has not been run there.
  """
  page = paths.RunPaths(workdir).page
  parallel.on_lead(lambda: report.write(workdir), f'{page} is written')
  return page


def _is_prepared(run):
  return parallel.agree(lambda: data.is_prepared(run.config))


def _prepare(run):
  data.prepare(run.config, run.skip_bad)


def _is_trained(run):
  return all(
    run.is_trained(name, seed)
    for seed in run.config.seeds
    for name in run.config.models
  )


def _is_attacked(run):
  return exists(run.paths.sweep_table)


def _is_reported(run):
  return exists(run.paths.page)
