"""The table of means over trainings, from verdicts that are made up."""

import types

import numpy as np
import pytest
from sweep_subjects import EPSILONS, make_attack, make_planned, make_settings

from advspeech import sweep
from advspeech.statistics import crossed, trainings
from advspeech.sweep import planning, results, settings
from advspeech.sweep.tables import curves
from advspeech.sweep.tables import trainings as table

NUM_CLIPS = 60
LABELS = np.arange(NUM_CLIPS) % 3
LABELS[-1] = -1  # told apart by no task
NAMES = ('wavecnn', 'wavernn')


def make_results(num_seeds, rate_of=lambda *_: 0.5, num_speakers=12):
  """Results of FGSM on WaveCNN, judged wrong at rates that a test gives."""
  members = [
    sweep.Member(name, seed, None, LABELS)
    for seed in range(num_seeds)
    for name in NAMES
  ]
  plan = [make_planned(source=2 * seed) for seed in range(num_seeds)]
  rng = np.random.default_rng(0)
  judged = {}
  made = make_settings()
  for seed, planned in enumerate(plan):
    names = settings.variants(planned, made)
    answers = np.tile(LABELS, (len(EPSILONS), len(names), len(members), 1))
    for e, epsilon in enumerate(EPSILONS):
      for v, variant in enumerate(names):
        for t, member in enumerate(members):
          rate = rate_of(member.name, member.seed, seed, variant, epsilon)
          wrong = rng.random(NUM_CLIPS) < rate
          answers[e, v, t] = np.where(wrong, (LABELS + 1) % 3, LABELS)
    judged[planned] = types.SimpleNamespace(
      predictions=answers,
      clean=np.tile(LABELS, (len(members), 1)),
      snr_db=np.full((len(EPSILONS), 4, NUM_CLIPS), 10.0 + seed),
    )
  speakers = np.array([f'v{i % num_speakers}' for i in range(NUM_CLIPS)])
  made_up = types.SimpleNamespace(
    members=members,
    plan=plan,
    attacks={'fgsm': make_attack('fgsm')},
    settings=made,
    split=types.SimpleNamespace(speakers=speakers),
  )
  return results.Results(made_up, 'gender', 0.95, judged, np.full(1, 0.1))


def test_means_are_of_models_of_the_attacked_seed():
  own = {0: 0.2, 1: 0.4, 2: 0.9}
  found = make_results(
    3, lambda name, seed, source, *_: own[seed] if seed == source else 1.0
  )
  rows = list(table.rows(found))
  names = ('', *planning.CONTROLS)
  assert len(rows) == len(NAMES) * len(names) * len(EPSILONS)
  for row in rows:
    assert row['num_trainings'] == 3
    assert row['num_clips'] == NUM_CLIPS - 1
    assert row['error_rate'] == pytest.approx(0.5, abs=0.12)
    assert row['lowest'] < 0.35 < 0.75 < row['highest']
    assert row['flip_rate'] == pytest.approx(row['error_rate'], abs=0.02)
    assert row['mean_snr_db'] == 11
    # Of three trainings nobody knows what the fourth does.
    assert row['ci_low'] == row['ci_speaker_high'] == row['excess_low'] == ''
    assert (row['excess'] == '') == (row['control'] == '')


def test_five_trainings_have_the_interval_of_their_verdicts():
  found = make_results(5)
  rows = [r for r in table.rows(found) if r['target'] == 'wavernn']
  known = LABELS >= 0
  wrong = np.stack(
    [
      found.judged[planned].predictions[1, 0, 2 * seed + 1] != LABELS
      for seed, planned in enumerate(found.sweep.plan)
    ]
  )[:, known]
  row = next(r for r in rows if (r['control'], r['epsilon']) == ('', 0.01))
  assert row['error_rate'] == pytest.approx(wrong.mean())
  assert (row['ci_low'], row['ci_high']) == trainings.rate_interval(wrong)
  parts = crossed.components(wrong)
  assert row['sd_rest'] == parts.rest
  assert row['ci_speaker_low'] <= row['ci_low']


def test_a_level_shared_out_among_epsilons_widens_the_excess():
  rates = {'random_sign': 0.2}
  found = make_results(6, lambda name, a, b, v, e: rates.get(v, 0.6))
  for row in table.rows(found):
    if row['control'] == 'random_sign':
      assert row['excess'] == pytest.approx(0.4, abs=0.1)
      assert 0 < row['excess_corrected_low'] < row['excess_low']
      assert row['excess_low'] < row['excess'] < row['excess_high']
      assert row['excess_lowest'] < row['excess'] < row['excess_highest']


def test_few_voices_have_no_interval_by_speaker():
  for row in table.rows(make_results(5, num_speakers=4)):
    assert row['num_speakers'] == 4
    assert row['ci_speaker_low'] == row['excess_speaker_low'] == ''
    assert row['ci_low'] < row['error_rate'] < row['ci_high']


def test_one_training_has_no_row():
  assert not list(table.rows(make_results(1)))


@pytest.mark.parametrize(('num_seeds', 'num_means'), [(4, 0), (5, 2)])
def test_five_trainings_have_a_curve_of_their_own(num_seeds, num_means):
  rates = {0.0: 0.1, 0.01: 0.9, 0.1: 0.2}
  found = make_results(num_seeds, lambda a, b, c, d, e: rates[e])
  rows = list(curves.rows(found))
  means = [row for row in rows if row['seed'] == row['target_seed'] == '']
  assert len(means) == num_means
  assert len(rows) == num_means + num_seeds * 2 * num_seeds
  for row in means:
    assert row['num_trainings'] == num_seeds
    assert (row['fall_from'], row['fall_to']) == (0.01, 0.1)
    assert max(row['rise_p'], row['fall_p']) < 0.01
  assert all(row['num_trainings'] == 1 for row in rows if row not in means)
