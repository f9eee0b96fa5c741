"""Input gradients of trained models over whole splits, told and drawn.

`analysis` computes, `tables` reduces to rows by utterance id with intervals,
`figures` draws from what `tables` wrote; the mathematics is in `gradients`.
"""

from advspeech.studies.gradients.figures import draw, member_title, plans
from advspeech.studies.gradients.tables import write

__all__ = ['draw', 'member_title', 'plans', 'write']
