"""Attacks on any JAX classifier of audio: pure functions, no models inside."""

from advspeech.attacks.controls import random_sign
from advspeech.attacks.feature_level import feature_fgsm, feature_pgd
from advspeech.attacks.fgsm import fgsm, gradient_sign, perturb
from advspeech.attacks.losses import cross_entropy

__all__ = [
  'cross_entropy',
  'feature_fgsm',
  'feature_pgd',
  'fgsm',
  'gradient_sign',
  'perturb',
  'random_sign',
]
