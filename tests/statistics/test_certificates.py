"""Certificates of a majority under noise, against SciPy and the published."""

import numpy as np
import pytest
from scipy import stats

from advspeech.statistics import certificates


@pytest.mark.parametrize('alpha', [0.001, 0.05])
@pytest.mark.parametrize(('k', 'n'), [(1, 10), (60, 100), (990, 1000), (7, 7)])
def test_the_bound_is_scipys(k, n, alpha):
  test = stats.binomtest(k, n, alternative='greater')
  expected = test.proportion_ci(1 - alpha, method='exact').low
  assert certificates.lower_bound(k, n, alpha) == pytest.approx(expected)


def test_the_bound_is_passed_as_often_as_promised_and_no_more():
  p, n, alpha = 0.8, 50, 0.05
  counts = np.arange(n + 1)
  bounds = [certificates.lower_bound(k, n, alpha) for k in counts]
  passed = stats.binom.pmf(counts, n, p)[np.array(bounds) > p].sum()
  assert 0.5 * alpha < passed <= alpha
  assert bounds[0] == 0
  assert bounds == sorted(bounds)


@pytest.mark.parametrize(
  ('num_draws', 'published'), [(1000, 2.46), (10_000, 3.20), (100_000, 3.81)]
)
def test_where_all_agree_the_radius_is_the_published(num_draws, published):
  found = certificates.largest_radius(num_draws, 0.001)
  assert found == pytest.approx(published, abs=0.006)
  counts = np.array([0, num_draws])
  assert certificates.certify(counts, counts, 0.001).radius == found


def test_the_class_is_guessed_on_other_draws_than_it_is_certified_on():
  made = certificates.certify(np.array([3, 2]), np.array([100, 900]), 0.001)
  assert (made.answer, made.num_agreeing, made.radius) == (0, 100, None)
  made = certificates.certify(np.array([2, 3]), np.array([100, 900]), 0.001)
  low = stats.beta.ppf(0.001, 900, 101)
  assert (made.answer, made.p_low) == (1, pytest.approx(low))
  assert made.radius == pytest.approx(stats.norm.ppf(low))


def test_a_bare_majority_abstains():
  guessing = np.array([1, 0])
  assert (
    certificates.certify(guessing, np.array([520, 480]), 0.001).radius is None
  )
  assert certificates.certify(guessing, np.array([600, 400]), 0.001).radius > 0


@pytest.mark.parametrize('alpha', [0.5, 0.05, 0.001, 1e-6])
def test_one_draw_fewer_than_the_fewest_certifies_nothing(alpha):
  fewest = certificates.fewest_draws(alpha)
  assert certificates.largest_radius(fewest, alpha) > 0
  if fewest > 1:
    assert certificates.largest_radius(fewest - 1, alpha) is None


@pytest.mark.parametrize(
  ('args', 'match'),
  [
    ((3, 2, 0.1), 'got 3 of 2'),
    ((0, 0, 0.1), 'got 0 of 0'),
    ((1, 2, 1.0), r'inside|lie in \(0, 1\), got 1'),
  ],
)
def test_what_is_no_count_is_refused(args, match):
  with pytest.raises(ValueError, match=match):
    certificates.lower_bound(*args)
