"""Numbers of a sweep's tables that stand for many clips."""

import numpy as np
import pytest

from advspeech import audio, sweep
from advspeech.sweep import tables

INF = float('inf')


@pytest.mark.parametrize(
  ('snr_db', 'mean', 'num_infinite'),
  [
    ((10.0, 20.0), 15.0, 0),
    ((10.0, -INF, 20.0), 15.0, 1),  # a silent clip
    ((10.0, INF, -INF), 10.0, 2),
    ((INF, INF), INF, 2),  # epsilon 0
    ((-INF, -INF), -INF, 2),
  ],
)
def test_clips_of_infinite_snr_are_counted_beside_the_mean_of_the_others(
  snr_db, mean, num_infinite
):
  found = tables.mean_snr(np.array(snr_db, np.float32))
  assert found == {'mean_snr_db': mean, 'num_infinite_snr': num_infinite}


def test_an_epsilon_is_in_every_unit_what_the_user_wrote():
  rms = np.full(1000, 0.1, np.float32)
  row = sweep.epsilon_columns(audio.parse_epsilon(0.015), rms)
  assert row['epsilon'] == 0.015
  assert row['epsilon_lsb'] == 983.04
  assert row['epsilon_fs'] == 0.03
