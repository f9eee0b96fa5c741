"""What is tried: representations, variants of the attack, and how much."""

import dataclasses
from typing import NamedTuple

from advspeech import features

WAVEFORM = 'waveform'


class Variant(NamedTuple):
  """One way to attack.

  Attributes:
    representation: One of `REPRESENTATIONS`; the waveform is end to end.
    method: 'fgsm', 'pgd', or 'random_sign', the control: signs by chance.
    through: See `attacks.feature_level`.
  """

  representation: str
  method: str
  through: str


class Space(NamedTuple):
  """A representation, the radii tried in its unit, and the largest of all."""

  representation: features.Representation
  epsilons: tuple[float, ...]
  largest: float


_DB = (2.0, 8.0)
_MFCC = (4.0, 16.0)
REPRESENTATIONS = {
  space.representation.name: space
  for space in (
    Space(features.spectrogram(), _DB, 60.0),
    Space(features.spectrogram(phase='griffin_lim'), _DB, 60.0),
    Space(features.mfcc(phase='original'), _MFCC, 60.0),
    Space(features.mfcc(), _MFCC, 60.0),
    Space(features.waveform(), (0.0005, 0.002), 1.0),
  )
}
# Where rebuilding with the clip's own phases is exact, a gradient through the
# rebuilt waveform is the gradient through the features.
VARIANTS = (
  Variant('spectrogram_original', 'fgsm', 'waveform'),
  Variant('spectrogram_original', 'pgd', 'waveform'),
  Variant('spectrogram_original', 'random_sign', 'waveform'),
  Variant('mfcc13_original', 'fgsm', 'features'),
  Variant('spectrogram_griffin_lim', 'fgsm', 'features'),
  Variant('mfcc13_griffin_lim', 'fgsm', 'waveform'),
  Variant('mfcc13_griffin_lim', 'fgsm', 'features'),
  Variant('mfcc13_griffin_lim', 'pgd', 'features'),
  Variant('mfcc13_griffin_lim', 'random_sign', 'features'),
  Variant(WAVEFORM, 'fgsm', 'waveform'),
  Variant(WAVEFORM, 'pgd', 'waveform'),
  Variant(WAVEFORM, 'random_sign', 'waveform'),
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tried.

  Attributes:
    variants: Attacks; the waveform's come last.
    num_clips: Of the test split, evenly spread over it.
    snr_db: At which attacks are compared, over recorded samples.
    max_norms: The same, in the model's unit.
    num_steps: Gradients of PGD.
    num_halvings: Of the bisection that matches sizes.
    error_rates: At which the SNR of attacks is compared.
    num_scored: Of these clips, evenly spread, that STOI and PESQ (where
      installed) score; -1 for all.
    num_norm_clips: Clips that eq. 7 is tried on.
    num_norm_perturbations: Perturbations of each.
    confidence: Of intervals.
  """

  variants: tuple[Variant, ...] = VARIANTS
  num_clips: int = 96
  snr_db: tuple[float, ...] = (20.0, 10.0, 5.0, 0.0, -5.0)
  max_norms: tuple[float, ...] = (0.002, 0.02)
  num_steps: int = 8
  num_halvings: int = 9
  error_rates: tuple[float, ...] = (0.25, 0.5)
  num_scored: int = -1
  num_norm_clips: int = 16
  num_norm_perturbations: int = 12
  confidence: float = 0.95


class Budget(NamedTuple):
  """How strong an attack is.

  Attributes:
    kind: 'epsilon', the radius in the features' unit; 'snr' or 'max_norm', the
      size of the overall perturbation; or 'price', its SNR being what
      rebuilding from another representation costs each clip.
    value: The radius or the size; 0 for a price.
    priced: The representation whose price it is, '' for none.
  """

  kind: str
  value: float
  priced: str = ''


def budgets(variant: Variant, settings: Settings) -> tuple[Budget, ...]:
  """Returns a variant's budgets, those of a radius first."""
  radii = (0.0, *REPRESENTATIONS[variant.representation].epsilons)
  found = [Budget('epsilon', radius) for radius in radii]
  found += [Budget('snr', snr_db) for snr_db in settings.snr_db]
  found += [Budget('max_norm', largest) for largest in settings.max_norms]
  if variant.representation == WAVEFORM:
    # What the conversion loss of the others would have bought.
    names = dict.fromkeys(v.representation for v in settings.variants)
    found += [Budget('price', 0.0, n) for n in names if n != WAVEFORM]
  return tuple(found)
