"""Intervals on rates and means, and tests on pairs of rates.

Two attacks judged on the same clips are a paired sample: their difference is
told by the clips on which they disagree, not by whether two intervals overlap.
Clips of one voice are no independent sample of voices: intervals by cluster
take the voices for what was drawn.
SciPy is imported where it is called; it takes most of a second.
"""

from advspeech.statistics.intervals import (
  FEWEST_CLUSTERS,
  bootstrap_interval,
  cluster_bootstrap_interval,
  cluster_bootstrap_p,
  clustered_wilson_interval,
  wilson_interval,
)
from advspeech.statistics.paired import (
  McNemar,
  mcnemar,
  paired_difference_interval,
  square_and_add,
)

__all__ = [
  'FEWEST_CLUSTERS',
  'McNemar',
  'bootstrap_interval',
  'cluster_bootstrap_interval',
  'cluster_bootstrap_p',
  'clustered_wilson_interval',
  'mcnemar',
  'paired_difference_interval',
  'square_and_add',
  'wilson_interval',
]
