"""Forced CPU devices, for tests and for the processes that tests start."""

import os

# The user's XLA_FLAGS, also where those of the tests are in their place.
OWN_FLAGS = 'ADVSPEECH_TEST_XLA_FLAGS'


def flags(num_devices: int) -> str:
  """Returns XLA's flags: so many CPU devices, and little spent on compiling.

  Compiling takes most of the tests' time, running what was compiled hardly any.
  Flags of one's own come last and win.
  """
  return (
    f'--xla_force_host_platform_device_count={num_devices} '
    '--xla_backend_optimization_level=0 '
    '--xla_llvm_disable_expensive_passes=true ' + os.environ.get(OWN_FLAGS, '')
  )


def environment(num_devices: int = 1) -> dict[str, str]:
  """Returns the environment of a process that has so many devices."""
  return {
    **os.environ,
    'XLA_FLAGS': flags(num_devices),
    'JAX_PLATFORMS': 'cpu',
  }
