"""Certificates: no perturbation this small can change the answer.

The base network hears a clip with Gaussian noise, many times, and the majority
is the answer of the smoothed one. From how large that majority is follows an L2
radius in which it cannot change, whoever attacks (Cohen et al. 2019). Clipping
to full scale after the noise is part of the base network.
"""
