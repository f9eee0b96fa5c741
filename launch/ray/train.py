"""Runs a whole experiment on the workers of a Ray cluster, with Ray Train.

  python -m launch.ray.train --num_workers=4 --topology=4x4 \\
    --accelerator_type=TPU-V6E --config=... --workdir=/shared/runs/...
  python -m launch.ray.train --num_workers=2 --gpus=8 --config=...

Needs Ray 2.51 or newer, `pip install 'ray[train]'`, and on every node this
folder, advspeech and --workdir, under the same paths. A worker that is lost
ends the others, and all go on from the last checkpoint, `--max_failures` times;
so does the same command, once this one is stopped.

Ray joins the workers, by itself: --distributed and its like are not for here.
"""

import os
import re

from absl import flags

from launch import command

_NUM_WORKERS = flags.DEFINE_integer(
  'num_workers', 1, 'Hosts, of a TPU slice or with GPUs.', lower_bound=1
)
_GPUS = flags.DEFINE_integer(
  'gpus',
  0,
  'GPUs of a worker: all that its host has, for JaxTrainer takes the first.',
  lower_bound=0,
)
_TOPOLOGY = flags.DEFINE_string(
  'topology', None, 'Of the TPU slice, as 4x4; none on GPUs.'
)
_ACCELERATOR_TYPE = flags.DEFINE_string(
  'accelerator_type', None, "Ray's name of the TPU or GPU, as TPU-V6E."
)
_MAX_FAILURES = flags.DEFINE_integer(
  'max_failures', 3, 'How often lost workers are started again.', lower_bound=0
)
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Only print what would run.')


def work(job):
  """Runs the experiment as one of Ray's workers.

  Args:
    job: 'config', 'workdir' and 'skip_bad' as the library takes them, and
      'folder', where relative paths begin.
  """
  # Ray pickles it: it uses nothing of this module.
  import logging
  import os

  import jax
  import ray.train

  os.chdir(job['folder'])
  from advspeech import experiment

  started, joined = (
    ray.train.get_context().get_world_size(),
    jax.process_count(),
  )
  if started != joined:
    raise RuntimeError(
      f'Ray started {started} workers, of which JAX sees {joined}; older Rays '
      'join them on TPUs alone'
    )
  logger = logging.getLogger('advspeech')
  logger.addHandler(logging.StreamHandler())
  logger.setLevel(logging.WARNING if jax.process_index() else logging.INFO)
  experiment.reproduce(job['config'], job['workdir'], job['skip_bad'])


def main():
  from advspeech import errors, experiment, paths, storage

  config, workdir = command.CONFIG.value, storage.absolute(command.workdir())
  experiment.validate(config)
  if bool(_TOPOLOGY.value) == bool(_GPUS.value):
    raise errors.InputError(
      'give one of --topology, of a TPU slice, and --gpus, of a host, got '
      f'{_TOPOLOGY.value!r} and {_GPUS.value}'
    )
  if _TOPOLOGY.value and not re.fullmatch(r'\d+(x\d+){1,2}', _TOPOLOGY.value):
    raise errors.InputError(
      '--topology must be that of the slice alone, as 4x4 or 2x2x4, got '
      f'{_TOPOLOGY.value!r}; --accelerator_type says of which TPU'
    )
  job = {
    'config': config,
    'workdir': workdir,
    'skip_bad': command.SKIP_BAD.value,
    'folder': os.getcwd(),
  }
  scaling = {
    'num_workers': _NUM_WORKERS.value,
    'use_tpu': bool(_TOPOLOGY.value),
    'topology': _TOPOLOGY.value,
    'use_gpu': bool(_GPUS.value),
    'resources_per_worker': {'GPU': _GPUS.value} if _GPUS.value else None,
    'accelerator_type': _ACCELERATOR_TYPE.value,
  }
  if _DRY_RUN.value:
    print(f'experiment.reproduce(config, {workdir!r}) on {scaling}')
    return
  try:
    from ray import train
    from ray.train.v2.jax import JaxTrainer
  except ImportError as e:
    raise errors.InputError(
      f"Ray Train is missing ({e}); install it with pip install 'ray[train]'"
    ) from e
  JaxTrainer(
    work,
    train_loop_config=job,
    scaling_config=train.ScalingConfig(**scaling),
    run_config=train.RunConfig(
      storage_path=f'{workdir}-ray',
      failure_config=train.FailureConfig(max_failures=_MAX_FAILURES.value),
    ),
  ).fit()
  print(paths.RunPaths(workdir).page)


if __name__ == '__main__':
  # This process waits for the workers: it joins nobody and takes no device.
  import jax

  jax.config.update('jax_platforms', 'cpu')
  flags.FLAGS.set_default('distributed', 'off')
  command.run(main)
