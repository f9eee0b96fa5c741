"""Functions over clips: each is given its own, in the same company."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import (
  input_pipeline,
  over_clips,
  parallel,
  preemption,
  randomness,
)

TIME, NUM_CLIPS = 50, 11


@pytest.fixture
def split():
  rng = np.random.default_rng(0)
  num_samples = rng.integers(10, 30, NUM_CLIPS)
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(NUM_CLIPS)]),
    pcm=rng.integers(-9000, 9000, (NUM_CLIPS, TIME)).astype(np.int16),
    num_samples=num_samples,
    labels=rng.integers(0, 3, NUM_CLIPS).astype(np.int32),
    starts=rng.integers(0, 20, NUM_CLIPS),
  )


def mesh_of(num_devices):
  return parallel.make_mesh(devices=jax.devices()[:num_devices])


def describe(shared, rows):
  """Everything that a function is given of a clip, and its company."""
  noise = jax.vmap(lambda key: jax.random.normal(key, (3,)))(
    randomness.stream(rows['key'], 'gaussian')
  )
  company = jnp.full(len(rows['label']), rows['audio'].sum())
  return {
    **rows,
    'key': noise,
    'company': company,
    'shared': rows['own'] * shared,
  }


def run(split, num_devices, chunk=2, **kwargs):
  kwargs = {'columns': {'own': np.arange(len(split)) * 1.0}, **kwargs}
  return over_clips.map_clips(
    describe, split, mesh_of(num_devices), chunk, shared=2.0, **kwargs
  )


def test_a_function_is_given_each_clip_as_it_was_recorded(split):
  found = run(split, 4)
  np.testing.assert_array_equal(found['audio'], split.pcm / 65536 + 0.5)
  time = np.arange(TIME)
  ends = split.starts + split.num_samples
  recorded = (split.starts[:, None] <= time) & (time < ends[:, None])
  np.testing.assert_array_equal(found['mask'], recorded)
  np.testing.assert_array_equal(found['label'], split.labels)
  np.testing.assert_array_equal(found['shared'], 2.0 * np.arange(NUM_CLIPS))
  assert found['valid'].all()


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('num_devices', [2, 4])
def test_the_number_of_devices_changes_nothing_nor_anyones_company(
  split, num_devices
):
  assert_same(run(split, 1), run(split, num_devices))


def test_clips_that_lie_on_the_devices_are_the_same(split):
  placed = input_pipeline.put_on_devices(split, mesh_of(4))
  assert_same(run(split, 4), run(placed, 4))


def test_some_rows_are_computed_as_among_all(split):
  whole, part = run(split, 4), run(split, 4, rows=slice(4, 9))
  del whole['company'], part['company']  # the ninth has silence for company
  assert_same(part, jax.tree.map(lambda x: x[4:9], whole))


def test_draws_are_of_the_seed_and_the_id_alone(split):
  order = np.array([5, 0, 10, 2])
  some = run(input_pipeline.subset(split, order), 1, chunk=1)
  whole = run(split, 4)
  np.testing.assert_array_equal(some['key'], whole['key'][order])
  other = run(split, 4, seed=1)
  assert (other['key'] != whole['key']).all()


def test_a_function_is_compiled_once_for_all_splits_of_a_length(split):
  over_clips.steps.cache_clear()
  run(split, 4)
  run(input_pipeline.subset(split, np.arange(3)), 4, seed=7)
  assert over_clips.steps.cache_info().currsize == 1


class Scaled(NamedTuple):
  """A function, with what it scales by."""

  parts: tuple

  def __call__(self, shared, rows):
    return rows['audio'] * self.parts[0]


class Shifted(Scaled):
  """Another of the same fields, which a tuple is equal to."""

  def __call__(self, shared, rows):
    return rows['audio'] + self.parts[0]


def test_functions_of_equal_fields_are_told_apart(split):
  def apply(fn):
    return over_clips.map_clips(fn, split, mesh_of(1), 4)

  assert Scaled((2,)) == Shifted((2,))
  clean = split.pcm / 65536 + 0.5
  np.testing.assert_array_equal(apply(Scaled((2,))), clean * 2)
  np.testing.assert_array_equal(apply(Shifted((2,))), clean + 2)
  nested = [Scaled((Scaled((2,)),)), Scaled((Shifted((2,)),))]
  assert nested[0] == nested[1]
  steps = [over_clips.compiled(fn, mesh_of(1)) for fn in nested]
  assert steps[0] is not steps[1]
  assert steps[0] is over_clips.compiled(Scaled((Scaled((2,)),)), mesh_of(1))


def test_batches_are_described_as_they_are(split):
  mesh = mesh_of(4)
  for _, (real, _) in over_clips.batches(split, 4, mesh):
    described = over_clips.abstract_batch(4, TIME, mesh)
    assert set(real) == set(described)
    for name, like in described.items():
      assert (like.shape, like.dtype) == (real[name].shape, real[name].dtype)
      assert like.sharding == real[name].sharding


def test_a_signal_ends_it_between_two_chunks(split, monkeypatch):
  checks = iter(range(100))

  def stop_at_the_third():
    if next(checks) == 2:
      raise preemption.Stopped(preemption.signal.SIGTERM)

  monkeypatch.setattr(preemption, 'check_alone', stop_at_the_third)
  with pytest.raises(preemption.Stopped):
    run(split, 1)
  assert next(checks) == 3


def test_a_chunk_goes_by_kind_and_memory_and_has_a_clip_at_least():
  mesh = mesh_of(4)
  assert over_clips.chunk_size(mesh) == 1
  assert over_clips.chunk_size(mesh, on_host=8) == 8
  for memory, clips in ((1e3, 1), (25e3, 2), (1e9, 8)):
    assert clips == over_clips.chunk_size(
      mesh, on_host=8, clip_bytes=1e4, memory_bytes=memory
    )
