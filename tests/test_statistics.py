"""Wilson's interval against its definition and published values."""

import math
import statistics as stdlib

import numpy as np
import pytest

from advspeech import statistics


def test_agrees_with_a_published_table():
  # Brown, Cai & DasGupta 2001 style values, as printed by R's binom package.
  low, high = statistics.wilson_interval(8, 10)
  assert low == pytest.approx(0.4901625, abs=1e-6)
  assert high == pytest.approx(0.9433178, abs=1e-6)


@pytest.mark.parametrize(('errors', 'clips'), [(1, 20), (50, 288), (143, 144)])
@pytest.mark.parametrize('confidence', [0.9, 0.95, 0.99])
def test_both_ends_solve_the_score_equation(errors, clips, confidence):
  z = stdlib.NormalDist().inv_cdf(0.5 + confidence / 2)
  for p in statistics.wilson_interval(errors, clips, confidence):
    score = abs(errors / clips - p) / math.sqrt(p * (1 - p) / clips)
    assert score == pytest.approx(z, rel=1e-9)


def test_touches_zero_and_one_exactly():
  assert statistics.wilson_interval(0, 30)[0] == 0.0
  assert statistics.wilson_interval(30, 30)[1] == 1.0


def test_covers_the_true_rate_about_as_often_as_it_says():
  rng = np.random.default_rng(0)
  for rate in (0.05, 0.3, 0.5):
    counts = rng.binomial(288, rate, 4000)
    intervals = {
      c: statistics.wilson_interval(int(c), 288) for c in set(counts)
    }
    covered = np.mean(
      [intervals[c][0] <= rate <= intervals[c][1] for c in counts]
    )
    assert covered == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(('errors', 'clips'), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(errors, clips):
  with pytest.raises(ValueError, match='at least one clip'):
    statistics.wilson_interval(errors, clips)


def test_impossible_confidence_is_refused():
  with pytest.raises(ValueError, match=r'confidence must lie in \(0, 1\)'):
    statistics.wilson_interval(1, 5, 1.0)
