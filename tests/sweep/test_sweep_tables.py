"""Numbers of a sweep's tables that stand for many clips."""

import json

import numpy as np
import pytest
import sweep_subjects

from advspeech import audio, class_errors, sweep
from advspeech.sweep import rates
from advspeech.sweep.tables import columns, points

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
  found = points.mean_snr(np.array(snr_db, np.float32))
  assert found == {'mean_snr_db': mean, 'num_infinite_snr': num_infinite}


def test_an_epsilon_is_in_every_unit_what_the_user_wrote():
  rms = np.full(1000, 0.1, np.float32)
  row = sweep.epsilon_columns(audio.parse_epsilon(0.015), rms)
  assert row['epsilon'] == 0.015
  assert row['epsilon_lsb'] == 983.04
  assert row['epsilon_fs'] == 0.03


@pytest.mark.parametrize(
  ('epsilon', 'below'),
  [
    ('0', (0, 0)),
    ('0.5lsb', (1, 1)),
    ('255lsb', (0, 1)),
    ('257lsb', (0, 0)),
    ('4MFCC', ('', '')),
  ],
)
def test_what_files_of_16_and_of_8_bit_lose_is_flagged(epsilon, below):
  unit = 'MFCC' if epsilon.endswith('MFCC') else ''
  (parsed,) = sweep.parse_epsilons([epsilon.removesuffix(unit)], unit)
  found = columns.below_one_step(parsed, np.full(3, 0.1, np.float32))
  assert tuple(found.values()) == below


def voices(num_speakers, num_clips=120):
  return np.array([f'v{i % num_speakers}' for i in range(num_clips)])


def test_voices_that_err_together_widen_every_interval():
  speakers = voices(8)
  attacked = np.isin(speakers, ('v0', 'v1', 'v2'))
  noise = np.zeros(120, bool)
  rate = rates.by_speaker('ci_speaker', attacked, speakers, 0.95)
  assert rate['ci_speaker_low'] < 0.15
  assert rate['ci_speaker_high'] > 0.65
  found = rates.difference('excess', attacked, noise, speakers, 0.95)
  assert found['excess'] == 0.375
  assert found['excess_speaker_low'] < 0.1 < found['excess_low']
  assert found['excess_high'] < 0.6 < found['excess_speaker_high']
  assert 0.03 < found['excess_speaker_p'] < 0.3
  taken = rates.taken((attacked, noise), (noise, noise), speakers, 0.95)
  assert (taken['taken'], taken['over_half']) == (0.375, -0.1875)
  for name in ('taken', 'over_half'):
    low, high = (taken[f'{name}_speaker_{end}'] for end in ('low', 'high'))
    assert low < taken[f'{name}_low'] < taken[f'{name}_high'] < high


def test_what_no_voice_showed_is_no_certainty_by_speaker():
  nothing = np.zeros(120, bool)
  found = rates.difference('excess', nothing, nothing, voices(8), 0.95)
  assert found['excess_speaker_low'] == found['excess_low'] < 0
  assert found['excess_speaker_high'] == found['excess_high'] > 0


@pytest.mark.parametrize(
  ('speakers', 'number'),
  [(voices(5), 5), (np.where(np.arange(120) == 7, '', voices(8)), '')],
)
def test_few_or_nameless_voices_have_no_interval_by_speaker(speakers, number):
  wrong = np.arange(120) < 30
  assert rates.num_speakers(speakers) == number
  found = rates.by_speaker('ci_speaker', wrong, speakers, 0.95)
  assert found == {'ci_speaker_low': '', 'ci_speaker_high': ''}
  found = rates.difference('excess', wrong, ~wrong, speakers, 0.95)
  assert found['excess_speaker_low'] == found['excess_speaker_high'] == ''
  assert found['excess_speaker_p'] == ''
  assert found['excess_low'] < found['excess'] < found['excess_high']


def test_errors_by_class_tell_one_answer_from_a_guess():
  labels = np.arange(12) % 2
  guess = np.arange(12) // 6
  found = [
    class_errors.columns(answers, labels, ('a', 'b', 'never'))
    for answers in (guess, np.ones(12, int))
  ]
  assert [each['balanced_error'] for each in found] == [0.5, 0.5]
  assert json.loads(found[0]['errors_by_class']) == {'a': [3, 6], 'b': [3, 6]}
  assert json.loads(found[1]['errors_by_class']) == {'a': [6, 6], 'b': [0, 6]}
  assert json.loads(found[1]['answers_by_class']) == {
    'a': 0,
    'b': 12,
    'never': 0,
  }


def test_a_rare_class_counts_as_much_in_the_balanced_error():
  labels = np.array([0] * 9 + [1])
  found = class_errors.columns(np.zeros(10, int), labels, ('a', 'b'))
  assert found['balanced_error'] == 0.5


def test_thresholds_beside_norms_are_on_no_curve():
  for epsilons, expected in (
    ((0.0, 0.01, '0dbmask', '20dbsnr'), [0, 1, 3]),
    (('0', '-6dbmask', '0dbmask'), [0, 1, 2]),
    (('0dbmask', '0dbfs'), [1]),
  ):
    planned = sweep_subjects.make_planned(epsilons=epsilons)
    assert planned.on_curve == expected
