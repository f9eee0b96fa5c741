"""Every clip once, in an order that (seed, epoch) fixes, from any source."""

import dataclasses
import itertools
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import errors, input_pipeline, parallel, tasks
from advspeech.input_pipeline.batches import gather_step

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


class Stored:
  """Clips that are read by rows, and remember which were."""

  def __init__(self, pcm):
    self._pcm = pcm
    self.shape, self.nbytes = pcm.shape, pcm.nbytes
    self.reads = []

  def __getitem__(self, rows):
    self.reads.append(list(np.arange(len(self._pcm))[rows]))
    return self._pcm[rows]


def on_host(split, mesh):
  del mesh
  return split


def on_disk(split, mesh):
  del mesh
  return dataclasses.replace(split, pcm=Stored(split.pcm))


SOURCES = (on_host, on_disk, input_pipeline.put_on_devices)


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
  for key in ('audio', 'label', 'mask', 'id_words', 'valid'):
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


@pytest.mark.parametrize('num_devices', [1, 2, 3, 4])
@pytest.mark.parametrize('num_clips', [1, 6, 11, 12, 13])
def test_the_three_sources_give_identical_batches(num_devices, num_clips):
  rng = np.random.default_rng(num_clips)
  split = input_pipeline.Split(
    ids=np.array([f'u{i}' for i in range(num_clips)]),
    pcm=rng.integers(-32768, 32768, (num_clips, 64)).astype(np.int16),
    num_samples=rng.integers(1, 30, num_clips).astype(np.int32),
    labels=rng.integers(0, 9, num_clips).astype(np.int32),
    starts=rng.integers(0, 30, num_clips).astype(np.int32),
  )
  mesh = parallel.make_mesh(devices=jax.devices()[:num_devices])
  order = input_pipeline.epoch_order(num_clips, 3, 1)
  epochs = [
    list(input_pipeline.batches(source(split, mesh), 12, mesh, order))
    for source in SOURCES
  ]
  for batches in zip(*epochs, strict=True):
    for key in ('audio', 'label', 'mask', 'id_words', 'valid', 'id'):
      for batch in batches:
        np.testing.assert_array_equal(batch[key], batches[0][key])
        assert batch[key].dtype == batches[0][key].dtype
    for key in ('audio', 'label', 'mask', 'id_words', 'valid'):
      for batch in batches:
        assert batch[key].sharding.is_equivalent_to(
          parallel.sharded(mesh), batch[key].ndim
        )


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('first_step', range(4))
def test_an_epoch_is_resumed_at_any_step(split, source, first_step):
  mesh = parallel.make_mesh()
  placed = source(split, mesh)
  order = input_pipeline.epoch_order(NUM_CLIPS, 0, 5)
  whole = list(input_pipeline.batches(placed, 4, mesh, order))
  rest = input_pipeline.batches(placed, 4, mesh, order[4 * first_step :])
  for a, b in zip(whole[first_step:], rest, strict=True):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('num_processes', [1, 2, 3, 4, 7])
@pytest.mark.parametrize('num_clips', [1, 83, 84, 85, 167, 200])
def test_any_number_of_processes_has_every_clip_once(num_processes, num_clips):
  batch_size = 84  # a multiple of each
  order = input_pipeline.epoch_order(num_clips, 1, 2)
  table = input_pipeline.batch_rows(order, batch_size)
  parts = np.split(table, num_processes, axis=1)
  assert len({part.shape for part in parts}) == 1
  read = np.concatenate([part[part >= 0] for part in parts])
  assert sorted(read) == list(range(num_clips))
  # Whoever is asked, the batches are the same.
  np.testing.assert_array_equal(np.concatenate(parts, 1), table)


def test_a_device_reads_its_own_clips_alone(split):
  mesh = parallel.make_mesh()
  placed = on_disk(split, mesh)
  batch = next(input_pipeline.batches(placed, 8, mesh))
  first = [sorted(rows) for rows in placed.pcm.reads[:4]]
  assert sorted(first) == [[0, 1], [2, 3], [4, 5], [6, 7]]
  assert batch['audio'].shape == (8, TIME)


def test_devices_that_share_clips_read_them_once(split):
  mesh = parallel.make_mesh(num_epsilon=2)
  placed = on_disk(split, mesh)
  list(input_pipeline.batches(placed, 8, mesh))
  read = itertools.chain.from_iterable(placed.pcm.reads)
  assert sorted(read) == list(range(NUM_CLIPS))


def test_masks_begin_where_the_recording_does(split):
  starts = np.array([TIME - n for n in split.num_samples])
  front = dataclasses.replace(split, starts=starts)
  np.testing.assert_array_equal(front.spans[:, 1], TIME)
  for batch in input_pipeline.batches(front, 4, parallel.make_mesh()):
    for i, id_ in enumerate(batch['id']):
      mask = np.zeros(TIME)
      mask[starts[int(id_[1:])] :] = 1
      np.testing.assert_array_equal(batch['mask'][i], mask)


def test_what_goes_wrong_in_reading_is_raised_where_it_is_asked_for(split):
  class Broken(Stored):
    def __getitem__(self, rows):
      if 9 in rows:
        raise OSError('the disk is gone')
      return super().__getitem__(rows)

  broken = dataclasses.replace(split, pcm=Broken(split.pcm))
  batches = input_pipeline.batches(broken, 4, parallel.make_mesh())
  next(batches)
  next(batches)
  with pytest.raises(OSError, match='the disk is gone'):
    next(batches)


def test_batches_that_are_not_asked_for_leave_no_thread(split):
  before = threading.active_count()
  batches = input_pipeline.batches(split, 4, parallel.make_mesh())
  next(batches)
  del batches
  assert threading.active_count() == before


def test_clips_are_placed_only_where_they_fit_and_it_helps(split, monkeypatch):
  mesh, size = parallel.make_mesh(), split.pcm.nbytes
  splits = {'train': split, 'validation': split}
  assert input_pipeline.place(splits, mesh, 1e9) == splits  # a CPU
  monkeypatch.setattr(parallel, 'is_host', lambda mesh: False)
  assert input_pipeline.place(splits, mesh, size - 1) == splits
  both = input_pipeline.place(splits, mesh, 2 * size)
  for placed in both.values():
    assert placed.pcm.sharding.is_fully_replicated
    np.testing.assert_array_equal(placed.pcm, split.pcm)


def test_the_splits_on_a_device_share_its_budget(split, monkeypatch):
  monkeypatch.setattr(parallel, 'is_host', lambda mesh: False)
  size = split.pcm.nbytes
  some = input_pipeline.subset(split, np.arange(2))
  for budget, on_device in (
    (size + some.pcm.nbytes, ['train', 'validation']),
    (size + some.pcm.nbytes - 1, ['train']),
    (size - 1, ['validation']),
  ):
    placed = input_pipeline.place(
      {'train': split, 'validation': some}, parallel.make_mesh(), budget
    )
    assert [
      name for name, s in placed.items() if isinstance(s.pcm, jax.Array)
    ] == on_device


def test_a_batch_is_gathered_without_communication(split):
  mesh = parallel.make_mesh()
  placed = input_pipeline.put_on_devices(split, mesh)
  table = input_pipeline.batch_rows(np.arange(NUM_CLIPS), 4)
  columns = parallel.replicate(
    {'span': split.spans, 'label': split.labels}, mesh
  )
  text = (
    gather_step(mesh)
    .lower(placed.pcm, columns, parallel.replicate(table, mesh), 0)
    .compile()
    .as_text()
  )
  for communication in ('all-gather', 'all-reduce', 'all-to-all', 'permute'):
    assert communication not in text


def test_splits_know_who_speaks_and_keep_a_group_together():
  number = 60
  ids = np.array([f'u{i:02d}' for i in range(number)])
  corpus = types.SimpleNamespace(
    ids=ids,
    speaker=np.array([f's{i % 6}' for i in range(number)]),
    statement=np.array([f'{i // 12}' for i in range(number)]),
    num_samples=np.full(number, 1),
    starts=np.zeros(number, np.int32),
    pcm=types.SimpleNamespace(
      subset=lambda rows: np.zeros((len(rows), 1), np.int16)
    ),
  )
  task = tasks.Task(
    'label', ('a', 'b'), np.arange(number), np.arange(number) % 2
  )
  splits = input_pipeline.make_splits(corpus, task, 'group', 0, by='statement')
  said = []
  for split in splits.values():
    place = np.searchsorted(ids, split.ids)
    np.testing.assert_array_equal(split.speakers, corpus.speaker[place])
    some = input_pipeline.subset(split, np.array([1, 0]))
    np.testing.assert_array_equal(some.speakers, split.speakers[[1, 0]])
    said.append(set(corpus.statement[place]))
  assert sum(map(len, said)) == len(set.union(*said)) == 5
