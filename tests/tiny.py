"""A training of seconds: low tones against high ones, no corpus needed.

  python tests/tiny.py WORKDIR [key=value ...]

trains as `launch.train` would, to be killed by tests.
"""

import logging
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import shallow  # noqa: E402

from advspeech import input_pipeline, preemption, training  # noqa: E402
from configs import paper  # noqa: E402
from launch import ending  # noqa: E402

TIME = 2 * 640
CLASSES = ('low', 'high')


def get_config():
  config = paper.get_config()
  config.clip_s = TIME / 16_000
  config.model.features = 3
  config.model.hidden_features = 4
  config.training.update(
    ml_collections.ConfigDict(
      {'batch_size': 8, 'num_epochs': 3, 'learning_rate': 3e-3}
    )
  )
  return config


def tones(num_clips, seed):
  """Clips of a low or a high tone: a task a tiny model can learn."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 2, num_clips).astype(np.int32)
  time_s = np.arange(TIME) / 16_000
  hz = np.where(labels, 2000, 200) * rng.uniform(0.9, 1.1, num_clips)
  wave = np.sin(
    2 * np.pi * hz[:, None] * time_s + rng.uniform(0, 6, (num_clips, 1))
  )
  return input_pipeline.Split(
    ids=np.array([f'{seed}-{i}' for i in range(num_clips)]),
    pcm=np.rint(8000 * wave).astype(np.int16),
    num_samples=np.full(num_clips, TIME),
    labels=labels,
  )


SPLITS = {
  'train': tones(43, 0),  # not a multiple of the batch size
  'validation': tones(10, 1),
  'test': tones(21, 2),
}


def run(
  config, workdir, model_name='wavecnn', mesh=None, seed=0, frontend=None
):
  os.makedirs(workdir, exist_ok=True)
  return training.train_and_evaluate(
    config,
    str(workdir),
    model_name=model_name,
    seed=seed,
    splits=SPLITS,
    classes=CLASSES,
    mesh=mesh,
    frontend=frontend,
  )


def main(workdir, *overrides):
  config = get_config()
  for override in overrides:
    key, value = override.split('=')
    section, name = key.split('.')
    config[section][name] = type(config[section][name])(value)
  logging.basicConfig(format='%(message)s', force=True)
  logging.getLogger('advspeech').setLevel(logging.INFO)
  shallow.set_depths()
  preemption.install(ending.stop)
  preemption.loops_ask()
  run(config, workdir, 'wavernn')


if __name__ == '__main__':
  main(*sys.argv[1:])
