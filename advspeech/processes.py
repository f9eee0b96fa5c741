"""How several processes become one program."""

import logging
import os
import re
import threading
import time
import warnings

import jax
from jax._src import distributed as jax_distributed  # what it waits for

from advspeech import cluster, errors, parallel, preemption

logger = logging.getLogger(__name__)

# A process that stops answering ends the others after this long; JAX waits
# 100 s and, at an exception, 300 s.
_HEARTBEAT_TIMEOUT_S = 30
# How long processes wait for each other at the start, and when they say so.
JOIN_TIMEOUT_S = 300
PATIENCE_S = 5
# What the libraries that carry arrays and notices between processes say, in
# whatever they raise, of one that does not answer.
_OF_OTHERS = re.compile(
  r'UNAVAILABLE: |(?i:gloo|nccl|coordination.?service|heartbeat)'
  r'|(?i:barrier.{0,20}(timed out|failed)|connection (closed|reset))'
  r'|(?i:socket closed|broken pipe)'
)
# Where only processes of this machine come from.
_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')
# What JAX detects a cluster by, or is given by hand.
_CLUSTER_VARIABLES = (
  'SLURM_JOB_ID',
  'SLURM_NTASKS',
  'SLURM_PROCID',
  'SLURM_STEP_NODELIST',
  'OMPI_COMM_WORLD_SIZE',
  'OMPI_COMM_WORLD_RANK',
  'OMPI_MCA_orte_hnp_uri',
  'KUBERNETES_SERVICE_HOST',
  'JOB_COMPLETION_INDEX',
  'TPU_WORKER_HOSTNAMES',
  'TPU_WORKER_ID',
  'MEGASCALE_COORDINATOR_ADDRESS',
  'JAX_COORDINATOR_ADDRESS',
  'JAX_NUM_PROCESSES',
  'JAX_PROCESS_ID',
  'NNODES',
  'NODE_RANK',
  'SKYPILOT_NUM_NODES',
  'SKYPILOT_NODE_RANK',
)


def start(
  distributed: str = 'auto',
  coordinator_address: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Starts JAX's multi-process runtime, before the first use of a device.

  Args:
    distributed: 'on', 'off', or 'auto': on where Slurm, a TPU pod, another
      launcher (see `cluster`) or the arguments below tell of other processes.
    coordinator_address: host:port of process 0; None where the cluster tells.
    num_processes: How many there are.
    process_id: Which one this is, from 0.

  Raises:
    errors.InputError: If only some of the three are given, they cannot be,
      'on' finds no cluster, the other processes do not come, or there is no
      device of the kind that JAX_PLATFORMS wants.
  """
  manual = (coordinator_address, num_processes, process_id)
  given = [value is not None for value in manual]
  if any(given) and not all(given):
    raise errors.InputError(
      '--coordinator_address, --num_processes and --process_id go together, '
      f'got {manual}; give all three, or none where the cluster is detected'
    )
  if all(given):
    _check_manual(*manual)
  if distributed != 'off':
    if not any(given) and (found := cluster.detect(os.environ)):
      manual, given = (found.address, found.num, found.id), [True]
    _join(manual if all(given) else (), required=distributed == 'on')
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as e:
    wanted = os.environ.get('JAX_PLATFORMS', '')
    raise errors.InputError(
      f'JAX finds no device here, with JAX_PLATFORMS={wanted!r} ({_line(e)}); '
      'unset it to use what there is, or set it to cpu'
    ) from e


def _check_manual(address, num_processes, process_id):
  """Raises errors.InputError unless the three flags can be."""
  host, _, port = address.rpartition(':')
  if not (host and port.isdecimal() and 0 < int(port) < 2**16):
    raise errors.InputError(
      '--coordinator_address must be host:port of process 0, got '
      f'{address!r}; write it as 10.0.0.1:1234'
    )
  if num_processes < 1 or not 0 <= process_id < num_processes:
    raise errors.InputError(
      '--process_id must be one of 0 to --num_processes - 1, got '
      f'{process_id} of {num_processes}; number the processes from 0'
    )


def _join(manual, required):
  """Waits for the other processes, in a thread: signals are answered.

  Args:
    manual: Address, number of processes and number of this one; () where the
      cluster tells.
    required: Whether there has to be a cluster.
  """
  failed = []
  options = {}
  if manual:
    options = {'cluster_detection_method': 'deactivate'}
    _reach_directly(manual[0])
    if manual[0].rpartition(':')[0] in _LOOPBACK:
      # JAX's default hears whoever reaches this machine.
      options['coordinator_bind_address'] = manual[0]
  # See `preemption`: there is one agreement on where to stop, its own.
  jax.config.update('jax_enable_preemption_service', False)

  def initialize():
    try:
      with warnings.catch_warnings():
        # What could detect a cluster is advertised in every container.
        warnings.filterwarnings('ignore', r'\s*Kubernetes environment detected')
        jax.distributed.initialize(
          *manual,
          **options,
          # It ends the process when it waited in vain; what is below is first.
          initialization_timeout=2 * JOIN_TIMEOUT_S,
          heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S,
          shutdown_timeout_seconds=_HEARTBEAT_TIMEOUT_S,
        )
    except Exception as e:
      failed.append(e)

  thread = threading.Thread(target=initialize, daemon=True)
  thread.start()
  started, reported = time.monotonic(), False
  while thread.is_alive():
    thread.join(0.05)
    waited_s = time.monotonic() - started
    if waited_s > PATIENCE_S and thread.is_alive() and not reported:
      reported = True
      logger.info(
        '%s; waiting for the others, %d s at most; --distributed=off is for '
        'one process alone',
        _whom(manual),
        JOIN_TIMEOUT_S,
      )
    if waited_s > JOIN_TIMEOUT_S:
      raise errors.InputError(
        f'{_whom(manual)}, and the others did not come within '
        f'{JOIN_TIMEOUT_S} s; start all of them, see that they reach that '
        'address, or pass --distributed=off for one process alone'
      )
  if not failed:
    state = jax_distributed.global_state
    preemption.agree_through(
      state.client,
      state.process_id,
      state.num_processes,
      part=jax.distributed.shutdown,
    )
    return
  if 'coordinator_address should be defined' in str(failed[0]):
    if required:
      raise errors.InputError(
        'no cluster was detected; give --coordinator_address, --num_processes '
        'and --process_id, or --distributed=off for one process'
      ) from failed[0]
    _check_no_slice()
    return
  raise errors.InputError(
    f'{_whom(manual)}, which failed ({_line(failed[0])}); see that the '
    'port is free and what was given is right, or pass --distributed=off for '
    'one process alone'
  ) from failed[0]


def _check_no_slice():
  """Raises errors.InputError on a host of a TPU slice that JAX took for none.

  Without libtpu it does: each host would take itself for the only one.
  """
  hosts = os.environ.get('TPU_WORKER_HOSTNAMES', '')
  if ',' in hosts:
    raise errors.InputError(
      f'TPU_WORKER_HOSTNAMES names the hosts of a TPU slice ({hosts}), but JAX '
      "finds no TPU to join them by; python -m pip install -e '.[tpu]', or "
      'pass --distributed=off for one process alone'
    )


def _whom(manual):
  """Returns which process this is, of which cluster."""
  found = ', '.join(
    f'{name}={os.environ[name]}'
    for name in _CLUSTER_VARIABLES
    if name in os.environ
  )
  by = f' (from {found})' if found else ''
  state = jax_distributed.global_state
  address, num, i = manual or (
    state.coordinator_address,
    state.num_processes,
    state.process_id,
  )
  if address is None:
    return f'the processes of a cluster are to be joined{by}'
  return f'this is process {i} of {num}, which meet at {address}{by}'


def _reach_directly(address):
  """Excepts the coordinator from a proxy, which gRPC would ask for it."""
  if not any(name.lower().endswith('_proxy') for name in os.environ):
    return
  jax.config.update('jax_check_proxy_envs', False)  # it warns of them all
  host = address.rpartition(':')[0]
  for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy'):
    known = os.environ.get(name, '')
    if known or name != 'no_grpc_proxy':
      os.environ[name] = ','.join(filter(None, (known, host)))


def _line(error):
  """Returns what an exception says, in one line."""
  return ' '.join((str(error) or type(error).__name__).split())


def is_of_others(error: BaseException) -> bool:
  """Returns whether what was raised is about another process that is gone.

  Args:
    error: Its causes are looked at too.
  """
  seen = set()
  while error is not None and id(error) not in seen:
    seen.add(id(error))
    if _OF_OTHERS.search(str(error)):
      return True
    error = error.__cause__ or error.__context__
  return False


def membership() -> str:
  """Returns which process this is, of how many, and how that was found out."""
  if not parallel.is_distributed():
    return 'this one alone'
  return _whom(())
