"""Is this curve to be believed? Signs that attack or judgement is broken.

In the manner of AutoAttack's warnings (Croce & Hein 2020; Carlini et al. 2019):
each function looks at one thing and returns what it found, nothing where all is
well. A finding is one sentence with its values and what to do.
"""

from advspeech.checks.answers import (
  ONE_ANSWER,
  beyond_chance,
  most_given,
  one_answer,
)
from advspeech.checks.clips import (
  below_one_lsb,
  too_few_clips,
  untouched_clips,
)
from advspeech.checks.curve import (
  control_as_strong,
  non_monotone_curve,
)
from advspeech.checks.finding import (
  Finding,
)
from advspeech.checks.masking import (
  masked_gradients,
  not_converged,
  unbroken_clips,
)
from advspeech.checks.outputs import (
  GradientShares,
  batch_dependent_logits,
  gradient_findings,
  gradient_shares,
  logits_look_like_softmax,
)

__all__ = [
  'ONE_ANSWER',
  'Finding',
  'GradientShares',
  'batch_dependent_logits',
  'below_one_lsb',
  'beyond_chance',
  'control_as_strong',
  'gradient_findings',
  'gradient_shares',
  'logits_look_like_softmax',
  'masked_gradients',
  'most_given',
  'non_monotone_curve',
  'not_converged',
  'one_answer',
  'too_few_clips',
  'unbroken_clips',
  'untouched_clips',
]
