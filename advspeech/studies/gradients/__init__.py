"""Input gradients of trained models over whole splits, in tables and figures.

`analysis` computes, `tables` reduces to rows by utterance id with intervals,
`figures` draws from what `tables` wrote; the mathematics is in `gradients`.
"""

from advspeech.studies.gradients.study import GradientStudy

STUDY = GradientStudy()
