"""What a run would find here: processes, devices, file systems, versions.

The first line of a recipe for a cluster: it ends with a sentence where a run
would fail, before a day in a queue is lost to it.
"""

import contextlib
import os
import shutil
from typing import Any

import jax
import ml_collections
from jax._src import hardware_utils  # what JAX itself looks for

from advspeech import (
  buckets,
  corpora,
  errors,
  experiment,
  parallel,
  processes,
  provenance,
  storage,
)

_HUGE_PAGES = '/sys/kernel/mm/transparent_hugepage/enabled'
# Who starts a program again, by a variable that is set there, and when.
_RESTARTS = (
  (
    'SLURM_JOB_ID',
    'Slurm: launch/slurm/train.sbatch puts the job into the queue again on 75',
  ),
  (
    'JAX_NUM_PROCESSES',
    'Kubeflow: the runtime, as its TrainJob says; 75 is a failure to it',
  ),
  (
    'JOB_COMPLETION_INDEX',
    'Kubernetes: the JobSet on 75, and on what else launch/gke/run.sh or '
    'launch/xpk/run.sh says',
  ),
  (
    'SKYPILOT_NODE_RANK',
    'SkyPilot: a managed job (sky jobs launch) when its nodes are taken away',
  ),
)
_NOBODY = 'nobody: start the same command again after 75 or 130'


def examine(
  config: ml_collections.ConfigDict, workdir: str
) -> list[tuple[str, str]]:
  """Returns what there is, as (topic, sentence), the same on every process.

  Args:
    config: Of the run.
    workdir: Its folder; it is made, and removed again if it was not there.

  Raises:
    errors.InputError: If a run of this config would fail here.
  """
  experiment.validate(config)
  _check_accelerators()
  experiment.check_devices(config)
  device = jax.local_devices()[0]
  rows = [
    ('processes', processes.membership()),
    (
      'devices',
      f'{jax.device_count()} {device.device_kind} ({device.platform}), '
      f'{jax.local_device_count()} of them here{_memory(device)}',
    ),
    (
      'precision',
      f'training in {config.training.precision}, attacks in '
      f'{config.sweep.precision}',
    ),
  ]
  data_dir = os.path.dirname(
    corpora.path(config.corpus.name, data_dir=config.data_dir)
  )
  for topic, folder in (('--workdir', workdir), ('data', data_dir)):
    rows.append((topic, _examine_folder(folder)))
  rows += [
    ('corpus', experiment.describe_corpus(config)),
    ('compiled', _compilation_cache()),
    ('huge pages', _huge_pages()),
    ('sound files', ', '.join(_sound_formats())),
    ('restarted by', _restarted_by()),
    (
      'versions',
      ', '.join(f'{k} {v}' for k, v in provenance.versions().items()),
    ),
    ('commit', _commit()),
  ]
  return rows


def _check_accelerators():
  """Raises errors.InputError where JAX leaves this machine's devices unused."""
  if parallel.platform() != 'cpu' or os.environ.get('JAX_PLATFORMS'):
    return
  num_tpus, _ = hardware_utils.num_available_tpu_chips_and_device_id()
  if num_tpus:
    found, extra = f'{num_tpus} TPU chips', 'tpu'
  elif hardware_utils.has_visible_nvidia_gpu():
    found, extra = 'an NVIDIA GPU', 'cuda'
  else:
    return
  raise errors.InputError(
    f'this machine has {found}, but JAX takes its processors alone; python -m '
    f"pip install -e '.[{extra}]', end what else holds it, or set "
    'JAX_PLATFORMS=cpu to leave it out'
  )


def _memory(device: jax.Device) -> str:
  """Returns how much memory a device has, where it says so."""
  stats: dict[str, Any] = device.memory_stats() or {}
  limit = stats.get('bytes_limit')
  return f', {limit / 2**30:.0f} GiB each' if limit else ''


def _examine_folder(folder: str) -> str:
  """Returns what a folder is good for; every process has to see the same.

  Raises:
    errors.InputError: If it cannot be written to, or another process does not
      see what is written.
  """
  if buckets.is_bucket(folder):
    above = folder
  else:
    above = os.path.abspath(folder)
    while not os.path.isdir(above):
      above = os.path.dirname(above)
  # Named by the lead's number, which all are given: none is ahead of another.
  token = os.path.join(above, f'.advspeech-{parallel.agree(os.getpid)}')
  parallel.on_lead(
    lambda: (storage.check_writable(folder), storage.write_json(token, {})),
    f'{token} is written',
  )
  seen = parallel.gather(int(storage.exists(token)))
  locks = False
  if parallel.is_lead():
    locks = not buckets.is_bucket(token) and _locks(token)
    storage.remove(token)
  if not all(seen):
    blind = ', '.join(str(i) for i, sees in enumerate(seen) if not sees)
    raise errors.InputError(
      f'process {blind} does not see what process 0 writes to {above}; put '
      f'{folder} on a file system that all of them share'
    )
  found = f'{folder}: can be written to, seen by all of {len(seen)}'
  if buckets.is_bucket(folder):
    return f'{found}, in a bucket'
  free = shutil.disk_usage(above).free
  return (
    f'{found}, {"locks" if locks else "no locks"}, {free / 1e9:.0f} GB free'
  )


def _locks(path):
  """Returns whether files can be locked there; a corpus is prepared by one."""
  import fcntl

  with contextlib.suppress(OSError), open(path, 'r+b') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  return False


def _compilation_cache():
  folder = os.environ.get('JAX_COMPILATION_CACHE_DIR')
  if not folder:
    return 'programs are compiled anew each time: no folder for them'
  return f'programs are kept in {folder}'


def _huge_pages():
  if not os.path.exists(_HUGE_PAGES):
    return 'this system has none'
  with open(_HUGE_PAGES, encoding='ascii') as file:
    mode = file.read().partition('[')[2].partition(']')[0]
  asked = 'hugetlb' in os.environ.get('GLIBC_TUNABLES', '')
  return f'{mode}{", asked for" if asked else ""}'


def _sound_formats():
  import soundfile

  wanted = ('WAV', 'FLAC', 'OGG', 'MP3')
  there = soundfile.available_formats()
  return [name for name in wanted if name in there]


def _restarted_by():
  for variable, sentence in _RESTARTS:
    if variable in os.environ:
      return sentence
  return _NOBODY


def _commit():
  found = provenance.code()
  if not found['commit']:
    return 'not a checkout'
  return found['commit'][:12] + (', with changes' if found['changed'] else '')
