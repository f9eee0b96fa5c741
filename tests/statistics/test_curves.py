"""Curves of the same clips, straight and bent, sudden and gradual."""

import numpy as np
import pytest

from advspeech import statistics

X = np.linspace(0, 0.03, 8)


def clips(rng, rates, num_clips, num_voices=0, alike=0.0):
  """Returns verdicts and what clips share: each breaks once, as voices do."""
  voice = np.arange(num_clips) % (num_voices or num_clips)
  own = rng.normal(size=num_clips)
  shared = rng.normal(size=num_voices or num_clips)[voice]
  latent = np.sqrt(1 - alike) * own + np.sqrt(alike) * shared
  # Standard normal, so that the rates are met over voices.
  from scipy import stats

  return stats.norm.cdf(latent) < np.asarray(rates)[:, None], voice


def test_a_straight_curve_is_seldom_called_crooked():
  """Each point at its level alone would refute one line in five."""
  rng = np.random.default_rng(0)
  num_refuted = num_by_clip = 0
  for _ in range(200):
    wrong, voice = clips(rng, 0.1 + 20 * X, 240, 10, 0.4)
    p = statistics.off_line_p(wrong[None], X, voice)
    num_refuted += p.min() * len(X) < 0.05
    by_clip = statistics.off_line_p(wrong[None], X, np.arange(240))
    num_by_clip += by_clip.min() * len(X) < 0.05
  assert num_refuted <= 20
  # Why clips of one voice are added up.
  assert num_by_clip > 2 * num_refuted


@pytest.mark.parametrize('num_voices', [0, 10])
def test_a_bent_curve_is_called_crooked(num_voices):
  rng = np.random.default_rng(0)
  bent = np.minimum(0.1 + 60 * X, 0.7)
  wrong, voice = clips(rng, bent, 240, num_voices)
  assert statistics.off_line_p(wrong[None], X, voice).min() * len(X) < 0.01


def test_a_line_is_weighted_by_the_width_of_intervals():
  """Against numpy's fit and SciPy's test, of clips as if independent."""
  from scipy import stats

  bent = (0.01, 0.02, 0.05, 0.2, 0.5, 0.55, 0.6, 0.6)
  wrong, _ = clips(np.random.default_rng(1), bent, 150)
  widths = [
    np.ptp(statistics.wilson_interval(int(row.sum()), 150)) for row in wrong
  ]
  by_clip = np.stack(
    [
      y - np.polyval(np.polyfit(X, y, 1, w=1 / np.array(widths)), X)
      for y in wrong.T.astype(float)
    ],
    -1,
  )
  expected = stats.ttest_1samp(by_clip, 0, axis=1).pvalue
  found = statistics.off_line_p(wrong[None], X, np.arange(150))
  np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_clips_that_are_all_alike_are_on_their_line_or_off_it():
  flat = np.zeros((4, 20), bool)
  assert statistics.off_line_p(flat[None], range(4), range(20)).min() == 1
  step = np.array([0, 0, 1, 1], bool)[:, None].repeat(20, 1)
  assert statistics.off_line_p(step[None], range(4), range(20)).max() == 0


@pytest.mark.parametrize(
  ('rates', 'sudden', 'gradual'),
  [
    ((0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5), 1, 0),
    (0.1 + 20 * X, 0, 1),
    ((0.1,) * 8, 0, 0),  # no rise is neither
  ],
)
def test_a_curve_rises_at_once_or_little_by_little(rates, sudden, gradual):
  wrong, voice = clips(np.random.default_rng(0), rates, 240, 10)
  found = statistics.turn(wrong[None], X, voice, begun=0.1, done=0.9, ratio=0.5)
  assert found.sudden == pytest.approx(sudden, abs=0.02)
  assert found.gradual == pytest.approx(gradual, abs=0.02)


def test_what_few_voices_do_is_uncertain():
  """Two voices jump, eight rise steadily."""
  rng = np.random.default_rng(0)
  wrong, voice = clips(rng, 0.02 + 2 * X, 240, 10)
  wrong[:, voice < 2] = (np.arange(8) > 3)[:, None]
  by_voice, by_clip = (
    statistics.turn(wrong[None], X, c, begun=0.1, done=0.9, ratio=0.5)
    for c in (voice, np.arange(240))
  )
  assert by_voice.sudden < 0.9 < 0.95 < by_clip.sudden


def trained_clips(rng, rates, num_trainings, spread, num_clips=120):
  """Returns verdicts of trainings that differ, on the same clips."""
  from scipy import stats

  own = rng.normal(size=num_clips)
  # Each training finds all clips harder or easier, at all points alike.
  latent = own + spread * rng.normal(size=(num_trainings, 1))
  latent /= np.sqrt(1 + spread**2)
  return stats.norm.cdf(latent)[:, None] < np.asarray(rates)[:, None]


def test_a_line_of_the_mean_of_trainings_is_seldom_called_crooked():
  rng = np.random.default_rng(0)
  num_refuted = 0
  for _ in range(200):
    wrong = trained_clips(rng, 0.1 + 20 * X, 6, 0.5)
    p = statistics.off_line_p(wrong, X, np.arange(wrong.shape[2]))
    num_refuted += p.min() * len(X) < 0.05
  assert num_refuted <= 16
  bent = trained_clips(rng, np.minimum(0.1 + 60 * X, 0.7), 6, 0.5)
  assert statistics.off_line_p(bent, X, range(120)).min() * len(X) < 0.05


def test_what_few_trainings_do_is_uncertain():
  """One training of six jumps late and steadies the mean of none."""
  rng = np.random.default_rng(0)
  wrong = trained_clips(rng, (0.0,) * 4 + (0.5,) * 4, 6, 0.2)
  asked = {'begun': 0.1, 'done': 0.9, 'ratio': 0.5}
  voices = np.arange(120) % 10
  assert statistics.turn(wrong, X, voices, **asked).sudden > 0.95
  wrong[:2] = trained_clips(rng, 0.02 + 15 * X, 2, 0.2)
  found = statistics.turn(wrong, X, voices, **asked)
  assert found.sudden < 0.95
  alone = [statistics.turn(w[None], X, voices, **asked) for w in wrong]
  assert [x.sudden > 0.95 for x in alone] == [False] * 2 + [True] * 4
