"""Where a loss can be moved from: pure functions on any JAX callable."""

from advspeech.gradients.accumulation import (
  fitted_exponent,
  from_half_rate,
  half_rate,
  linear_until,
  loss_changes,
  nested_subsets,
  predicted_change,
)
from advspeech.gradients.comparison import compare, rank_correlation
from advspeech.gradients.fidelity import sign_fidelity
from advspeech.gradients.input_gradients import input_gradient, summarise
from advspeech.gradients.jacobians import (
  one_step_norms,
  state_jacobian_norms,
)
from advspeech.gradients.profiles import (
  EARLY_SHARE,
  frame_profile,
  half_life_ms,
  mass_index,
)

__all__ = [
  'EARLY_SHARE',
  'compare',
  'fitted_exponent',
  'frame_profile',
  'from_half_rate',
  'half_life_ms',
  'half_rate',
  'input_gradient',
  'linear_until',
  'loss_changes',
  'mass_index',
  'nested_subsets',
  'one_step_norms',
  'predicted_change',
  'rank_correlation',
  'sign_fidelity',
  'state_jacobian_norms',
  'summarise',
]
