"""Input gradients of trained models over whole splits, in tables and figures.

`analysis` computes, `tables` reduces to rows by utterance id and `summary` to
estimates with intervals, `parts` writes both, `figures` draws from what is
written; the mathematics is in `gradients`. Nothing is imported here, so that
`analysis` needs no library but JAX's.
"""
