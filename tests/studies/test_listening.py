"""Clips to listen to: written once, as 16-bit files, and only where wanted."""

import numpy as np
import pytest

from advspeech import audio, storage
from advspeech.studies import listening


def sounds(num_calls):
  """Yields a clip and what became of it, and counts its calls."""
  num_calls.append(1)
  clean = np.full(1600, 0.5, np.float32)
  clean[::2] += 0.1
  yield listening.Example('a', clean, None, {'sent': 'clean'})
  yield listening.Example('a', clean + 0.001, clean, {'sent': 'attack'})


def test_clips_are_written_once_with_their_snr(tmp_path):
  calls = []
  for _ in range(2):
    listening.write_once(str(tmp_path), 1, lambda: sounds(calls))
  assert len(calls) == 1
  clean, attack = storage.read_json(str(tmp_path / 'examples.json'), kind=list)
  assert (clean['sent'], clean['snr_db']) == ('clean', None)
  # Half of the samples are 0.1 away from silence, all are moved by 0.001.
  assert attack['snr_db'] == pytest.approx(10 * np.log10(0.5e4), abs=0.01)
  heard = audio.read(tmp_path / 'audio' / attack['file'])
  np.testing.assert_allclose(heard[:2], [0.202, 0.002], atol=1e-4)


def test_nothing_is_computed_where_no_clip_is_wanted(tmp_path):
  calls = []
  listening.write_once(str(tmp_path), 0, lambda: sounds(calls))
  assert not calls
  assert not list(tmp_path.iterdir())


def test_the_largest_scores_come_first_and_equal_ones_in_order():
  rows = listening.telling_rows(np.array([0.0, 1.0, 0.5, 1.0]), 3)
  np.testing.assert_array_equal(rows, [1, 3, 2])
