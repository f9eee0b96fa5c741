"""Masks from words to arrays."""

import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import errors
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
