"""Checkpoints: the best and the last are kept, another model's is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import checkpoint, errors, parallel

MODEL = {'name': 'wavecnn', 'features': 4}


def tree(value):
  return {'w': jnp.full((3,), float(value))}


def save(checkpoints, epoch, accuracy, loss):
  checkpoints.save(
    epoch,
    {'model': MODEL},
    {'validation_accuracy': accuracy, 'validation_loss': loss},
    variables=tree(epoch),
  )


def restore(checkpoints, epoch, model=MODEL):
  like = parallel.abstract_replicated(lambda: tree(0), parallel.make_mesh())
  return checkpoints.restore(epoch, {'model': model}, variables=like)[
    'variables'
  ]


def test_the_last_two_and_the_best_are_kept_and_a_tie_goes_to_lower_loss(
  tmp_path,
):
  results = [
    (0.5, 1.0),
    (0.9, 0.5),
    (0.9, 0.3),
    (0.9, 0.4),
    (0.8, 0.1),
    (0.7, 1),
  ]
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    for epoch, (accuracy, loss) in enumerate(results, 1):
      save(checkpoints, epoch, accuracy, loss)
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    assert checkpoints.best_epoch == 3
    assert checkpoints.latest_epoch == 6
    kept = sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir())
    assert kept == [3, 5, 6]
    np.testing.assert_array_equal(restore(checkpoints, 3)['w'], [3, 3, 3])


def test_arrays_come_back_bit_for_bit_on_every_device(tmp_path):
  value = jax.random.normal(jax.random.key(0), (257,))
  metrics = {'validation_accuracy': 1.0, 'validation_loss': 0.0}
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    checkpoints.save(1, {'model': MODEL}, metrics, variables={'w': value})
  like = parallel.abstract_replicated(
    lambda: {'w': value}, parallel.make_mesh()
  )
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    back = checkpoints.restore(1, {'model': MODEL}, variables=like)[
      'variables'
    ]['w']
  np.testing.assert_array_equal(back, value)
  assert len(back.addressable_shards) == 4


def test_a_checkpoint_from_another_model_is_refused(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1, 0.5, 1.0)
  with (
    checkpoint.Checkpoints(str(tmp_path)) as checkpoints,
    pytest.raises(
      errors.InputError,
      match=r'another model, features=4 where 8 is expected; use another',
    ),
  ):
    restore(checkpoints, 1, {'name': 'wavecnn', 'features': 8})


def test_a_folder_without_checkpoints_is_told(tmp_path):
  with pytest.raises(errors.InputError, match='holds no checkpoints; name'):
    checkpoint.load_classifier(str(tmp_path))
  with checkpoint.Checkpoints(str(tmp_path)):
    pass
  with pytest.raises(errors.InputError, match='no finished checkpoint'):
    checkpoint.load_classifier(str(tmp_path))


def test_nothing_on_disk_is_a_pickle(tmp_path):
  with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
    save(checkpoints, 1, 0.5, 1.0)
  for path in tmp_path.rglob('*'):
    if path.is_file():
      assert path.suffix != '.pkl'
      assert not path.read_bytes().startswith((b'\x80\x04', b'\x80\x05'))
