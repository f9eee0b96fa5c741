"""Training of classifiers: the loop, its step, the search of its rate."""

from advspeech.training import defence
from advspeech.training.loop import train, train_and_evaluate
from advspeech.training.metrics import check_finite, evaluate
from advspeech.training.model import (
  NAMES,
  base_name,
  check_frontend,
  describe,
  frontend_of,
  make_model,
  model_options,
)
from advspeech.training.program import Program, augmentation, programs
from advspeech.training.step import (
  Steps,
  abstract_rate,
  decay,
  make_eval_step,
  make_steps,
)

__all__ = [
  'NAMES',
  'Program',
  'Steps',
  'abstract_rate',
  'augmentation',
  'base_name',
  'check_finite',
  'check_frontend',
  'decay',
  'defence',
  'describe',
  'evaluate',
  'frontend_of',
  'make_eval_step',
  'make_model',
  'make_steps',
  'model_options',
  'programs',
  'train',
  'train_and_evaluate',
]
