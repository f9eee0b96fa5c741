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
    judged: The verdicts by cell.
    levels: [num_clips] RMS of the recorded samples.
  """

  sweep: parts.Sweep
  task: str
  confidence: float
  judged: Mapping[planning.Cell, judging.Judgements]
  levels: np.ndarray

  def variants(self, cell: planning.Cell) -> tuple[str, ...]:
    """Returns what was judged for each clip and epsilon of a cell."""
    return variants(cell, self.sweep.settings)

  def sizes(self, cell: planning.Cell) -> np.ndarray:
    """Returns a cell's radii clip by clip, [num_epsilons, num_clips]."""
    radii = [epsilon.radii(self.levels) for epsilon in cell.epsilons]
    return np.stack(radii)

  @property
  def plain(self) -> dict[tuple[int, str, str], planning.Cell]:
    """Returns the cells without a transform, by source, attack and mask."""
    return {
      (cell.source, cell.attack, cell.mask): cell
      for cell in self.sweep.cells
      if cell.is_plain
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
  for cell in sweep.cells:
    preemption.check_alone()
    judged[cell] = parts.judgements(sweep, cell)
  levels = problem_lib.signal_rms(sweep.split.pcm, sweep.split.spans)
  return Results(sweep, task, confidence, judged, levels)
