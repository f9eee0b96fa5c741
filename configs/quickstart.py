"""Synthetic speech, small networks: the whole pipeline in minutes on a laptop.

  python -m launch.reproduce --workdir=runs/quickstart

`--config=configs/quickstart.py:disjoint` tests on voices that are not in
training.

Gender on eSpeak NG voices, 1.28 s clips, 8 feature maps where the paper
has 32. On two CPU cores (2026-11-27, JAX 0.12) test accuracy 100 %, FGSM on
WaveCNN above random signs from epsilon 0.004 to 0.008 in both seeds.
"""

import ml_collections

from configs import paper


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Returns the quickstart.

  Args:
    variant: 'disjoint' to test on speakers who are not in training.
  """
  if variant not in ('', 'disjoint'):
    raise ValueError(
      f"the variant must be 'disjoint', got {variant!r}; for example "
      'configs/quickstart.py:disjoint'
    )
  config = paper.get_config()
  if variant:
    config.split.kind = 'speaker_disjoint'
  config.clip_s = 1.28
  config.model.features = 8
  config.model.hidden_features = 32
  config.model.input_pool = 2
  config.model.norm_momentum = 0.8
  config.training.batch_size = 32
  config.training.num_epochs = 6
  config.training.learning_rate = 2e-3
  config.sweep.batch_size = 40
  config.sweep.num_clips = 120
  config.sweep.epsilons = (0.0, 0.002, 0.004, 0.006, 0.008, 0.012, 0.02)
  config.gradients.num_clips = 48
  config.gradients.num_studied = 16
  return config
