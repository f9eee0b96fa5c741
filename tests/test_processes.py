"""Processes that meet, or say in a sentence why they do not."""

import logging
import os
import signal
import threading

import jax
import pytest

from advspeech import errors, processes


@pytest.mark.parametrize('given', [('h:1', None, None), (None, 2, 0)])
def test_half_of_the_flags_is_refused(given):
  with pytest.raises(errors.InputError, match='go together, got'):
    processes.start('auto', *given)


@pytest.mark.parametrize(
  ('given', 'match'),
  [
    (('here', 2, 0), "must be host:port of process 0, got 'here'"),
    (('here:x', 2, 0), 'must be host:port'),
    (('here:99999', 2, 0), 'must be host:port'),
    (('here:1', 0, 0), 'got 0 of 0; number the processes from 0'),
    (('here:1', 2, 2), 'got 2 of 2'),
    (('here:1', 2, -1), 'got -1 of 2'),
  ],
)
def test_flags_that_cannot_be_are_refused(given, match):
  with pytest.raises(errors.InputError, match=match):
    processes.start('auto', *given)


@pytest.fixture
def joining(monkeypatch):
  """Puts a function in the place of JAX's own that joins processes."""
  for name in processes._CLUSTER_VARIABLES:
    monkeypatch.delenv(name, raising=False)

  def use(initialize):
    monkeypatch.setattr(jax.distributed, 'initialize', initialize)

  return use


def fail_with(error):
  def initialize(*args, **kwargs):
    raise error

  return initialize


def test_without_a_cluster_auto_is_one_process_and_on_is_refused(joining):
  joining(fail_with(ValueError('coordinator_address should be defined.')))
  processes.start('auto')
  with pytest.raises(errors.InputError, match='no cluster was detected; give'):
    processes.start('on')


def test_a_host_of_a_slice_is_not_taken_for_all_of_it(joining, monkeypatch):
  joining(fail_with(ValueError('coordinator_address should be defined.')))
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', '10.0.0.1')
  processes.start('auto')
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', '10.0.0.1,10.0.0.2')
  with pytest.raises(errors.InputError, match=r'finds no TPU to join them by'):
    processes.start('auto')
  processes.start('off')


@pytest.mark.parametrize(
  'error',
  [
    RuntimeError('UNKNOWN: Failed to start RPC server'),
    ValueError("invalid literal for int() with base 10: 'x'"),
    ImportError('mpi4py'),
    type('ConfigException', (Exception,), {})('no token'),
  ],
)
def test_whatever_goes_wrong_in_joining_gets_one_sentence(
  joining, monkeypatch, error
):
  monkeypatch.setenv('SLURM_NTASKS', '4')
  joining(fail_with(error))
  with pytest.raises(errors.InputError, match=r'SLURM_NTASKS=4.*which failed'):
    processes.start('auto')
  with pytest.raises(
    errors.InputError, match=r'process 1 of 2.* at here:1.*, w'
  ):
    processes.start('auto', 'here:1', 2, 1)


@pytest.fixture
def waiting(joining):
  """Joins processes that do not come until the test ends."""
  end = threading.Event()
  joining(lambda *args, **kwargs: end.wait())
  yield
  end.set()


@pytest.mark.usefixtures('waiting')
def test_what_is_waited_for_is_logged_and_given_up(monkeypatch, caplog):
  monkeypatch.setattr(processes, 'PATIENCE_S', 0)
  monkeypatch.setattr(processes, 'JOIN_TIMEOUT_S', 0)
  with (
    caplog.at_level(logging.INFO, 'advspeech'),
    pytest.raises(
      errors.InputError, match='did not come within 0 s; start all'
    ),
  ):
    processes.start('auto', 'here:1', 2, 1)
  assert caplog.messages == [
    'this is process 1 of 2, which meet at here:1; waiting for the others, '
    '0 s at most; --distributed=off is for one process alone'
  ]


def test_signals_are_answered_while_others_are_waited_for(joining):
  end = threading.Event()

  def initialize(*args, **kwargs):
    # JAX waits in C++, where Python's main thread answers nothing.
    assert threading.current_thread() is not threading.main_thread()
    os.kill(os.getpid(), signal.SIGTERM)
    end.wait()

  def answer(number, frame):
    raise InterruptedError

  joining(initialize)
  before = signal.signal(signal.SIGTERM, answer)
  try:
    with pytest.raises(InterruptedError):
      processes.start('auto', 'here:1', 2, 1)
  finally:
    signal.signal(signal.SIGTERM, before)
    end.set()


@pytest.mark.parametrize(
  ('address', 'heard'), [('127.0.0.1:1', '127.0.0.1:1'), ('10.0.0.1:1', None)]
)
def test_who_meets_on_this_machine_is_heard_from_it_alone(
  joining, address, heard
):
  given = {}
  joining(lambda *args, **kwargs: given.update(kwargs))
  processes.start('auto', address, 2, 1)
  assert given.get('coordinator_bind_address') == heard


def test_there_is_no_second_agreement_on_where_to_stop(joining):
  """Orbax would ask JAX's with other numbers."""
  services = []
  joining(
    lambda *args, **kwargs: services.append(
      jax.config.jax_enable_preemption_service
    )
  )
  processes.start('auto', 'here:1', 2, 1)
  assert services == [False]


def test_no_proxy_stands_between_processes(joining, monkeypatch):
  joining(lambda *args, **kwargs: None)
  monkeypatch.setattr(jax.config, 'update', lambda name, value: None)
  for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy', 'http_proxy'):
    monkeypatch.setenv(name, '')
  monkeypatch.setenv('HTTP_PROXY', 'http://proxy:3128')
  monkeypatch.setenv('NO_PROXY', 'intern')
  processes.start('auto', '10.0.0.1:1', 2, 1)
  assert os.environ['no_proxy'] == '10.0.0.1'
  assert os.environ['NO_PROXY'] == 'intern,10.0.0.1'
  assert not os.environ.get('no_grpc_proxy')  # noqa: SIM112


@pytest.mark.parametrize('error', [RuntimeError('no cuda'), AssertionError()])
def test_a_platform_that_is_not_there_is_named(monkeypatch, error):
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  monkeypatch.setattr(jax, 'devices', fail_with(error))
  with pytest.raises(
    errors.InputError, match=r"JAX_PLATFORMS='cuda'.*unset it"
  ):
    processes.start('off')
