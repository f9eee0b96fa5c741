"""Chips that programs are compiled for, and slices of them."""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from advspeech import errors


class Chip(NamedTuple):
  """One chip, as its maker describes it.

  Attributes:
    name: What people call it.
    bf16_flops: Peak rate in bfloat16, operations a second.
    memory_bytes: Of its own.
    clock_hz: Cycles a second of its matrix units.
  """

  name: str
  bf16_flops: float
  memory_bytes: int
  clock_hz: float


# From https://cloud.google.com/tpu/docs; the clock is the peak rate over the
# operations a cycle of all matrix units: two a cell, of 8 units of 128 x 128
# cells a chip (v4, v5p), 4 (v5e), or 4 of 256 x 256 (v6e).
CHIPS = {
  'v4': Chip('TPU v4', 275e12, 32 * 2**30, 1.05e9),
  'v5p': Chip('TPU v5p', 459e12, 95 * 2**30, 1.75e9),
  'v5e': Chip('TPU v5e', 197e12, 16 * 2**30, 1.5e9),
  'v6e': Chip('TPU v6e', 918e12, 32 * 2**30, 1.75e9),
}
# Of v5e and v6e these slices are all there are; of v4 and v5p there are these
# and those whose sides are multiples of 4, up to the whole pod.
_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_SMALL = ('2x2x1', '2x2x2', '2x2x4', '2x4x4')
_LARGEST = {'v4': 4096, 'v5p': 8960}
_NUMBER = re.compile('[1-9][0-9]{0,3}')
# One host has them all.
_ONE_HOST = {'1x1': (1, 1, 1), '2x4': (2, 4, 1)}
# What libtpu would otherwise ask the machine that it thinks it is on, or wait
# for another process to let go of.
_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-16',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


class Target(NamedTuple):
  """Devices to compile for.

  Attributes:
    name: As the user gave it.
    devices: All of them; this machine need not have any.
    chip: What each is; None for the host's processors.
  """

  name: str
  devices: Sequence[jax.Device]
  chip: Chip | None


def processors(num_devices: int) -> Target:
  """Returns devices that this machine's processors stand for.

  Raises:
    errors.InputError: If JAX was started with fewer.
  """
  devices = jax.devices('cpu')
  if not 0 < num_devices <= len(devices):
    raise errors.InputError(
      f'--devices must be a number of devices from 1 to {len(devices)}, got '
      f'{num_devices}'
    )
  return Target(f'{num_devices} x CPU', devices[:num_devices], None)


def slice_of(topology: str) -> Target:
  """Returns the devices of a slice of TPUs, such as 'v5e:16x16'.

  Raises:
    errors.InputError: If there is no such slice, or libtpu is not installed.
  """
  family, _, shape = topology.partition(':')
  options = _options(topology, family, shape)
  if importlib.util.find_spec('libtpu') is None:
    raise errors.InputError(
      f"--topology={topology} needs the TPU's compiler, libtpu, which is not "
      "installed; pip install -e '.[plan]', or take --devices=4 for the host's "
      'processors'
    )
  os.environ.update(_ENVIRONMENT)
  try:
    devices = topologies.get_topology_desc(topology, 'tpu', **options).devices
  except jax.errors.JaxRuntimeError as e:
    raise errors.InputError(
      f"--topology={topology}: the TPU's compiler knows no such slice "
      f'({str(e).strip().splitlines()[0]}); take another'
    ) from e
  return Target(topology, devices, CHIPS[family])


def _options(topology: str, family: str, shape: str) -> dict[str, Any]:
  """Returns libtpu's options for a slice; refuses one that does not exist."""
  if family not in CHIPS:
    raise errors.InputError(
      '--topology must be a family and a shape, as v5e:16x16, the family one '
      f'of {", ".join(CHIPS)}, got {topology!r}'
    )
  if family not in _LARGEST:
    if shape not in _FLAT:
      raise errors.InputError(
        f'--topology: slices of {family} are {", ".join(_FLAT)}, got '
        f'{topology!r}; take one of these'
      )
    host = _ONE_HOST.get(shape)
    return {'chips_per_host_bounds': host} if host else {}
  sides = [int(n) if _NUMBER.fullmatch(n) else 0 for n in shape.split('x')]
  whole = len(sides) == 3 and not any(side % 4 for side in sides)
  if shape not in _SMALL and not (
    whole and 0 < math.prod(sides) <= _LARGEST[family]
  ):
    raise errors.InputError(
      f'--topology: slices of {family} are {", ".join(_SMALL)} and those of '
      f'three sides that are multiples of 4, up to {_LARGEST[family]:,} chips, '
      f'got {topology!r}; take one of these'
    )
  # Both cores of a chip are one device, as JAX has it on a real v4.
  return {'chip_config_name': 'megacore'} if family == 'v4' else {}
