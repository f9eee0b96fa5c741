"""A short session with an accelerator: what a borrowed GPU or TPU can do.

`sections` names what is measured, each in a module of its own: peaks of the
device, the convolution's forms, training, the sweep, gradient statistics, the
CPU's answers, exact resume. `session` shares the time out and writes every row
as soon as it is measured; `streaks` compiles and times.
"""

from advspeech.benchmark.accelerator.scale import SCALES, Scale
from advspeech.benchmark.accelerator.sections import SECTIONS
from advspeech.benchmark.accelerator.session import (
  Section,
  Session,
  environment,
)

__all__ = ['SCALES', 'SECTIONS', 'Scale', 'Section', 'Session', 'environment']
