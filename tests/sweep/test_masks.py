"""Masks from words to arrays."""

import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import checks, errors, input_pipeline
from advspeech.sweep import masks

RECORDED = jnp.asarray((np.arange(32_000) < 20_000)[None], jnp.float32)


def test_all_is_no_mask():
  assert masks.parse('all').samples(RECORDED) is None
  assert masks.parse('all').band(32_000) is None


def test_recorded_and_padding_share_a_clip():
  recorded = masks.parse('recorded').samples(RECORDED)
  padding = masks.parse('padding').samples(RECORDED)
  np.testing.assert_array_equal(recorded, RECORDED)
  np.testing.assert_array_equal(recorded + padding, jnp.ones_like(RECORDED))


def test_a_time_is_cut_out_and_meets_the_recording():
  mask = masks.parse('0.5-1.5s').samples(RECORDED)
  assert np.flatnonzero(mask[0]).tolist() == list(range(8000, 24_000))
  mask = masks.parse('Recorded + 0.5-1.5 s').samples(RECORDED)
  assert np.flatnonzero(mask[0]).tolist() == list(range(8000, 20_000))


def test_a_band_keeps_its_bins():
  band = masks.parse('300-3400hz').band(32_000)
  hz = np.arange(16_001) * 0.5
  np.testing.assert_array_equal(band > 0, (hz >= 300) & (hz <= 3400))


@pytest.mark.parametrize(
  'text', ['', 'voiced', '2-1s', '1-1s', '300-3400', 'all+recorded', '1s-2s']
)
def test_anything_else_is_refused(text):
  with pytest.raises(errors.InputError, match='a mask'):
    masks.parse(text)


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('all', [1000, 1000, 1000]),
    ('recorded', [400, 1000, 300]),
    ('padding', [600, 0, 700]),
    ('padding+0-0.025s', [0, 0, 400]),
    ('recorded+0.05-9s', [0, 200, 0]),
    ('300-3400hz', [1000, 1000, 1000]),
  ],
)
def test_what_may_be_touched_is_counted_as_it_is_masked(text, expected):
  split = input_pipeline.Split(
    ids=np.array(['a', 'b', 'c']),
    pcm=np.zeros((3, 1000), np.int16),
    num_samples=np.array([400, 1000, 300]),
    labels=np.zeros(3, np.int32),
    starts=np.array([0, 0, 450]),
  )
  found = masks.num_touched(text, split)
  assert found.tolist() == expected
  time = np.arange(1000)
  first, end = split.spans.T[..., None]
  recorded = jnp.asarray((first <= time) & (time < end), jnp.float32)
  mask = masks.parse(text).samples(recorded)
  counted = np.full(3, 1000) if mask is None else np.asarray(mask).sum(-1)
  assert counted.tolist() == expected


def test_clips_that_a_mask_leaves_alone_are_reported():
  assert checks.untouched_clips([5, 1], 'padding') == []
  (some,) = checks.untouched_clips([0, 5, 0], 'padding')
  assert some.severity == 'warning'
  assert 'in 2 of 3 clips' in some.sentence
  (every,) = checks.untouched_clips([0, 0], 'padding')
  assert every.severity == 'error'
