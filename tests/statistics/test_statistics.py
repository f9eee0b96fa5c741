"""Intervals and tests against definitions, published values and simulation."""

import functools
import math
import statistics as stdlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from advspeech import statistics
from advspeech.statistics import clusters

RATES = (0.02, 0.1, 0.5)
CLIPS = (48, 77, 288)
SIMULATIONS = 4000
# Three standard errors of a coverage of 0.95 seen in that many simulations.
SIMULATION_ERROR = 3 * math.sqrt(0.95 * 0.05 / SIMULATIONS)


def verdicts(both, only_a, only_b, neither):
  """Two arrays of verdicts with the given table of agreement."""
  a = [1] * (both + only_a) + [0] * (only_b + neither)
  b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
  return np.array(a, bool), np.array(b, bool)


def coverage(interval_of_count, rate, num_clips):
  """Share of simulated experiments whose interval holds the true rate."""
  rng = np.random.default_rng(num_clips)
  counts = (rng.random((SIMULATIONS, num_clips)) < rate).sum(1)
  interval_of_count = functools.cache(interval_of_count)
  intervals = np.array([interval_of_count(int(count)) for count in counts])
  return np.mean((intervals[:, 0] <= rate) & (rate <= intervals[:, 1]))


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


@pytest.mark.parametrize('num_clips', CLIPS)
@pytest.mark.parametrize('rate', RATES)
def test_wilson_covers_the_true_rate_about_as_often_as_it_says(rate, num_clips):
  covered = coverage(
    lambda count: statistics.wilson_interval(count, num_clips), rate, num_clips
  )
  # Its exact coverage here is 0.929 (0.02, 48 clips) to 0.961.
  assert 0.929 - SIMULATION_ERROR <= covered <= 0.961 + SIMULATION_ERROR


@pytest.mark.parametrize(('errors', 'clips'), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(errors, clips):
  with pytest.raises(ValueError, match='at least one clip'):
    statistics.wilson_interval(errors, clips)


def test_impossible_confidence_is_refused():
  with pytest.raises(ValueError, match=r'confidence must lie in \(0, 1\)'):
    statistics.wilson_interval(1, 5, 1.0)


@pytest.mark.parametrize('num_clips', CLIPS)
@pytest.mark.parametrize('rate', RATES)
def test_bootstrap_covers_a_rate_unless_errors_are_few(rate, num_clips):
  covered = coverage(
    lambda count: statistics.bootstrap_interval(
      np.arange(num_clips) < count, num_resamples=999
    ),
    rate,
    num_clips,
  )
  if rate * num_clips < 2:  # often not one error is seen: why Wilson is there
    assert covered < 0.8
  else:
    assert 0.94 - SIMULATION_ERROR <= covered <= 0.975 + SIMULATION_ERROR


def test_bootstrap_covers_the_mean_of_skewed_values():
  rng = np.random.default_rng(0)
  samples = rng.exponential(size=(400, 48))
  intervals = np.array(
    [
      statistics.bootstrap_interval(sample, num_resamples=499)
      for sample in samples
    ]
  )
  covered = np.mean((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1))
  assert covered == pytest.approx(0.94, abs=0.035)


@pytest.mark.parametrize('statistic', [np.mean, np.median])
def test_bootstrap_is_scipys(statistic):
  values = np.random.default_rng(1).exponential(size=50)
  expected = stats.bootstrap(
    (values,),
    statistic,
    n_resamples=999,
    confidence_level=0.9,
    rng=np.random.default_rng(7),
  ).confidence_interval
  result = statistics.bootstrap_interval(
    values, statistic, num_resamples=999, confidence=0.9, seed=7
  )
  np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_bootstrap_depends_on_its_seed_alone():
  values = np.random.default_rng(1).normal(size=30)
  interval = functools.partial(
    statistics.bootstrap_interval, values, num_resamples=99
  )
  assert interval(seed=1) == interval(seed=1) != interval(seed=2)


def test_equal_values_have_an_interval_of_no_width():
  assert statistics.bootstrap_interval([0.25] * 10) == (0.25, 0.25)
  assert statistics.bootstrap_interval([3.0]) == (3.0, 3.0)


def test_percentiles_serve_where_bca_is_undefined():
  # Leaving any one value out leaves the median: no acceleration to estimate.
  values = np.array([0.0] * 10 + [1.0] * 4)
  interval = statistics.bootstrap_interval(values, np.median, confidence=0.99)
  assert interval == (0.0, 1.0)


@pytest.mark.parametrize('values', [[], [1.0, np.nan], [[1.0, 2.0]], [np.inf]])
def test_values_without_an_interval_are_refused(values):
  with pytest.raises(ValueError, match='values must be finite numbers'):
    statistics.bootstrap_interval(values)


def test_mcnemar_counts_the_discordant_clips():
  # Bentur et al. 2009, in Fagerland, Lydersen & Laake 2013: exact p = 0.0703.
  result = statistics.mcnemar(*verdicts(1, 1, 7, 12))
  assert (result.only_a, result.only_b) == (1, 7)
  # Twice the tail: 2 (C(8,0) + C(8,1)) / 2^8.
  assert result.p_value == pytest.approx(18 / 256)
  assert statistics.mcnemar(*verdicts(5, 0, 0, 5)) == (1.0, 0, 0)


@pytest.mark.parametrize('num_clips', [48, 288])
def test_mcnemar_rejects_equal_rates_no_oftener_than_it_says(num_clips):
  rng = np.random.default_rng(num_clips)
  # Two noises that err on 30 % of clips each, in part on the same ones.
  hard = rng.random((2000, 1, num_clips)) < 0.2
  wrong = hard | (rng.random((2000, 2, num_clips)) < 0.125)
  rejected = [statistics.mcnemar(a, b).p_value <= 0.05 for a, b in wrong]
  assert np.mean(rejected) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_mcnemar_finds_an_attack_that_beats_its_control():
  assert statistics.mcnemar(*verdicts(10, 20, 2, 56)).p_value < 1e-3


def test_paired_difference_agrees_with_a_published_example():
  # Altman et al. 2000, Statistics with Confidence, p. 52.
  low, high = statistics.paired_difference_interval(*verdicts(14, 5, 0, 22))
  assert low == pytest.approx(0.011, abs=6e-4)
  assert high == pytest.approx(0.226, abs=6e-4)


def test_swapping_the_pair_mirrors_the_interval():
  a, b = verdicts(10, 20, 2, 56)
  low, high = statistics.paired_difference_interval(a, b)
  assert statistics.paired_difference_interval(b, a) == pytest.approx(
    (-high, -low)
  )


def test_identical_verdicts_differ_by_about_nothing():
  a, _ = verdicts(10, 0, 0, 38)
  low, high = statistics.paired_difference_interval(a, a)
  assert -0.08 < low < 0 < high < 0.08
  # Even without a single error.
  low, high = statistics.paired_difference_interval(a & False, a & False)
  assert -0.08 < low < 0 < high < 0.08


@pytest.mark.parametrize('num_clips', [48, 288])
@pytest.mark.parametrize(('extra_a', 'extra_b'), [(0.0, 0.0), (0.3, 0.05)])
def test_paired_difference_covers_the_truth(extra_a, extra_b, num_clips):
  rng = np.random.default_rng(num_clips)
  hard = rng.random((2000, num_clips)) < 0.15
  a = hard | (rng.random((2000, num_clips)) < extra_a)
  b = hard | (rng.random((2000, num_clips)) < extra_b)
  truth = 0.85 * (extra_a - extra_b)
  intervals = np.array(
    [
      statistics.paired_difference_interval(*pair)
      for pair in zip(a, b, strict=True)
    ]
  )
  covered = np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
  assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)


def voices(rng, num_speakers, rate, alike):
  """Verdicts on a few speakers' clips, and who speaks.

  Args:
    rng: Generator.
    num_speakers: Each with 8 to 23 clips and an error rate of its own.
    rate: Mean of these error rates.
    alike: Correlation of two verdicts on one speaker.
  """
  strength = (1 - alike) / alike
  own = rng.beta(rate * strength, (1 - rate) * strength, num_speakers)
  speaker = np.repeat(
    np.arange(num_speakers), rng.integers(8, 24, num_speakers)
  )
  return rng.random(len(speaker)) < own[speaker], speaker


@pytest.mark.parametrize('num_speakers', [6, 10, 24])
@pytest.mark.parametrize(
  ('rate', 'alike'), [(0.3, 0.05), (0.3, 0.3), (0.1, 0.2), (0.5, 0.5)]
)
def test_an_interval_by_speaker_covers_the_rate_of_other_voices(
  num_speakers, rate, alike
):
  rng = np.random.default_rng(0)
  covered, by_clip = [], []
  for _ in range(500):
    wrong, speaker = voices(rng, num_speakers, rate, alike)
    low, high = statistics.clustered_wilson_interval(wrong, speaker)
    inner = statistics.wilson_interval(int(wrong.sum()), len(wrong))
    assert low <= inner[0] <= inner[1] <= high
    covered.append(low <= rate <= high)
    by_clip.append(inner[0] <= rate <= inner[1])
  # 0.90 is what is left at a rate of 0.1 with six voices.
  assert np.mean(covered) >= 0.9 - 3 * math.sqrt(0.09 / 500)
  assert np.mean(by_clip) < np.mean(covered)
  if alike >= 0.2:  # why there is another interval
    assert np.mean(by_clip) < 0.85


@pytest.mark.parametrize('num_speakers', [6, 10, 24])
def test_a_difference_by_speaker_covers_that_of_other_voices(num_speakers):
  rng = np.random.default_rng(0)
  covered, by_clip = [], []
  for _ in range(500):
    more, speaker = voices(rng, num_speakers, 0.4, 0.3)
    base = rng.random(len(speaker)) < 0.2
    attacked = base | more  # 0.32 more in the mean over voices
    low, high = statistics.cluster_bootstrap_interval(
      attacked.astype(float) - base, speaker, num_resamples=1999
    )
    covered.append(low <= 0.32 <= high)
    low, high = statistics.paired_difference_interval(attacked, base)
    by_clip.append(low <= 0.32 <= high)
  assert np.mean(covered) >= 0.92 - 3 * math.sqrt(0.08 * 0.92 / 500)
  assert np.mean(by_clip) < 0.8


@pytest.mark.parametrize('num_speakers', [6, 24])
def test_a_median_by_speaker_covers_that_of_other_voices(num_speakers):
  rng = np.random.default_rng(0)
  covered, by_clip = [], []
  for _ in range(300):
    speaker = np.repeat(
      np.arange(num_speakers), rng.integers(2, 9, num_speakers)
    )
    level = rng.normal(size=num_speakers)[speaker] + rng.normal(
      size=len(speaker)
    )
    low, high = statistics.cluster_median_interval(
      np.exp(level), speaker, num_resamples=999
    )
    covered.append(low <= 1 <= high)
    low, high = statistics.median_interval(np.exp(level))
    by_clip.append(low <= 1 <= high)
  assert np.mean(covered) >= 0.92 - 3 * math.sqrt(0.08 * 0.92 / 300)
  assert np.mean(by_clip) < 0.85


def test_a_median_of_resampled_speakers_is_that_of_their_clips():
  speaker = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
  values = np.random.default_rng(0).normal(size=21)
  drawn = clusters.drawn_clusters(6, 50, 0).astype(int)
  medians = [np.median(np.repeat(values, row[speaker])) for row in drawn]
  # Of confidence so small both ends are the median of the resamples.
  ends = statistics.cluster_median_interval(
    values, speaker, num_resamples=50, confidence=1e-9
  )
  np.testing.assert_allclose(ends, np.median(medians), rtol=1e-6)


@pytest.mark.parametrize('more', [0.05, 0.1, 0.3, 0.6])
def test_p_by_speaker_is_where_the_interval_begins_to_hold_zero(more):
  rng = np.random.default_rng(1)
  wrong, speaker = voices(rng, 8, more, 0.3)
  values = wrong.astype(float) - (rng.random(len(wrong)) < 0.1)
  p = statistics.cluster_bootstrap_p(values, speaker)
  for factor, holds in ((0.95, True), (1.05, False)):
    if not 0 < p * factor < 1:
      continue
    low, high = statistics.cluster_bootstrap_interval(
      values, speaker, confidence=1 - p * factor
    )
    assert (low <= 0 <= high) == holds


def test_p_by_speaker_is_extreme_where_all_or_no_voices_differ():
  speaker = np.repeat(np.arange(6), 4)
  assert statistics.cluster_bootstrap_p(np.ones(24), speaker) == 0
  assert statistics.cluster_bootstrap_p(np.zeros(24), speaker) == 1


def test_independent_clips_have_hardly_wider_intervals_by_speaker():
  rng = np.random.default_rng(0)
  wrong = rng.random(2400) < 0.3
  low, high = statistics.clustered_wilson_interval(wrong, np.arange(2400) % 60)
  inner = statistics.wilson_interval(int(wrong.sum()), 2400)
  assert high - low == pytest.approx(inner[1] - inner[0], rel=0.25)


def test_one_voice_that_always_errs_says_little_of_others():
  # 30 % of clips, all of three voices among ten: no more is known than that.
  speaker = np.repeat(np.arange(10), 24)
  wrong = speaker < 3
  low, high = statistics.clustered_wilson_interval(wrong, speaker)
  assert low == pytest.approx(0.10, abs=0.03)
  assert high == pytest.approx(0.63, abs=0.03)


@pytest.mark.parametrize(
  'interval',
  [
    statistics.clustered_wilson_interval,
    statistics.cluster_bootstrap_interval,
    statistics.cluster_median_interval,
  ],
)
def test_too_few_voices_have_no_interval(interval):
  speaker = np.arange(50) % 5
  with pytest.raises(ValueError, match='at least 6 clusters, got 5; say that'):
    interval(np.zeros(50), speaker)
  with pytest.raises(ValueError, match=r'got shapes \(49,\) and \(50,\)'):
    interval(np.zeros(49), speaker)


@pytest.mark.parametrize(
  'test', [statistics.mcnemar, statistics.paired_difference_interval]
)
@pytest.mark.parametrize(('a', 'b'), [([], []), ([1], [1, 0]), ([[1]], [[1]])])
def test_verdicts_that_are_no_pairs_are_refused(test, a, b):
  with pytest.raises(ValueError, match='verdicts on the same clips'):
    test(a, b)


def test_scipy_is_not_imported_before_it_is_needed():
  code = (
    'import sys, advspeech.statistics\n'
    "assert not any(m.startswith('scipy') for m in sys.modules)"
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_median_lies_between_values_as_often_as_promised():
  rng = np.random.default_rng(0)
  for num in (6, 15, 48):
    drawn = rng.normal(size=(2000, num))
    ends = np.array([statistics.median_interval(x) for x in drawn])
    held = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()
    assert 0.94 < held < 0.985
  assert statistics.median_interval(range(5)) == (-math.inf, math.inf)
  assert statistics.median_interval(range(6)) == (0, 5)
  # Of ten the binomial tail of one or none is 1.1 %.
  values = [-math.inf, *range(9)]
  assert statistics.median_interval(values) == (0, 7)
  with pytest.raises(ValueError, match='with 1 nan'):
    statistics.median_interval([0.0, math.nan])
