"""Error rates of verifiers against brute force, and intervals by speaker."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from advspeech.statistics import trials, verification

# Few values, so that many scores are equal.
SCORED = st.lists(
  st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30
).filter(lambda x: len({target for _, target in x}) == 2)


def rates_at(scores, is_target, threshold):
  """FAR and FRR by their definitions."""
  far = np.mean([s >= threshold for s in scores[~is_target]])
  frr = np.mean([s < threshold for s in scores[is_target]])
  return far, frr


@hypothesis.given(SCORED)
@hypothesis.settings(max_examples=60, deadline=None)
def test_every_point_is_that_of_its_threshold(scored):
  scores, is_target = (np.array(x) for x in zip(*scored, strict=True))
  found = verification.points(scores, is_target)
  assert set(found.thresholds) == {*scores, np.inf}
  for threshold, *rates in zip(*found, strict=True):
    assert rates == pytest.approx(rates_at(scores, is_target, threshold))
  assert (found.far[0], found.frr[0]) == (1, 0)
  assert (found.far[-1], found.frr[-1]) == pytest.approx((0, 1), abs=1e-12)


@hypothesis.given(SCORED)
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_equal_error_rate_is_where_the_curve_crosses_the_diagonal(scored):
  scores, is_target = (np.array(x) for x in zip(*scored, strict=True))
  found = verification.points(scores, is_target)
  rate, threshold = verification.equal_error_rate(found)
  # The broken line through all points, walked in small steps.
  fine = np.linspace(0, len(found.far) - 1, 200_001)
  far, frr = (np.interp(fine, range(len(x)), x) for x in found[1:])
  nearest = np.argmin(abs(far - frr))
  assert rate == pytest.approx((far[nearest] + frr[nearest]) / 2, abs=1e-3)
  gaps = abs(found.far - found.frr)[:-1]
  far, frr = rates_at(scores, is_target, threshold)
  assert abs(far - frr) == pytest.approx(gaps.min())


def test_rates_of_known_scores():
  scores = [0.9, 0.8, 0.7, 0.4, 0.6, 0.4, 0.3, 0.1]
  is_target = [True] * 4 + [False] * 4
  found = verification.points(scores, is_target)
  assert verification.equal_error_rate(found) == (0.25, 0.6)
  assert verification.threshold_at_far(found, 0.25) == 0.6
  assert verification.threshold_at_far(found, 0.24) == 0.7
  np.testing.assert_array_equal(
    verification.accepted(scores, 0.6), [1, 1, 1, 0, 1, 0, 0, 0]
  )
  # All apart: no error, at any threshold between the two.
  apart = verification.points([3, 2, 1, 0], [1, 1, 0, 0])
  assert verification.equal_error_rate(apart) == (0, 2)
  # None apart: a coin.
  alike = verification.points([1, 1, 1, 1], [1, 1, 0, 0])
  assert verification.equal_error_rate(alike) == (0.5, 1)


def test_one_impostor_of_a_hundred_is_one_percent():
  scores = np.arange(101)
  found = verification.points(scores, scores == 100)
  assert verification.threshold_at_far(found, 0.01) == 99


def test_costs_are_those_of_nist():
  scores = np.array([0.9, 0.8, 0.7, 0.2, 0.75, 0.4, 0.3, 0.1])
  is_target = np.arange(8) < 4
  found = verification.points(scores, is_target)
  costs = verification.Costs(p_target=0.01, miss=10, false_alarm=1)
  blind = min(10 * 0.01, 1 * 0.99)
  brute = min(
    (10 * 0.01 * frr + 0.99 * far) / blind
    for far, frr in (rates_at(scores, is_target, t) for t in (*scores, np.inf))
  )
  assert verification.min_detection_cost(found, costs) == pytest.approx(brute)
  assert verification.detection_cost(0.0, 1.0) == pytest.approx(1)
  assert verification.detection_cost(1.0, 0.0) == pytest.approx(19)
  assert verification.detection_cost(0.1, 0.2, costs) == pytest.approx(
    (0.02 + 0.099) / 0.1
  )


def test_a_weight_is_so_many_trials():
  rng = np.random.default_rng(0)
  scores, is_target = rng.integers(0, 9, 40), rng.random(40) < 0.4
  counts = rng.integers(0, 4, 40)
  weighed = verification.points(scores, is_target, counts)
  rows = np.repeat(np.arange(40), counts)
  repeated = verification.points(scores[rows], is_target[rows])
  for threshold, far, frr in zip(*repeated, strict=True):
    at = np.flatnonzero(weighed.thresholds == threshold)[0]
    assert (weighed.far[at], weighed.frr[at]) == pytest.approx((far, frr))


@pytest.mark.parametrize(
  ('scores', 'is_target', 'message'),
  [
    ([1.0, 2.0], [True, True], 'got no impostor trial among 2'),
    ([1.0, 2.0], [False, False], 'got no target trial among 2'),
    ([1.0, np.nan], [True, False], 'scores must be finite, 1 of 2 are not'),
    ([1.0], [True, False], r'must be \[num_trials\], got shapes'),
  ],
)
def test_trials_without_a_rate_are_refused(scores, is_target, message):
  with pytest.raises(ValueError, match=message):
    verification.points(scores, is_target)


def test_speakers_are_drawn_once_for_both_sides():
  claimed = np.array(['a', 'a', 'b', 'c', 'd', 'e', 'f'])
  speaking = np.array(['a', 'b', 'a', 'd', 'c', 'f', 'e'])
  drawn = trials.weights(claimed, speaking, num_resamples=200)
  np.testing.assert_array_equal(drawn[:, 1], drawn[:, 2])  # a on b, b on a
  # A target trial counts as often as its speaker; where that is never, no
  # trial with that speaker counts.
  assert set(drawn[:, 0]) >= {0, 1, 2}
  assert not drawn[drawn[:, 0] == 0, 1].any()
  again = trials.weights(claimed, speaking, num_resamples=200)
  np.testing.assert_array_equal(drawn, again)


def experiment(rng, num):
  """Impostor trials between all of so many speakers, and whether accepted.

  Some are good at passing for others (wolves), some easily passed for (lambs).
  """
  wolf, lamb = rng.normal(size=(2, num))
  i, j = np.nonzero(~np.eye(num, dtype=bool))
  level = -1.5 + 0.8 * wolf[j] + 0.8 * lamb[i] + rng.normal(size=len(i))
  names = np.array([f's{k:02d}' for k in range(num)])
  return level > 0, names[i], names[j]


def test_intervals_hold_the_rate_of_speakers_to_come():
  rng = np.random.default_rng(0)
  truth = np.mean([experiment(rng, 40)[0].mean() for _ in range(400)])
  held = []
  for _ in range(150):
    low, high = trials.rate_interval(*experiment(rng, 12))
    held.append(low <= truth <= high)
  assert np.mean(held) > 0.92  # 0.66 if trials were independent
  accepted, claimed, speaking = experiment(rng, 12)
  nothing = trials.rate_interval(accepted & False, claimed, speaking)
  assert nothing[0] == 0 < nothing[1]


def test_an_interval_needs_speakers():
  names = ['a', 'b', 'c', 'd', 'e']
  with pytest.raises(ValueError, match='at least 6 speakers, got 5'):
    trials.rate_interval([True] * 5, names, names)


def test_resamples_are_taken_together_as_one_by_one():
  rng = np.random.default_rng(0)
  is_target = np.arange(60) % 4 == 0
  scores = np.round(rng.normal(size=60) + is_target, 1)  # some are equal
  weights = rng.integers(0, 3, (50, 60)).astype(float)
  weights[7, is_target] = 0
  found = verification.equal_error_rates(scores, is_target, weights)
  assert found[7] == 0.5
  for rate, each in zip(
    np.delete(found, 7), np.delete(weights, 7, 0), strict=True
  ):
    points = verification.points(scores, is_target, each)
    assert rate == pytest.approx(verification.equal_error_rate(points)[0])
  apart = verification.equal_error_rates([3, 2, 1], [1, 1, 0], np.ones((1, 3)))
  assert apart == [0.0]
