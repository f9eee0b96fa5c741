"""A study's folder is of one study, to which models may come."""

import pytest

from advspeech import errors, storage
from advspeech.studies.folder import claim


def test_a_folder_is_of_one_study_to_which_models_may_come(tmp_path):
  folder = str(tmp_path / 'study')
  study = {'task': 'gender', 'snr': (1.0, 2.0), 'models': {'a': 1}}
  claim(folder, study)
  claim(folder, study)
  claim(folder, {**study, 'models': {'b': 2}})
  for change in ({'task': 'emotion'}, {'models': {'a': 2}}, {'snr': (1.0,)}):
    (key,) = change
    with pytest.raises(errors.InputError, match=f'another study .{key} differ'):
      claim(folder, {**study, **change})
  assert storage.read_json(f'{folder}/settings.json')['models'] == {
    'a': 1,
    'b': 2,
  }


def test_a_study_that_names_no_models_is_claimed_again(tmp_path):
  folder = str(tmp_path / 'study')
  claim(folder, {'clips': 'abc', 'snr': (1.0, 2.0)})
  (written,) = (tmp_path / 'study').iterdir()
  before = written.stat().st_mtime_ns
  claim(folder, {'clips': 'abc', 'snr': (1.0, 2.0)})
  assert written.stat().st_mtime_ns == before
  with pytest.raises(errors.InputError, match=r'another study \(clips differ'):
    claim(folder, {'clips': 'abd', 'snr': (1.0, 2.0)})
