"""Error against epsilon: source x target x attack x epsilon x seed in one job.

Beside every attacked clip stand noise controls of the same size and the same
clip after being saved. `planning` lists attacks, `judging` compiles and runs
them, `parts` keeps them on disk, `results` loads them for `tables` and
`findings`; `examples` writes clips to listen to.
"""

from advspeech.sweep.attacked import attacked_clips
from advspeech.sweep.examples import write_examples
from advspeech.sweep.findings import findings
from advspeech.sweep.findings import title as finding_title
from advspeech.sweep.judging import Judgements, judge
from advspeech.sweep.masks import num_touched
from advspeech.sweep.member import Member
from advspeech.sweep.named_attacks import by_name as attack_by_name
from advspeech.sweep.named_attacks import control_of, make_attack
from advspeech.sweep.parts import Sweep, run
from advspeech.sweep.planning import (
  CONTROLS,
  PlannedAttack,
  absolute_epsilons,
  check_ceiling,
  check_mask,
  parse_budgets,
  parse_epsilons,
  plan,
  source_names,
)
from advspeech.sweep.problem import levels, signal_rms
from advspeech.sweep.results import load as load_results
from advspeech.sweep.settings import FORMATS, Settings, make_settings, variants
from advspeech.sweep.tables import write as write_tables
from advspeech.sweep.tables.columns import EPSILON as EPSILON_COLUMNS
from advspeech.sweep.tables.columns import of_epsilon as epsilon_columns
from advspeech.sweep.tables.points import (
  STRONGEST,
  mean_of_finite,
  point_rows,
)
from advspeech.sweep.tables.trainings import COLUMNS as TRAINING_COLUMNS
from advspeech.sweep.tables.trainings import excess as excess_over_trainings
from advspeech.sweep.tables.trainings import rate as rate_over_trainings
from advspeech.sweep.tables.trainings import rows as training_rows
from advspeech.sweep.tables.verdicts import from_text as verdicts_from_text
from advspeech.sweep.validation import validate
from advspeech.sweep.victims import load as load_victim

__all__ = [
  'CONTROLS',
  'EPSILON_COLUMNS',
  'FORMATS',
  'STRONGEST',
  'TRAINING_COLUMNS',
  'Judgements',
  'Member',
  'PlannedAttack',
  'Settings',
  'Sweep',
  'absolute_epsilons',
  'attack_by_name',
  'attacked_clips',
  'check_ceiling',
  'check_mask',
  'control_of',
  'epsilon_columns',
  'excess_over_trainings',
  'finding_title',
  'findings',
  'judge',
  'levels',
  'load_results',
  'load_victim',
  'make_attack',
  'make_settings',
  'mean_of_finite',
  'num_touched',
  'parse_budgets',
  'parse_epsilons',
  'plan',
  'point_rows',
  'rate_over_trainings',
  'run',
  'signal_rms',
  'source_names',
  'training_rows',
  'validate',
  'variants',
  'verdicts_from_text',
  'write_examples',
  'write_tables',
]
