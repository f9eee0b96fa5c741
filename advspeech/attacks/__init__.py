"""Attacks on any JAX classifier of audio: pure functions, no models inside."""

from advspeech.attacks import conformance
from advspeech.attacks.apgd import apgd
from advspeech.attacks.constraints import add, band_weights
from advspeech.attacks.controls import (
  gaussian_like,
  random_sign_like,
  shuffled,
)
from advspeech.attacks.feature_level import feature_fgsm, feature_pgd
from advspeech.attacks.fgsm import (
  fgm,
  fgsm,
  gradient_sign,
  perturb,
  unit_gradient,
)
from advspeech.attacks.lattice import repair, to_lattice
from advspeech.attacks.losses import (
  cross_entropy,
  margin,
  targeted_cross_entropy,
  targeted_margin,
)
from advspeech.attacks.minimal import Minimal, minimal_perturbation
from advspeech.attacks.pgd import bim, mi_fgsm, pgd
from advspeech.attacks.problem import Attack, Problem, from_function
from advspeech.attacks.registry import (
  DOUBLED,
  ON_FEATURES,
  make,
  names,
  norm_of,
)
from advspeech.attacks.solvers import SOLVERS, sparing
from advspeech.attacks.square import square
from advspeech.attacks.universal import (
  perturb_all,
  universal,
  universal_step,
)

__all__ = [
  'DOUBLED',
  'ON_FEATURES',
  'SOLVERS',
  'Attack',
  'Minimal',
  'Problem',
  'add',
  'apgd',
  'band_weights',
  'bim',
  'conformance',
  'cross_entropy',
  'feature_fgsm',
  'feature_pgd',
  'fgm',
  'fgsm',
  'from_function',
  'gaussian_like',
  'gradient_sign',
  'make',
  'margin',
  'mi_fgsm',
  'minimal_perturbation',
  'names',
  'norm_of',
  'perturb',
  'perturb_all',
  'pgd',
  'random_sign_like',
  'repair',
  'shuffled',
  'sparing',
  'square',
  'targeted_cross_entropy',
  'targeted_margin',
  'to_lattice',
  'unit_gradient',
  'universal',
  'universal_step',
]
