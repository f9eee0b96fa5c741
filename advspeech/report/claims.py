"""The paper's claims and numbers, to be set beside a run's.

A verdict is drawn from the tables by the rule that stands in the claim, for
every seed and model on its own; 'in part' is where they disagree.
"""

from collections.abc import Callable

from advspeech import claim, studies
from advspeech.report import (
  defence_claims,
  protection_claims,
  shape_claims,
  sweep_claims,
)
from advspeech.report import run as run_lib

# The paper's numbers: (clean accuracy, epsilon, error under FGSM there).
PAPER = {
  'gender': {'wavernn': (0.88, 0.02, 0.31), 'wavecnn': (0.88, 0.02, 0.25)},
  'emotion': {'wavernn': (0.84, 0.015, 0.48), 'wavecnn': (0.85, 0.015, 0.425)},
  'speaker': {'wavernn': (0.69, 0.032, 0.62), 'wavecnn': (0.73, 0.032, 0.44)},
}
# What its tasks tell apart; its speakers have other names.
_CLASSES = {'gender': ['female', 'male'], 'emotion': ['angry', 'sad']}


def of_the_paper(run: run_lib.Run) -> dict[str, tuple[float, float, float]]:
  """Returns the paper's numbers by model, if the classes are the paper's."""
  classes = _CLASSES.get(run.task, run.classes)
  return PAPER.get(run.task, {}) if run.classes == classes else {}


_CLAIMS: tuple[Callable[[run_lib.Run], claim.Claim], ...] = (
  sweep_claims.effective,
  sweep_claims.transferred,
  sweep_claims.direct,
  shape_claims.linear,
  shape_claims.flat_then_jump,
  shape_claims.fluctuates,
  shape_claims.vulnerability,
  protection_claims.filters,
  sweep_claims.robust_to_noise,
  sweep_claims.shared_frontend,
  defence_claims.of_run,
  protection_claims.privacy,
  sweep_claims.smallest,
)


def of_run(run: run_lib.Run) -> list[claim.Claim]:
  """Returns every claim with its verdict on this run, the sweep's first."""
  found = [make(run) for make in _CLAIMS]
  for name, results in run.studies.items():
    found += studies.resolve(name).claims(results)
  return found
