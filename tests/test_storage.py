"""Files are read as they were written, or refused in a sentence."""

import numpy as np
import pytest

from advspeech import errors, storage


def test_ids_and_classes_stay_text_and_numbers_become_numbers(tmp_path):
  path = tmp_path / 'table.csv'
  rows = [
    {'id': '0001', 'label': '1', 'prediction': '0_1', 'epsilon': 0.5, 'n': 3},
    {'id': '0_01', 'label': 'nan', 'prediction': '2', 'epsilon': 1e-6, 'n': 4},
  ]
  storage.write_table(path, tuple(rows[0]), rows)
  assert storage.read_table(path) == rows


@pytest.mark.parametrize('text', ['', '{"a": 1', '\xff\xfe'])
def test_what_is_no_json_is_named(tmp_path, text):
  path = tmp_path / 'config.json'
  path.write_text(text, encoding='latin-1')
  with pytest.raises(errors.InputError, match=r'config\.json is no JSON '):
    storage.read_json(path)
  with pytest.raises(errors.InputError, match=r'other\.json is not there'):
    storage.read_json(tmp_path / 'other.json')


def test_a_table_that_was_cut_is_named_with_the_line(tmp_path):
  path = tmp_path / 'sweep.csv'
  path.write_text('a,b,c\n1,2,3\n4,5')
  with pytest.raises(errors.InputError, match='line 3 has 2 values'):
    storage.read_table(path)


@pytest.mark.parametrize(
  'data', [b'a,b\n\xfb\xff,1\n', b'a,b\n"' + b'x' * 200_000]
)
def test_a_table_that_is_no_text_is_named(tmp_path, data):
  path = tmp_path / 'sweep.csv'
  path.write_bytes(data)
  with pytest.raises(errors.InputError, match=r'sweep\.csv is no CSV'):
    storage.read_table(path)


@pytest.mark.parametrize('damage', ['cut', 'changed', 'empty', 'missing'])
def test_arrays_that_cannot_be_read_are_named(tmp_path, damage):
  path = tmp_path / 'arrays.npz'
  np.savez_compressed(path, a=np.arange(1000))
  np.testing.assert_array_equal(storage.read_arrays(path)['a'], np.arange(1000))
  data = bytearray(path.read_bytes())
  if damage == 'missing':
    path.unlink()
  else:
    data[200] ^= 0xFF
    path.write_bytes({'cut': data[:300], 'changed': data, 'empty': b''}[damage])
  with pytest.raises(errors.InputError, match=r'arrays\.npz cannot be read'):
    storage.read_arrays(path)


def test_a_folder_is_of_one_study_to_which_models_may_come(tmp_path):
  folder = str(tmp_path / 'study')
  study = {'task': 'gender', 'snr': (1.0, 2.0), 'models': {'a': 1}}
  storage.claim_study(folder, study)
  storage.claim_study(folder, study)
  storage.claim_study(folder, {**study, 'models': {'b': 2}})
  for change in ({'task': 'emotion'}, {'models': {'a': 2}}, {'snr': (1.0,)}):
    (key,) = change
    with pytest.raises(errors.InputError, match=f'another study .{key} differ'):
      storage.claim_study(folder, {**study, **change})
  assert storage.read_json(f'{folder}/settings.json')['models'] == {
    'a': 1,
    'b': 2,
  }


def test_a_study_that_names_no_models_is_claimed_again(tmp_path):
  folder = str(tmp_path / 'study')
  storage.claim_study(folder, {'clips': 'abc', 'snr': (1.0, 2.0)})
  (written,) = (tmp_path / 'study').iterdir()
  before = written.stat().st_mtime_ns
  storage.claim_study(folder, {'clips': 'abc', 'snr': (1.0, 2.0)})
  assert written.stat().st_mtime_ns == before
  with pytest.raises(errors.InputError, match=r'another study \(clips differ'):
    storage.claim_study(folder, {'clips': 'abd', 'snr': (1.0, 2.0)})
