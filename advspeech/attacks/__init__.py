"""Attacks on any JAX classifier of audio: pure functions, no models inside."""

from advspeech.attacks.controls import random_sign
from advspeech.attacks.fgsm import fgsm, gradient_sign, perturb
from advspeech.attacks.losses import cross_entropy

__all__ = [
  'cross_entropy',
  'fgsm',
  'gradient_sign',
  'perturb',
  'random_sign',
]
