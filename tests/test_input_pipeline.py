"""Every clip once, in an order that (seed, epoch) fixes."""

import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import errors, input_pipeline, parallel

NUM_CLIPS, TIME = 10, 1280


@pytest.fixture
def split():
  rng = np.random.default_rng(0)
  num_samples = rng.integers(1, TIME + 1, NUM_CLIPS)
  pcm = rng.integers(-32768, 32768, (NUM_CLIPS, TIME)).astype(np.int16)
  pcm[np.arange(TIME) >= num_samples[:, None]] = 0
  return input_pipeline.Split(
    ids=np.array([f'u{i}' for i in range(NUM_CLIPS)]),
    pcm=pcm,
    num_samples=num_samples,
    labels=rng.integers(0, 2, NUM_CLIPS).astype(np.int32),
  )


def test_an_epoch_is_every_clip_once_with_the_last_batch_filled_up(split):
  mesh = parallel.make_mesh()
  order = input_pipeline.epoch_order(NUM_CLIPS, 0, 0)
  batches = list(input_pipeline.batches(split, 4, mesh, order))
  assert len(batches) == input_pipeline.num_batches(split, 4) == 3
  ids = np.concatenate([batch['id'] for batch in batches])
  np.testing.assert_array_equal(ids, split.ids[order])
  assert [b['audio'].shape for b in batches] == [(4, TIME)] * 3
  np.testing.assert_array_equal(batches[-1]['valid'], [1, 1, 0, 0])


def test_clips_arrive_as_they_are_with_their_own_labels_and_masks(split):
  for batch in input_pipeline.batches(split, 4, parallel.make_mesh()):
    for i, utterance_id in enumerate(batch['id']):
      row = int(utterance_id[1:])
      np.testing.assert_array_equal(
        batch['audio'][i], split.pcm[row] / 65536.0 + 0.5
      )
      assert batch['label'][i] == split.labels[row]
      assert int(batch['mask'][i].sum()) == split.num_samples[row]
      assert bool(batch['mask'][i][: split.num_samples[row]].all())


def test_padding_is_exact_silence(split):
  for batch in input_pipeline.batches(split, 4, parallel.make_mesh()):
    assert bool((batch['audio'][batch['mask'] == 0] == 0.5).all())


def test_batches_lie_sharded_over_the_mesh(split):
  mesh = parallel.make_mesh()
  batch = next(input_pipeline.batches(split, 8, mesh))
  assert mesh.size == 4
  for key in ('audio', 'label', 'mask', 'valid'):
    shards = batch[key].addressable_shards
    assert len({shard.device for shard in shards}) == 4
    assert shards[0].data.shape[0] == 2


def test_epochs_differ_and_are_reproducible():
  a = input_pipeline.epoch_order(100, 0, 0)
  np.testing.assert_array_equal(a, input_pipeline.epoch_order(100, 0, 0))
  assert (a != input_pipeline.epoch_order(100, 0, 1)).any()
  assert (a != input_pipeline.epoch_order(100, 1, 0)).any()
  np.testing.assert_array_equal(np.sort(a), np.arange(100))


def test_a_batch_no_device_count_divides_is_refused_with_the_nearest():
  with pytest.raises(errors.InputError, match=r'got 10 and 4; use 8 or 12$'):
    parallel.check_batch_size('batch_size', 10, parallel.make_mesh())
  with pytest.raises(errors.InputError, match=r'got 2 and 4; use 4$'):
    parallel.check_batch_size('batch_size', 2, parallel.make_mesh())


def test_placement_keeps_values():
  mesh = parallel.make_mesh()
  placed = parallel.shard_batch({'x': np.arange(8)}, mesh)
  np.testing.assert_array_equal(placed['x'], jnp.arange(8))
