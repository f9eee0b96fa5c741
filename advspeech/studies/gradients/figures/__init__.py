"""Figures of the gradients' study, drawn from its tables and arrays alone."""

from advspeech.studies.gradients.figures.frames import (
  comparison,
  profiles,
)
from advspeech.studies.gradients.figures.growth import (
  accumulation,
)
from advspeech.studies.gradients.figures.jacobians import (
  jacobian_decay,
)
from advspeech.studies.gradients.figures.number_formats import (
  arithmetics,
)
from advspeech.studies.gradients.figures.plan import (
  plans,
)
from advspeech.studies.gradients.figures.style import (
  member_title,
)
from advspeech.studies.gradients.figures.traces import (
  gradient_traces,
)

__all__ = [
  'accumulation',
  'arithmetics',
  'comparison',
  'gradient_traces',
  'jacobian_decay',
  'member_title',
  'plans',
  'profiles',
]
