"""Which processes a launcher started, by the variables that it sets.

JAX finds Slurm, TPU pods and Open MPI by itself. Of what Kubeflow, xpk and
SkyPilot set it reads JAX_COORDINATOR_ADDRESS alone or nothing: each of their
processes would take itself for the only one, and for the one that writes.
"""

import dataclasses
from collections.abc import Mapping

from advspeech import errors

# A launcher that names no port leaves it to the program.
PORT = 8476
_ADDRESS = 'JAX_COORDINATOR_ADDRESS'
# Of clusters that JAX detects.
_DETECTED_BY_JAX = (
  'SLURM_STEP_NODELIST',
  'OMPI_COMM_WORLD_SIZE',
  'TPU_WORKER_ID',
  'TPU_WORKER_HOSTNAMES',
  'CLOUD_TPU_TASK_ID',
)
# With the package `kubernetes` alone; Kubeflow and xpk go without.
_OF_KUBERNETES = 'JOB_COMPLETION_INDEX'


@dataclasses.dataclass(frozen=True)
class Processes:
  """Those that work together, and which of them this is.

  Attributes:
    launcher: Who said so.
    variables: By which variables.
    address: host:port of process 0.
    num: How many there are.
    id: Of this one, from 0.
  """

  launcher: str
  variables: tuple[str, ...]
  address: str
  num: int
  id: int


def detect(environment: Mapping[str, str]) -> Processes | None:
  """Returns what a launcher that JAX does not know says; None if none does.

  Args:
    environment: Variables.

  Raises:
    errors.InputError: If it says only part of it, or what cannot be.
  """
  found = _kubeflow(environment)
  if found or any(environment.get(name) for name in _DETECTED_BY_JAX):
    return found
  found = _xpk(environment) or _skypilot(environment)
  alone = environment.get(_ADDRESS) and not environment.get(_OF_KUBERNETES)
  if not found and alone:
    raise errors.InputError(
      f'{_ADDRESS} is set ({environment[_ADDRESS]}), so there are other '
      'processes, but no variable says how many and which of them this is; set '
      'JAX_NUM_PROCESSES and JAX_PROCESS_ID, or unset it'
    )
  return found


def _kubeflow(environment):
  """Returns what Kubeflow Trainer (runtime `jax-distributed`) says."""
  names = (_ADDRESS, 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
  if not any(environment.get(name) for name in names[1:]):
    return None
  return _processes('Kubeflow', environment, names)


def _xpk(environment):
  """Returns what xpk says on GPUs; the address has no port."""
  names = (_ADDRESS, 'NNODES', 'NODE_RANK')
  # torchrun and others set the last two as well.
  if not environment.get(_ADDRESS) or not any(
    environment.get(name) for name in names[1:]
  ):
    return None
  return _processes(
    'xpk', environment, names, environment.get('JAX_COORDINATOR_PORT')
  )


def _skypilot(environment):
  """Returns what SkyPilot says: one process a node, the first node leads."""
  names = ('SKYPILOT_NODE_IPS', 'SKYPILOT_NUM_NODES', 'SKYPILOT_NODE_RANK')
  if environment.get('SKYPILOT_NUM_NODES', '1') == '1':
    return None
  first, *_ = environment.get(names[0], '').split() or ['']
  return _processes('SkyPilot', {**environment, names[0]: first}, names)


def _processes(launcher, environment, names, port=None):
  """Returns the processes that an address and two numbers tell of."""
  missing = [name for name in names if not environment.get(name)]
  if missing:
    there = [name for name in names if name not in missing]
    raise errors.InputError(
      f'{launcher} sets {", ".join(names)} together, got only '
      f'{", ".join(there)}; set {", ".join(missing)} too, or unset the others '
      'for one process'
    )
  address, *numbers = (environment[name] for name in names)
  if not all(text.isascii() and text.isdecimal() for text in numbers) or not (
    int(numbers[1]) < int(numbers[0])
  ):
    raise errors.InputError(
      f'{names[1]} must be a number of processes and {names[2]} one from 0 '
      f'below it, got {numbers[0]!r} and {numbers[1]!r}; correct them'
    )
  # A bare IPv6 address has colons and no port.
  has_port = address.count(':') == 1 or ']:' in address
  if not has_port:
    host = f'[{address}]' if ':' in address and '[' not in address else address
    address = f'{host}:{port or PORT}'
  return Processes(launcher, names, address, *map(int, numbers))
