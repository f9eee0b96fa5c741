"""How large the parts of a perturbation are, of eq. 6, and how they sound."""

import jax
import jax.numpy as jnp

from advspeech import audio, quality

PARTS = ('conversion', 'adversarial', 'overall')
MEASURES = (
  *(f'{part}_snr_db' for part in PARTS),
  *(f'{part}_max_norm' for part in PARTS),
  *(f'{part}_l2' for part in PARTS),
  *(f'{part}_lsd_db' for part in PARTS),
)
# Of other people's code, on the host: empty where not scored or not defined.
SCORES = tuple(f'{part}_{name}' for part in PARTS for name in ('stoi', 'pesq'))


def of_eq6(
  clip: jax.Array,
  unperturbed: jax.Array,
  adversarial: jax.Array,
  mask: jax.Array,
) -> dict[str, jax.Array]:
  """Returns MEASURES by name, [batch] each.

  Args:
    clip: [batch, time] clips.
    unperturbed: [batch, time] the same, rebuilt from their features.
    adversarial: [batch, time] rebuilt from changed features.
    mask: [batch, time], 1 on recorded samples.
  """
  pairs = {
    'conversion': (clip, unperturbed),
    'adversarial': (unperturbed, adversarial),
    'overall': (clip, adversarial),
  }
  measures = {}
  for part, (before, after) in pairs.items():
    change = after - before
    measures[f'{part}_snr_db'] = audio.snr_db(clip, clip + change, mask)
    measures[f'{part}_max_norm'] = jnp.max(jnp.abs(change) * mask, -1)
    measures[f'{part}_l2'] = jnp.linalg.norm(change * mask, axis=-1)
    measures[f'{part}_lsd_db'] = quality.log_spectral_distance_db(
      before, after, mask
    )
  return measures
