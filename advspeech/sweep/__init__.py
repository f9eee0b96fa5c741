"""Error against epsilon: source x target x attack x epsilon x seed in one job.

Beside every attacked clip stand noise controls of the same size and the same
clip after being saved. `cells` says what there is to do, `engine` compiles and
runs it, `work` keeps it on disk, `tables`, `findings` and `examples` tell it.
"""

from advspeech.sweep.cells import (
  CONTROLS,
  Cell,
  Member,
  absolute,
  check_mask,
  parse_epsilons,
  plan,
  source_names,
  validate,
)
from advspeech.sweep.engine import (
  FORMATS,
  Judgements,
  Settings,
  attacked_clips,
  judge,
  make_settings,
  variants,
)
from advspeech.sweep.examples import (
  QUALITY_COLUMNS,
  quality_rows,
)
from advspeech.sweep.examples import write as write_examples
from advspeech.sweep.findings import findings
from advspeech.sweep.masks import num_touched
from advspeech.sweep.named_attacks import by_name as attack_by_name
from advspeech.sweep.named_attacks import control_of, make_attack
from advspeech.sweep.problem import signal_rms
from advspeech.sweep.tables import (
  DIRECT_COLUMNS,
  EPSILON_COLUMNS,
  MINIMAL_COLUMNS,
  SAMPLE_COLUMNS,
  SWEEP_COLUMNS,
  TRANSFORM_COLUMNS,
  direct_rows,
  epsilon_columns,
  minimal_rows,
  sample_rows,
  strongest_rows,
  sweep_rows,
  transform_rows,
)
from advspeech.sweep.victims import load as load_victim
from advspeech.sweep.work import Sweep, run

__all__ = [
  'CONTROLS',
  'DIRECT_COLUMNS',
  'EPSILON_COLUMNS',
  'FORMATS',
  'MINIMAL_COLUMNS',
  'QUALITY_COLUMNS',
  'SAMPLE_COLUMNS',
  'SWEEP_COLUMNS',
  'TRANSFORM_COLUMNS',
  'Cell',
  'Judgements',
  'Member',
  'Settings',
  'Sweep',
  'absolute',
  'attack_by_name',
  'attacked_clips',
  'check_mask',
  'control_of',
  'direct_rows',
  'epsilon_columns',
  'findings',
  'judge',
  'load_victim',
  'make_attack',
  'make_settings',
  'minimal_rows',
  'num_touched',
  'parse_epsilons',
  'plan',
  'quality_rows',
  'run',
  'sample_rows',
  'signal_rms',
  'source_names',
  'strongest_rows',
  'sweep_rows',
  'transform_rows',
  'validate',
  'variants',
  'write_examples',
]
