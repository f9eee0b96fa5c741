"""Attacks on any JAX classifier of audio: pure functions, no models inside."""

from advspeech.attacks.constraints import add, band_weights
from advspeech.attacks.controls import (
  gaussian_like,
  random_sign,
  random_sign_like,
  shuffled,
)
from advspeech.attacks.fgsm import (
  fgm,
  fgsm,
  gradient_sign,
  perturb,
  unit_gradient,
)
from advspeech.attacks.losses import (
  cross_entropy,
  margin,
  targeted_cross_entropy,
  targeted_margin,
)
from advspeech.attacks.pgd import bim, mi_fgsm, pgd

__all__ = [
  'add',
  'band_weights',
  'bim',
  'cross_entropy',
  'fgm',
  'fgsm',
  'gaussian_like',
  'gradient_sign',
  'margin',
  'mi_fgsm',
  'perturb',
  'pgd',
  'random_sign',
  'random_sign_like',
  'shuffled',
  'targeted_cross_entropy',
  'targeted_margin',
  'unit_gradient',
]
