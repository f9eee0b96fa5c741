"""Feature-level attacks against end-to-end ones, on equal terms.

The paper argues (Figure 3, eqs. 6 and 7) that perturbing features and
rebuilding the audio costs a conversion loss that can exceed the perturbation
itself. Here both kinds of attack are made on the same clips by the same steps,
the end-to-end one on the waveform as its own representation, and the overall
perturbation of every example is split as in eq. 6.

Perturbations stay on recorded samples: in the padding a feature-level attack
could do little, and SNR would not see what an end-to-end one does there.

`settings` says what is tried, `engine` attacks, `norms` is eq. 7, `tables`,
`examples` and `figures` tell it.
"""

from advspeech.studies.features.engine import (
  CLIP_COLUMNS,
  MEASURES,
  SCORES,
  attack_clips,
)
from advspeech.studies.features.figures import draw, plans, representation_title
from advspeech.studies.features.norms import (
  NORM_COLUMNS,
  NORM_EXAMPLE_COLUMNS,
  norm_example_rows,
  norm_rows,
  norm_summary_rows,
)
from advspeech.studies.features.settings import Settings, Variant
from advspeech.studies.features.tables import (
  BUDGET_COLUMNS,
  EQUAL_COLUMNS,
  EQUAL_ERROR_COLUMNS,
  budget_rows,
  equal_error_rows,
  equal_rows,
  write,
)

__all__ = [
  'BUDGET_COLUMNS',
  'CLIP_COLUMNS',
  'EQUAL_COLUMNS',
  'EQUAL_ERROR_COLUMNS',
  'MEASURES',
  'NORM_COLUMNS',
  'NORM_EXAMPLE_COLUMNS',
  'SCORES',
  'Settings',
  'Variant',
  'attack_clips',
  'budget_rows',
  'draw',
  'equal_error_rows',
  'equal_rows',
  'norm_example_rows',
  'norm_rows',
  'norm_summary_rows',
  'plans',
  'representation_title',
  'write',
]
