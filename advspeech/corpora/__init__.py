"""Speech corpora: prepared once as TFDS data sets, read as arrays."""

from advspeech.corpora.corpus import Corpus, read
from advspeech.corpora.preparation import (
  describe,
  is_prepared,
  path,
  prepare,
)
from advspeech.corpora.source import BUILDERS, Source

__all__ = [
  'BUILDERS',
  'Corpus',
  'Source',
  'describe',
  'is_prepared',
  'path',
  'prepare',
  'read',
]
