"""The user's own responses: aligned, scaled, and refused where they are bad."""

import numpy as np
import pytest
import soundfile

from advspeech import errors, rooms
from advspeech.rooms import recorded


def write(folder, name='a.wav', rate_hz=16_000, samples=None):
  folder.mkdir(exist_ok=True, parents=True)
  if samples is None:
    samples = np.zeros(2000)
    samples[[500, 700]] = -0.4, 0.1
  soundfile.write(folder / name, samples, rate_hz, subtype='FLOAT')
  return str(folder)


def test_a_response_begins_at_its_direct_path_with_gain_one(tmp_path):
  responses, names = recorded.read(write(tmp_path))
  assert names == ('a.wav',)
  expected = np.zeros(1540, np.float32)
  expected[[40, 240]] = -1, 0.25
  np.testing.assert_allclose(responses, expected[None], atol=1e-7)


def test_a_direct_path_at_the_very_beginning(tmp_path):
  responses, _ = recorded.read(write(tmp_path, samples=np.r_[0.5, 0.25]))
  np.testing.assert_array_equal(responses[0, 40:], [1, 0.5])
  assert not responses[0, :40].any()


def test_files_are_sorted_and_as_long_as_the_longest(tmp_path):
  write(tmp_path, 'b.wav', samples=np.eye(1, 300)[0])
  responses, names = recorded.read(
    write(tmp_path, 'a.WAV', samples=np.eye(1, 9)[0])
  )
  assert names == ('a.WAV', 'b.wav')
  assert responses.shape == (2, 340)


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    ({'rate_hz': 48_000}, 'a.wav must be at 16000 Hz, got 48000 Hz'),
    ({'samples': np.zeros((100, 2))}, 'must have one channel, got 2'),
    ({'samples': np.zeros(100)}, 'got 100 samples of silence'),
    ({'samples': np.zeros(0)}, 'holds no samples'),
    ({'samples': np.r_[1, np.nan]}, 'samples that are not finite'),
  ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path, change, words):
  folder = write(tmp_path, **change)
  with pytest.raises(errors.InputError, match=words) as refused:
    recorded.read(folder)
  assert str(refused.value).startswith(f'{tmp_path}')
  assert '\n' not in str(refused.value)


def test_a_folder_without_both_sides_is_refused(tmp_path):
  write(tmp_path / 'training')
  assert rooms.load('training', str(tmp_path)).names == ('a.wav',)
  with pytest.raises(errors.InputError, match='into the folder unseen'):
    rooms.load('unseen', str(tmp_path))
