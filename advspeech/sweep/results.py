"""A judged sweep as its tables and checks read it: everything loaded once."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from advspeech import preemption
from advspeech.sweep import judging, parts, planning
from advspeech.sweep import problem as problem_lib
from advspeech.sweep.settings import variants


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
  """What a sweep has found.

  Attributes:
    sweep: Of which all parts are there.
    task: Name of the task, for the tables.
    confidence: Of all intervals; one less the level of every test.
    judged: The verdicts by planned attack.
    levels: Of the clips, for every epsilon planned.
  """

  sweep: parts.Sweep
  task: str
  confidence: float
  judged: Mapping[planning.PlannedAttack, judging.Judgements]
  levels: problem_lib.Levels

  def variants(self, planned: planning.PlannedAttack) -> tuple[str, ...]:
    """Returns what was judged for each clip and epsilon of a planned attack."""
    return variants(planned, self.sweep.settings)

  def sizes(self, planned: planning.PlannedAttack) -> np.ndarray:
    """Returns an attack's radii clip by clip, [num_epsilons, num_clips]."""
    radii = [epsilon.radii(*self.levels) for epsilon in planned.epsilons]
    return np.stack(radii)

  @property
  def plain(self) -> dict[tuple[int, str, str], planning.PlannedAttack]:
    """Returns the attacks without a transform, by source, attack and mask."""
    return {
      (planned.source, planned.attack, planned.mask): planned
      for planned in self.sweep.plan
      if planned.is_plain
    }


def load(sweep: parts.Sweep, task: str, confidence: float) -> Results:
  """Returns a sweep's results, from disk.

  Args:
    sweep: Of which all parts are there.
    task: Name of the task.
    confidence: Of all intervals.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  judged = {}
  for planned in sweep.plan:
    preemption.check_alone()
    judged[planned] = parts.judgements(sweep, planned)
  levels = parts.levels(sweep)
  return Results(sweep, task, confidence, judged, levels)
