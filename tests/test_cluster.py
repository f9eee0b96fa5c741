"""What launchers set becomes processes; half of it is refused."""

import os
import socket
import subprocess
import sys

import devices
import pytest

from advspeech import cluster, errors

ADDRESS = 'JAX_COORDINATOR_ADDRESS'
KUBEFLOW = {
  ADDRESS: 'job-node-0-0.job:1234',
  'JAX_NUM_PROCESSES': '4',
  'JAX_PROCESS_ID': '3',
}
LAST = ('job-node-0-0.job:1234', 4, 3)
XPK = {ADDRESS: 'job-0-0.job', 'NNODES': '2', 'NODE_RANK': '0'}
SKYPILOT = {
  'SKYPILOT_NODE_IPS': '10.0.0.5\n10.0.0.6\n',
  'SKYPILOT_NUM_NODES': '2',
  'SKYPILOT_NODE_RANK': '1',
}


@pytest.mark.parametrize(
  ('environment', 'expected'),
  [
    (KUBEFLOW, ('Kubeflow', *LAST)),
    # Its pods are those of an indexed job too.
    ({**KUBEFLOW, 'JOB_COMPLETION_INDEX': '3'}, ('Kubeflow', *LAST)),
    (XPK, ('xpk', 'job-0-0.job:8476', 2, 0)),
    (
      {**XPK, 'JAX_COORDINATOR_PORT': '3389'},
      ('xpk', 'job-0-0.job:3389', 2, 0),
    ),
    (SKYPILOT, ('SkyPilot', '10.0.0.5:8476', 2, 1)),
    (
      {**SKYPILOT, 'SKYPILOT_NODE_IPS': 'fd00::5 fd00::6'},
      ('SkyPilot', '[fd00::5]:8476', 2, 1),
    ),
  ],
)
def test_a_launcher_says_how_many_and_which(environment, expected):
  found = cluster.detect(environment)
  assert (found.launcher, found.address, found.num, found.id) == expected


@pytest.mark.parametrize(
  'environment',
  [
    {},
    {'NNODES': '2', 'NODE_RANK': '1'},  # of torchrun
    {'SKYPILOT_NUM_NODES': '1', 'SKYPILOT_NODE_RANK': '0'},
    # What JAX detects itself, which reads the address.
    {ADDRESS: 'a:1', 'SLURM_STEP_NODELIST': 'n[0-1]'},
    {ADDRESS: 'a:1', 'TPU_WORKER_ID': '1'},
  ],
)
def test_what_is_none_of_ours_is_left_alone(environment):
  assert cluster.detect(environment) is None


@pytest.mark.parametrize('part', [KUBEFLOW, XPK, SKYPILOT])
def test_half_a_cluster_is_refused(part):
  """N programs that each believe to be the only one would be the worst."""
  for name in part:
    rest = {key: value for key, value in part.items() if key != name}
    if rest.keys() == {'NNODES', 'NODE_RANK'} or name == 'SKYPILOT_NUM_NODES':
      continue  # says nothing of JAX, or of several nodes
    with pytest.raises(errors.InputError, match=f'{name}|is set'):
      cluster.detect(rest)


def test_an_address_alone_is_half_a_cluster():
  with pytest.raises(errors.InputError, match=r'is set \(a:1\), so there are'):
    cluster.detect({ADDRESS: 'a:1'})


@pytest.mark.parametrize(
  ('num', 'number'), [('2', '2'), ('two', '0'), ('-1', '0'), ('0', '0')]
)
def test_numbers_that_cannot_be_are_refused(num, number):
  changed = {'JAX_NUM_PROCESSES': num, 'JAX_PROCESS_ID': number}
  with pytest.raises(errors.InputError, match=r'got .*; correct them'):
    cluster.detect({**KUBEFLOW, **changed})


PROGRAM = """
import jax
from jax.experimental import multihost_utils
from advspeech import parallel, processes
processes.start()
number = jax.numpy.int32(jax.process_index())
numbers = multihost_utils.process_allgather(number).tolist()
print('told:', parallel.is_lead(), numbers, flush=True)
"""


@pytest.mark.parametrize(
  'launcher',
  [
    'kubeflow',
    pytest.param('xpk', marks=pytest.mark.slow),
    pytest.param('skypilot', marks=pytest.mark.slow),
  ],
)
def test_two_processes_started_so_are_two_of_one_cluster(launcher):
  """Today's worst: each would take itself for the lead, in one --workdir."""
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    port = s.getsockname()[1]
  processes = []
  for i in (0, 1):
    variables = {
      'kubeflow': {
        ADDRESS: f'127.0.0.1:{port}',
        'JAX_NUM_PROCESSES': '2',
        'JAX_PROCESS_ID': f'{i}',
      },
      'xpk': {
        ADDRESS: '127.0.0.1',
        'JAX_COORDINATOR_PORT': f'{port}',
        'NNODES': '2',
        'NODE_RANK': f'{i}',
      },
      'skypilot': {
        'SKYPILOT_NODE_IPS': f'127.0.0.1:{port}\n127.0.0.2',
        'SKYPILOT_NUM_NODES': '2',
        'SKYPILOT_NODE_RANK': f'{i}',
      },
    }[launcher]
    processes.append(
      subprocess.Popen(
        [sys.executable, '-c', PROGRAM],
        env={**os.environ, **devices.environment(), **variables},
        stdout=subprocess.PIPE,
        text=True,
      )
    )
  told = [process.communicate(timeout=300)[0] for process in processes]
  assert 'told: True [0, 1]' in told[0]
  assert 'told: False [0, 1]' in told[1]
