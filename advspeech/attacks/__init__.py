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
from advspeech.attacks.hopskipjump import Closest, hopskipjump
from advspeech.attacks.lattice import repair, to_lattice
from advspeech.attacks.losses import (
  cross_entropy,
  margin,
  targeted_cross_entropy,
  targeted_margin,
)
from advspeech.attacks.minimal import Minimal, minimal_perturbation
from advspeech.attacks.nes import nes, nes_search
from advspeech.attacks.pgd import bim, mi_fgsm, pgd
from advspeech.attacks.problem import Attack, Problem, from_function
from advspeech.attacks.queries import Searched, milestones
from advspeech.attacks.registry import (
  DOUBLED,
  ON_FEATURES,
  asks_only,
  make,
  names,
  norm_of,
)
from advspeech.attacks.solvers import SOLVERS, sparing
from advspeech.attacks.square import square, square_search
from advspeech.attacks.universal import (
  perturb_all,
  universal,
  universal_step,
)
from advspeech.attacks.universal_filter import filter_all, filter_step

__all__ = [
  'DOUBLED',
  'ON_FEATURES',
  'SOLVERS',
  'Attack',
  'Closest',
  'Minimal',
  'Problem',
  'Searched',
  'add',
  'apgd',
  'asks_only',
  'band_weights',
  'bim',
  'conformance',
  'cross_entropy',
  'feature_fgsm',
  'feature_pgd',
  'fgm',
  'fgsm',
  'filter_all',
  'filter_step',
  'from_function',
  'gaussian_like',
  'gradient_sign',
  'hopskipjump',
  'make',
  'margin',
  'mi_fgsm',
  'milestones',
  'minimal_perturbation',
  'names',
  'nes',
  'nes_search',
  'norm_of',
  'perturb',
  'perturb_all',
  'pgd',
  'random_sign_like',
  'repair',
  'shuffled',
  'sparing',
  'square',
  'square_search',
  'targeted_cross_entropy',
  'targeted_margin',
  'to_lattice',
  'unit_gradient',
  'universal',
  'universal_step',
]
