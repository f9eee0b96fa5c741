"""Intervals over trainings against definitions and simulated networks."""

import math

import numpy as np
import pytest
from scipy import stats

from advspeech.statistics import crossed, pairs, rates, trainings

SIMULATIONS = 200


def judged(rng, num_trainings, num_clips, of_trainings, of_clips, mean=0.0):
  """Verdicts of crossed effects: who is above a threshold is judged wrong."""
  score = (
    mean
    + rng.normal(0, of_trainings, (num_trainings, 1))
    + rng.normal(0, of_clips, (1, num_clips))
    + rng.normal(0, 1, (num_trainings, num_clips))
  )
  return score > 0


@pytest.mark.slow
@pytest.mark.parametrize(
  ('num_trainings', 'num_clips', 'of_trainings', 'of_clips', 'mean'),
  [
    (5, 72, 1.0, 1.0, -1.0),  # trainings differ most
    (5, 240, 0.0, 1.0, -1.0),  # they are all alike
    (8, 72, 0.3, 1.0, -1.5),
    (8, 240, 0.5, 0.5, 0.0),
  ],
)
def test_the_rate_of_trainings_to_come_is_covered(
  num_trainings, num_clips, of_trainings, of_clips, mean
):
  spread = math.sqrt(1 + of_trainings**2 + of_clips**2)
  truth = stats.norm.cdf(mean / spread)
  rng = np.random.default_rng(0)
  covered = 0
  for _ in range(SIMULATIONS):
    wrong = judged(rng, num_trainings, num_clips, of_trainings, of_clips, mean)
    low, high = trainings.rate_interval(wrong)
    covered += low <= truth <= high
  assert covered >= 0.88 * SIMULATIONS


def test_clips_alone_cover_no_other_training():
  rng = np.random.default_rng(0)
  truth = stats.norm.cdf(-1 / math.sqrt(3))
  covered = 0
  for _ in range(SIMULATIONS):
    wrong = judged(rng, 5, 72, 1.0, 1.0, -1.0)
    num_errors = round(float(wrong.mean(1)[0]) * 72)
    low, high = rates.wilson_interval(num_errors, 72)
    covered += low <= truth <= high
  assert covered < 0.6 * SIMULATIONS


def test_trainings_that_agree_are_worth_one():
  # All is between clips: Student's interval has no width, and clips decide.
  one = np.arange(100) < 30
  low, high = trainings.rate_interval(np.tile(one, (6, 1)))
  assert (low, high) == pytest.approx(rates.wilson_interval(30, 100), abs=0.012)


def test_trainings_that_differ_alone_get_students_interval():
  means = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
  values = np.tile(means[:, None], (1, 50))
  half = stats.t.ppf(0.975, 4) * np.std(means, ddof=1) / math.sqrt(5)
  interval = trainings.mean_interval(values)
  assert interval == pytest.approx((0.3 - half, 0.3 + half))


def test_no_errors_seen_are_not_none_to_come():
  never = np.zeros((8, 60), bool)
  ends = trainings.rate_interval(never)
  assert ends == pytest.approx(rates.wilson_interval(0, 60))

  ends = trainings.rate_interval(~never)
  assert ends == pytest.approx(rates.wilson_interval(60, 60))
  none = trainings.difference_interval(never, never)
  one = pairs.paired_difference_interval(never[0], never[0])
  assert none == pytest.approx(one)


def test_a_difference_keeps_to_the_clips_it_is_seen_on():
  # Each training errs on clips of its own, noise on the same less ten.
  rng = np.random.default_rng(0)
  attacked = rng.random((6, 200)) < 0.5
  noise = attacked & (rng.random((6, 200)) < 0.8)
  low, high = trainings.difference_interval(attacked, noise)
  difference = attacked.mean() - noise.mean()
  assert low < difference < high
  assert high - low < 0.15
  assert low > 0
  assert trainings.difference_interval(noise, attacked) == pytest.approx(
    (-high, -low), abs=1e-3
  )


def test_voices_that_err_together_widen_it():
  rng = np.random.default_rng(0)
  of_voice = np.repeat(rng.normal(0, 1.5, 12), 20)
  wrong = of_voice + rng.normal(0, 1, (6, 240)) > 0
  voices = np.repeat([f'voice-{i}' for i in range(12)], 20)
  by_clip = trainings.rate_interval(wrong)
  by_voice = trainings.rate_interval(wrong, cluster=voices)
  assert by_voice[0] < by_clip[0] - 0.1
  assert by_voice[1] > by_clip[1] + 0.1


def test_another_statistic_is_the_means_where_it_is_a_mean():
  rng = np.random.default_rng(0)
  values = rng.normal(0, 0.2, (6, 1)) + rng.normal(0, 1, (6, 80))
  mean = trainings.mean_interval(values)
  found = trainings.statistic_interval(values, np.mean)
  assert found == pytest.approx(mean, abs=0.02)
  low, high = trainings.statistic_interval(values, np.median)
  assert low < np.median(values, 1).mean() < high


def test_components_are_those_that_were_put_in():
  rng = np.random.default_rng(0)
  values = (
    0.5
    + rng.normal(0, 0.3, (400, 1))
    + rng.normal(0, 0.2, (1, 400))
    + rng.normal(0, 0.1, (400, 400))
  )
  found = crossed.components(values)
  assert found.trainings == pytest.approx(0.3, rel=0.1)
  assert found.clips == pytest.approx(0.2, rel=0.1)
  assert found.rest == pytest.approx(0.1, rel=0.01)


def test_components_add_up_to_the_variance_of_a_verdict():
  wrong = judged(np.random.default_rng(0), 50, 300, 0.7, 1.0)
  found = crossed.components(wrong)
  assert sum(x**2 for x in found) == pytest.approx(np.var(wrong), rel=0.02)


@pytest.mark.parametrize(
  ('values', 'words'),
  [
    (np.zeros((4, 9)), 'at least 5, got 4'),
    (np.zeros(9), r'got shape \(9,\)'),
    (np.full((5, 9), np.nan), 'with 45 not finite'),
  ],
)
def test_what_says_nothing_of_the_next_training_is_refused(values, words):
  with pytest.raises(ValueError, match=words):
    trainings.mean_interval(values)


def test_other_clips_are_refused():
  with pytest.raises(ValueError, match=r'\(5, 9\) and \(5, 8\)'):
    trainings.difference_interval(np.zeros((5, 9)), np.zeros((5, 8)))
  with pytest.raises(ValueError, match='got 1 and 9'):
    crossed.components(np.zeros((1, 9)))


@pytest.mark.parametrize('cluster', [np.arange(60), np.arange(60) % 10])
def test_a_mean_of_zero_is_seldom_another_than_zero(cluster):
  """Trainings differ: the clips of one alone would say so in half of cases."""
  rng = np.random.default_rng(0)
  together = alone = 0
  for _ in range(SIMULATIONS):
    values = rng.normal(size=(6, 1)) * 0.5 + rng.normal(size=(6, 60))
    together += trainings.mean_p(values, cluster) < 0.05
    alone += trainings.mean_p(values[:1], cluster) < 0.05
  assert together <= 0.1 * SIMULATIONS < 0.3 * SIMULATIONS < alone


def test_the_p_of_one_training_is_that_of_its_clips():
  values = np.random.default_rng(0).normal(0.2, 1, (1, 40))
  expected = stats.ttest_1samp(values[0], 0).pvalue
  assert trainings.mean_p(values, range(40)) == pytest.approx(expected)
  assert trainings.mean_p(np.zeros((3, 4)), range(4)) == 1
  assert trainings.mean_p(np.ones((3, 4)), range(4)) == 0
