"""A training of seconds: low tones against high ones, no corpus needed.

  python tests/tiny.py WORKDIR [key=value ...]

trains as `launch.train` would, to be killed by tests.
"""

import json
import logging
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402
import shallow  # noqa: E402

from advspeech import input_pipeline, preemption, training  # noqa: E402
from configs import paper  # noqa: E402
from launch import ending  # noqa: E402

MODEL = 'tests.tiny_models:TinyModel'
TIME = 2 * 640
# What the clock decides of an epoch's metrics.
_CLOCK = ('clips_per_s', 'seconds_left')
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
  config,
  workdir,
  model_name=MODEL,
  mesh=None,
  seed=0,
  frontend=None,
  splits=SPLITS,
):
  os.makedirs(workdir, exist_ok=True)
  return training.train_and_evaluate(
    config,
    str(workdir),
    model_name=model_name,
    seed=seed,
    splits=splits,
    classes=CLASSES,
    mesh=mesh,
    frontend=frontend,
  )


def final_arrays(workdir):
  """Returns every array of the last checkpoint, the optimiser's too."""
  step = max(int(p.name) for p in (workdir / 'checkpoints').iterdir())
  arrays = []
  with ocp.PyTreeCheckpointer() as checkpointer:
    for name in ('variables', 'optimizer'):
      path = workdir / 'checkpoints' / str(step) / name
      # As NumPy: wherever it was saved, by however many processes.
      restore_args = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        checkpointer.metadata(path).item_metadata.tree,
      )
      arrays.append(checkpointer.restore(path, restore_args=restore_args))
  return arrays


def records(workdir):
  """Returns what was recorded, less what the clock decides."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [
    {k: v for k, v in json.loads(line).items() if k not in _CLOCK}
    for line in lines
  ]


def assert_same_bits(a, b):
  """Compares all that two trainings left, but for the clock."""
  jax.tree.map(np.testing.assert_array_equal, final_arrays(a), final_arrays(b))
  assert records(a) == records(b)
  assert (a / 'summary.json').read_text() == (b / 'summary.json').read_text()


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
