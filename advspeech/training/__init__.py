"""Training of classifiers: the loop, its step, the search of its rate."""

from advspeech.training.loop import (
  NAMES,
  base_name,
  check_frontend,
  describe,
  evaluate,
  frontend_of,
  make_model,
  model_options,
  train,
  train_and_evaluate,
)
from advspeech.training.step import (
  learning_rate,
  make_eval_step,
  make_steps,
)

__all__ = [
  'NAMES',
  'base_name',
  'check_frontend',
  'describe',
  'evaluate',
  'frontend_of',
  'learning_rate',
  'make_eval_step',
  'make_model',
  'make_steps',
  'model_options',
  'train',
  'train_and_evaluate',
]
