"""Hold-outs: which of a task's clips are trained on, validated and tested."""

from advspeech.holdout.dealing import (
  FRACTIONS,
  SPLITS,
)
from advspeech.holdout.kinds import (
  DISJOINT_KINDS,
  KINDS,
  by_group,
  given,
  leave_one_session_out,
  num_shared,
  speaker_disjoint,
  stratified,
)

__all__ = [
  'DISJOINT_KINDS',
  'FRACTIONS',
  'KINDS',
  'SPLITS',
  'by_group',
  'given',
  'leave_one_session_out',
  'num_shared',
  'speaker_disjoint',
  'stratified',
]
