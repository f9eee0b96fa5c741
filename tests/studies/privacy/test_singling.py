"""A rule isolates a clip more often than chance where it knows the speaker."""

import numpy as np
import pytest

from advspeech.studies.privacy import singling


@pytest.mark.parametrize(
  ('num_speakers', 'num_clips'), [(11, 3), (11, 2), (20, 10)]
)
def test_scores_that_say_nothing_isolate_by_chance(num_speakers, num_clips):
  own = np.repeat(np.arange(num_speakers), num_clips)
  crowds = singling.draw(own, num_crowds=4)
  rng = np.random.default_rng(0)
  shares = [
    singling.isolated(rng.normal(size=(len(own), num_speakers)), crowds).mean()
    for _ in range(400)
  ]
  chance = singling.chance(crowds)
  assert np.mean(shares) == pytest.approx(chance, abs=0.02)
  assert chance < singling.LIMIT


def test_chance_rises_to_that_of_a_rule_of_known_weight():
  own = np.repeat(np.arange(300), 10)
  assert singling.chance(singling.draw(own, 1)) == pytest.approx(
    0.350, abs=1e-3
  )
  many = singling.Crowds(
    np.arange(300), np.zeros((1, 300), int), np.zeros((1, 300 * 1000), int)
  )
  assert singling.chance(many) == pytest.approx(singling.LIMIT, abs=1e-3)


def test_who_knows_each_speaker_isolates_and_who_finds_two_does_not():
  own = np.repeat(np.arange(8), 3)
  crowds = singling.draw(own)
  known = np.eye(8)[own]
  np.testing.assert_array_equal(singling.isolated(known, crowds), 1)
  # Always two speakers at once, alike, who both pass or both do not.
  pairs = np.eye(4)[own // 2].repeat(2, 1)
  assert singling.isolated(pairs, crowds).max() == 0
  # Whose clip it is does not matter: everybody's rule finds the next one.
  np.testing.assert_array_equal(
    singling.isolated(np.roll(known, 1, 1), crowds), 1
  )


def test_no_clip_is_tried_and_sets_the_threshold():
  own = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
  crowds = singling.draw(own)
  assert crowds.speakers.tolist() == [0, 1, 2]  # one clip is too few
  assert crowds.setting.shape[1] == 2 + 1 + 3
  for tried, setting in zip(crowds.tried, crowds.setting, strict=True):
    assert own[tried].tolist() == [0, 1, 2]
    assert not set(tried) & set(setting)
  assert singling.draw(np.arange(5)) is None
