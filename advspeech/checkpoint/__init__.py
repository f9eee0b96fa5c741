"""Checkpoints: the last two and the best, resumed bit for bit, never trusted.

Arrays and JSON on disk (Orbax), never pickle. Orbax commits a step whole but
restores a flipped byte without a word, and takes any folder with a number for
a step: when a save has ended, its number and the SHA-256 of each of its files
are written beside them, and nothing is read that does not agree with them.

Of a run in a bucket Orbax sees a copy here, from which each step is sent once
it is whole, those digests last: it knows gs:// but not s3://, and there, too,
no more than that it wrote. What is restored is the copy that was checked.
"""

from advspeech.checkpoint.classifier import (
  Classifier,
  check_clips,
  load_best,
  load_classifier,
  variables_sha256,
)
from advspeech.checkpoint.manager import (
  ATTACKED_ACCURACY,
  RANKING,
  Checkpoints,
  check_path,
  rank,
)

__all__ = [
  'ATTACKED_ACCURACY',
  'RANKING',
  'Checkpoints',
  'Classifier',
  'check_clips',
  'check_path',
  'load_best',
  'load_classifier',
  'rank',
  'variables_sha256',
]
