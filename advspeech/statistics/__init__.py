"""Intervals on rates and means, and tests on pairs of rates.

Kinds of chance, a module each: which clips were drawn (`rates`, `medians`,
`bootstrap`, `pairs`), whose voices they are (`clusters`, and `trials`, which
have a speaker on either side), and which training of the network it was
(`trainings`). `verification` has the rates of a speaker verifier. SciPy is
imported where it is called; it takes most of a second.
"""

from advspeech.statistics.bootstrap import bootstrap_interval
from advspeech.statistics.clusters import (
  FEWEST_CLUSTERS,
  cluster_bootstrap_interval,
  cluster_bootstrap_p,
  cluster_median_interval,
  clustered_wilson_interval,
)
from advspeech.statistics.curves import (
  Turn,
  off_line_p,
  turn,
)
from advspeech.statistics.medians import median_interval
from advspeech.statistics.pairs import (
  McNemar,
  mcnemar,
  paired_difference_interval,
  square_and_add,
)
from advspeech.statistics.rates import wilson_interval

__all__ = [
  'FEWEST_CLUSTERS',
  'McNemar',
  'Turn',
  'bootstrap_interval',
  'cluster_bootstrap_interval',
  'cluster_bootstrap_p',
  'cluster_median_interval',
  'clustered_wilson_interval',
  'mcnemar',
  'median_interval',
  'off_line_p',
  'paired_difference_interval',
  'square_and_add',
  'turn',
  'wilson_interval',
]
