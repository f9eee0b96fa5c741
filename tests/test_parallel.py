"""The mesh, and what is shared out on it."""

import jax
import numpy as np
import pytest

from advspeech import errors, parallel


def test_the_mesh_has_data_and_epsilon_and_auto_axes():
  mesh = parallel.make_mesh(2)
  assert mesh.axis_names == ('data', 'epsilon')
  assert dict(mesh.shape) == {'data': 2, 'epsilon': 2}
  assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
  assert dict(parallel.make_mesh().shape) == {'data': 4, 'epsilon': 1}


def test_epsilon_devices_that_do_not_divide_are_refused():
  with pytest.raises(errors.InputError, match='device count, got 3 and 4'):
    parallel.make_mesh(3)


@pytest.mark.parametrize(
  ('members', 'sizes'), [(1, [4]), (2, [2, 2]), (3, [1] * 3), (9, [1] * 4)]
)
def test_devices_are_shared_out_without_overlap(members, sizes):
  meshes = parallel.submeshes(members)
  assert [mesh.size for mesh in meshes] == sizes
  devices = [d for mesh in meshes for d in mesh.devices.flat]
  assert len(set(devices)) == len(devices)


def test_every_device_gets_its_rows():
  rows = np.arange(8)
  mesh = parallel.make_mesh()
  placed = parallel.shard_batch({'x': rows}, mesh)['x']
  np.testing.assert_array_equal(parallel.fetch(placed, mesh), rows)
  assert [s.data.tolist() for s in placed.addressable_shards] == [
    [0, 1],
    [2, 3],
    [4, 5],
    [6, 7],
  ]


@pytest.mark.parametrize('at_once', [1, 4, 5, 12, 100])
def test_rows_mapped_a_few_at_a_time_are_all_rows_in_order(at_once):
  seen = []

  def fn(a, b):
    seen.append(a.shape[0])
    return a + b, a * 2

  a, b = np.arange(12.0), np.arange(12.0) * 10
  total, double = parallel.map_rows(fn, at_once, a, b)
  np.testing.assert_array_equal(total, a + b)
  np.testing.assert_array_equal(double, a * 2)
  assert set(seen) == {{1: 1, 4: 4, 5: 4, 12: 12, 100: 12}[at_once]}


def test_what_is_shared_out_comes_back_to_the_last_bit():
  values = np.random.default_rng(0).normal(size=(5, 2))
  values[3, 1] = np.nan
  found = parallel.share_out(values.__getitem__, 5, (2,))
  np.testing.assert_array_equal(found, values)
  assert found.dtype == np.float64
