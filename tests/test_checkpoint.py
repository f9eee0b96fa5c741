"""Checkpoints: the best and the last are kept, a damaged one is never read."""

import logging
import pathlib
import re
import shutil

import jax
import jax.numpy as jnp
import mutations
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny

from advspeech import (
  checkpoint,
  errors,
  experiment,
  models,
  parallel,
  storage,
  training,
)
from configs import paper

pytestmark = pytest.mark.usefixtures('shallow_networks')

MODEL = {'name': 'wavecnn', 'features': 4}


def tree(value):
  return {'w': jnp.full((3,), float(value))}


def save(checkpoints, step, accuracy=None, loss=1.0):
  ranking = {'validation_accuracy': accuracy, 'validation_loss': loss}
  checkpoints.save(
    step,
    {'model': MODEL},
    {'num_epochs': step},
    None if accuracy is None else ranking,
    variables=tree(step),
  )


def restore(checkpoints, step, model=MODEL):
  like = parallel.abstract_replicated(lambda: tree(0), parallel.make_mesh())
  return checkpoints.restore(step, {'model': model}, variables=like)[
    'variables'
  ]


def test_the_last_two_and_the_best_are_kept(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1)
    save(checkpoints, 2)
    assert checkpoints.best_step is None
    save(checkpoints, 3, 0.5, 1.0)
    save(checkpoints, 4)
    save(checkpoints, 5, 0.9, 0.5)
    save(checkpoints, 6, 0.9, 0.3)  # as accurate, at a lower loss
    save(checkpoints, 7)
    save(checkpoints, 8)
    save(checkpoints, 9)
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    assert checkpoints.best_step == 6
    assert checkpoints.latest_step == 9
    kept = sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir())
    assert kept == [6, 8, 9]
    np.testing.assert_array_equal(restore(checkpoints, 6)['w'], [6, 6, 6])
    assert checkpoints.progress(8) == {'num_epochs': 8}


def test_a_step_saved_again_is_replaced(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 4)
    save(checkpoints, 4, 0.5)
    assert checkpoints.best_step == 4


class Killed(Exception):
  """Stands for a signal that no process outlives."""


def kill(*args, **kwargs):
  raise Killed


# Before Orbax has anything of a step, and between its commit and the digests.
@pytest.mark.parametrize(
  ('owner', 'name'),
  [(ocp.CheckpointManager, 'save'), (storage, 'write_json')],
)
def test_a_step_is_kept_until_it_is_saved_again_whole(
  tmp_path, owner, name, monkeypatch, caplog
):
  caplog.set_level(logging.WARNING, 'advspeech')
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 4)
  with monkeypatch.context() as patched:
    patched.setattr(owner, name, kill)
    with pytest.raises(Killed), checkpoint.Checkpoints(str(tmp_path)) as again:
      save(again, 4, 0.5)
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    assert checkpoints.latest_step == 4
    assert checkpoints.best_step is None  # as it was: not validated
    np.testing.assert_array_equal(restore(checkpoints, 4)['w'], [4, 4, 4])
    assert '4: saving it again did not end; as it was' in caplog.text
    save(checkpoints, 4, 0.5)
    assert checkpoints.best_step == 4
  assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['4']


def test_a_step_saved_again_whole_is_used_whenever_it_was_killed(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 4)
  root = tmp_path / 'checkpoints'
  shutil.copytree(root / '4', root / '4.saving' / '4')
  (root / '4.saving' / '4' / 'metadata' / 'metadata').write_text('')
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    np.testing.assert_array_equal(restore(checkpoints, 4)['w'], [4, 4, 4])
  assert [p.name for p in root.iterdir()] == ['4']


def test_what_another_process_is_about_to_save_is_not_told(folder, caplog):
  caplog.set_level(logging.WARNING, 'advspeech')
  root = folder / 'checkpoints'
  shutil.copytree(root / '18', root / '24')
  (root / '24' / 'digests.json').unlink()
  (root / '24.saving').mkdir()
  assert checkpoint.load_classifier(str(folder)).epoch == 3
  assert not caplog.text


def test_arrays_come_back_bit_for_bit_on_every_device(tmp_path):
  value = jax.random.normal(jax.random.key(0), (257,))
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    checkpoints.save(1, {'model': MODEL}, {}, None, variables={'w': value})
  for num_devices in (4, 2):
    mesh = parallel.make_mesh(devices=jax.devices()[:num_devices])
    like = parallel.abstract_replicated(lambda: {'w': value}, mesh)
    with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
      back = checkpoints.restore(1, {'model': MODEL}, variables=like)
    np.testing.assert_array_equal(back['variables']['w'], value)
    assert len(back['variables']['w'].addressable_shards) == num_devices


def test_a_checkpoint_from_another_model_is_refused(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1)
  with (
    checkpoint.Checkpoints(str(tmp_path)) as checkpoints,
    pytest.raises(
      errors.InputError,
      match=r'another model, features=4 where 8 is expected; use another',
    ),
  ):
    restore(checkpoints, 1, {'name': 'wavecnn', 'features': 8})


def test_a_folder_without_checkpoints_is_reported(tmp_path):
  with pytest.raises(errors.InputError, match='holds no checkpoints; name'):
    checkpoint.load_classifier(str(tmp_path))
  with checkpoint.Checkpoints(str(tmp_path)):
    pass
  with pytest.raises(errors.InputError, match='no finished checkpoint'):
    checkpoint.load_classifier(str(tmp_path))


def test_nothing_on_disk_is_a_pickle(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1)
  for path in tmp_path.rglob('*'):
    if path.is_file():
      assert path.suffix != '.pkl'
      assert not path.read_bytes().startswith((b'\x80\x04', b'\x80\x05'))


def delete(path):
  path.unlink()


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def flip(path):
  content = bytearray(path.read_bytes())
  if content:
    content[len(content) // 2] ^= 1
  else:  # nothing to flip
    content = b'x'
  path.write_bytes(content)


def files(folder):
  return sorted(
    str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()
  )


@pytest.mark.parametrize('damage', [delete, truncate, flip])
def test_damage_to_any_file_is_seen_and_the_step_before_is_used(
  tmp_path, damage, caplog
):
  caplog.set_level(logging.WARNING, 'advspeech')
  root = tmp_path / 'checkpoints'
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1, 0.5)
    save(checkpoints, 2)
  whole = tmp_path / 'whole'
  shutil.copytree(root / '2', whole)
  names = files(whole)
  assert len(names) > 5
  for name in names:
    shutil.copytree(whole, root / '2', dirs_exist_ok=True)
    path = root / '2' / name
    if not path.stat().st_size and damage is truncate:
      continue
    damage(path)
    caplog.clear()
    with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
      assert checkpoints.latest_step == 1, name
      np.testing.assert_array_equal(restore(checkpoints, 1)['w'], [1, 1, 1])
      message = caplog.text
      assert 'going on from step 1' in message
      if name != 'digests.json':
        assert name in message
      assert (tmp_path / 'damaged' / '2').is_dir()


def test_a_stray_folder_with_a_number_is_no_checkpoint(tmp_path, caplog):
  caplog.set_level(logging.WARNING, 'advspeech')
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1)
  (tmp_path / 'checkpoints' / '7').mkdir()
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    assert checkpoints.latest_step == 1
  assert '7: digests.json is missing' in caplog.text


@pytest.mark.parametrize('name', ['24', '007', '018'])
def test_a_checkpoint_of_another_number_is_none(tmp_path, folder, name, caplog):
  caplog.set_level(logging.WARNING, 'advspeech')
  (folder / 'checkpoints' / '18').rename(folder / 'checkpoints' / name)
  with pytest.raises(
    errors.InputError,
    match=rf'\(best_epoch 3 and 2.*; {name}: it was saved as 18\); put',
  ):
    checkpoint.load_classifier(str(folder))
  with checkpoint.Checkpoints(str(folder)) as checkpoints:
    assert checkpoints.latest_step == 12
  assert f'({name}: it was saved as 18); going on from step 12' in caplog.text


def test_one_of_another_training_alike_is_refused(folder, tmp_path):
  other = tmp_path / 'other'
  make(other, seed_of_variables=1)
  root = folder / 'checkpoints'
  shutil.rmtree(root / '18')
  shutil.copytree(other / 'checkpoints' / '18', root / '18')
  with pytest.raises(
    errors.InputError,
    match=r"training or epoch \(variables_sha256 '\w+' and '\w+'\); put",
  ):
    checkpoint.load_classifier(str(folder))


def test_with_none_left_it_says_so_and_loses_nothing(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1, 0.5)
    save(checkpoints, 2)
  root = tmp_path / 'checkpoints'
  for step in '12':
    flip(root / step / 'metadata' / 'metadata')
  before = files(root)
  with pytest.raises(
    errors.InputError,
    match=r'holds no checkpoint that can be used \(1: metadata/metadata was '
    r'changed; 2: metadata/metadata was changed\); put them back from a copy',
  ):
    checkpoint.Checkpoints(str(tmp_path))
  with pytest.raises(
    errors.InputError, match=r'can be used \(1: metadata/metadata was changed'
  ):
    checkpoint.load_classifier(str(tmp_path))
  assert files(root) == before


def test_with_all_digests_gone_training_does_not_begin_again(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1, 0.5)
    save(checkpoints, 2)
  root = tmp_path / 'checkpoints'
  for step in '12':
    (root / step / 'digests.json').unlink()
  with pytest.raises(
    errors.InputError,
    match=r'can be used \(1: digests.json is missing; 2: digests.json is '
    r'missing\); put them back from a copy, or remove .* to train from the',
  ):
    checkpoint.Checkpoints(str(tmp_path))
  assert sorted(p.name for p in root.iterdir()) == ['1', '2']


def test_a_first_save_that_did_not_end_is_begun_again(
  tmp_path, monkeypatch, caplog
):
  caplog.set_level(logging.WARNING, 'advspeech')
  with monkeypatch.context() as patched:
    patched.setattr(storage, 'write_json', kill)
    with pytest.raises(Killed), checkpoint.Checkpoints(str(tmp_path)) as first:
      save(first, 1)
  with pytest.raises(errors.InputError, match='no finished checkpoint; train'):
    checkpoint.load_classifier(str(tmp_path))
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    assert checkpoints.latest_step is None
  assert '(1: its save did not end); going on from the beginn' in caplog.text
  assert not list((tmp_path / 'checkpoints').iterdir())


def make(folder, seed_of_variables=0):
  """Leaves a folder as training does: epochs 2 and 3, the best, are there."""
  metadata = training.describe(
    tiny.get_config(), 'wavecnn', 0, tiny.CLASSES, tiny.TIME
  )
  model = models.create_model(**metadata['model'])
  clip = jnp.zeros((1, tiny.TIME))
  key = jax.random.key(seed_of_variables)
  variables = model.init(key, clip, train=False)
  with checkpoint.Checkpoints(str(folder)) as checkpoints:
    for epoch, accuracy in ((1, None), (2, 0.5), (3, 0.9)):
      checkpoints.save(
        6 * epoch,
        metadata,
        {'num_epochs': epoch},
        accuracy and {'validation_accuracy': accuracy, 'validation_loss': 1.0},
        variables=variables,
      )
  summary = {
    **metadata,
    'best_epoch': 3,
    'variables_sha256': checkpoint.variables_sha256(variables),
  }
  storage.write_json(str(folder / 'summary.json'), summary)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp('trained') / 'wavecnn-seed0'
  make(folder)
  return folder


@pytest.fixture
def folder(trained, tmp_path):
  return shutil.copytree(trained, tmp_path / 'wavecnn-seed0')


@pytest.mark.parametrize('damage', [delete, flip])
@pytest.mark.parametrize(
  'name', ['metadata/metadata', 'metrics/metrics', 'digests.json']
)
def test_only_the_best_must_be_whole(folder, damage, name, caplog):
  caplog.set_level(logging.WARNING, 'advspeech')
  assert checkpoint.load_classifier(str(folder)).epoch == 3
  assert not caplog.text
  damage(folder / 'checkpoints' / '12' / name)
  assert checkpoint.load_classifier(str(folder)).epoch == 3
  assert re.search(
    r'checkpoints: not usable \(12: .*\); 18 is whole and is used', caplog.text
  )


@pytest.mark.parametrize('damage', [delete, flip])
@pytest.mark.parametrize(
  'name', ['metadata/metadata', 'metrics/metrics', 'digests.json']
)
def test_no_other_takes_the_place_of_the_best(folder, damage, name):
  damage(folder / 'checkpoints' / '18' / name)
  with pytest.raises(
    errors.InputError,
    match=r'summary.json and the best whole checkpoint beside it are not of '
    r'the same training or epoch \(best_epoch 3 and 2; 18: .*\); put .*'
    r'checkpoints back from a copy, or remove .*wavecnn-seed0 and train again',
  ):
    checkpoint.load_classifier(str(folder))


def test_a_summary_of_another_training_is_refused(folder):
  path = str(folder / 'summary.json')
  storage.write_json(path, {**storage.read_json(path), 'seed': 1})
  with pytest.raises(errors.InputError, match=r'epoch \(seed 1 and 0\); put'):
    checkpoint.load_classifier(str(folder))


def test_a_training_that_has_not_ended_is_used_with_a_warning(folder, caplog):
  caplog.set_level(logging.WARNING, 'advspeech')
  (folder / 'summary.json').unlink()
  assert checkpoint.load_classifier(str(folder)).epoch == 3
  assert 'not trained to its end; its best epoch so far, 3, is' in caplog.text


@pytest.mark.parametrize(
  ('name', 'found'),
  [
    ('lr[1e-3]', r'\[ \]'),
    ('a\\b', r'\\'),
    ('a*b', r'\*'),
    ('a?', r'\?'),
    ('gs:/bucket/run', 'gs:/'),
    ('az://bucket/run', '://'),
  ],
)
def test_a_path_that_is_misread_is_refused_before_any_work(
  tmp_path, monkeypatch, name, found
):
  monkeypatch.chdir(tmp_path)
  for use in (
    checkpoint.Checkpoints,
    checkpoint.load_classifier,
    lambda path: experiment.Run.open(paper.get_config(), path),
    lambda path: experiment.reproduce(paper.get_config(), path),
  ):
    with pytest.raises(
      errors.InputError,
      match=rf'cannot hold checkpoints, because of .*{found} in it; use a',
    ):
      use(name)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['a{1,2}b', 'a b', "a'b", '~', '#é', '!a'])
def test_any_other_path_holds_checkpoints(tmp_path, name):
  with checkpoint.Checkpoints(str(tmp_path / name)) as checkpoints:
    save(checkpoints, 1, 0.5)
    checkpoints.wait()
    np.testing.assert_array_equal(restore(checkpoints, 1)['w'], [1, 1, 1])


def test_training_goes_on_from_the_step_before_to_the_same_bits(tmp_path):
  config = tiny.get_config()
  config.training.save_every_s = 1e-9
  first = tiny.run(config, tmp_path / 'a')
  damaged = tmp_path / 'a' / 'checkpoints' / '18'
  arrays = next(p for p in pathlib.Path(damaged).rglob('d/*') if p.is_file())
  flip(arrays)
  (tmp_path / 'a' / 'summary.json').unlink()
  assert tiny.run(config, tmp_path / 'a') == first


def test_a_network_of_mutated_files_is_the_one_that_was_saved_or_none(
  trained, tmp_path, caplog
):
  expected = checkpoint.load_classifier(str(trained)).variables
  rng = np.random.default_rng(mutations.NUM)
  for i in range(mutations.NUM):
    folder = shutil.copytree(trained, tmp_path / f'trained-{i}')
    name = rng.choice(files(folder))
    done = mutations.mutate(rng, folder / name)
    refused, found = None, expected
    try:
      found = checkpoint.load_classifier(str(folder)).variables
    except errors.InputError as e:
      refused = str(e)
    except Exception as e:
      e.add_note(f'{name}: {done}')
      raise
    assert refused is None or str(folder) in refused, (name, done)
    for one, other in zip(
      *map(jax.tree.leaves, (found, expected)), strict=True
    ):
      np.testing.assert_array_equal(one, other)
    shutil.rmtree(folder)
