"""Which slices of TPUs there are, and the sentences about those there are not.

What needs the TPU's compiler is in test_plan.py.
"""

import importlib.util

import pytest

from advspeech import errors
from advspeech.plan import chips


@pytest.mark.parametrize(
  ('topology', 'sentence'),
  [
    ('v5e:3x3', 'slices of v5e are 1x1, .* got .v5e:3x3.; take one'),
    ('v5e', 'slices of v5e are'),
    ('v6e:32x32', 'slices of v6e are'),
    ('v5e:2x2x1', 'slices of v5e are'),
    ('v4:2x2', 'three sides that are multiples of 4, up to 4,096 chips'),
    ('v5p:3x3x3', 'three sides'),
    ('v5p:40x40x40', 'up to 8,960'),
    ('v4:0x4x4', 'three sides'),
    ('v4:4x4x-4', 'three sides'),
    ('v4:4x4x²', 'three sides'),
    ('h100:8', 'a family and a shape, as v5e:16x16'),
    ('', 'a family and a shape'),
  ],
)
def test_a_slice_that_does_not_exist_is_one_sentence(topology, sentence):
  with pytest.raises(errors.InputError, match=sentence) as e:
    chips.slice_of(topology)
  assert '\n' not in str(e.value)


def test_without_libtpu_it_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(errors.InputError, match='pip install -e') as e:
    chips.slice_of('v5e:16x16')
  assert '--devices' in str(e.value)


def test_the_hosts_processors_stand_for_as_many_devices_as_jax_has():
  target = chips.processors(2)
  assert (len(target.devices), target.chip) == (2, None)
  with pytest.raises(errors.InputError, match='from 1 to 4, got 5'):
    chips.processors(5)


def test_a_chips_peak_is_its_clock_times_its_matrix_units():
  # Two operations a cell and cycle.
  cells = {
    'v4': 8 * 128**2,
    'v5p': 8 * 128**2,
    'v5e': 4 * 128**2,
    'v6e': 4 * 256**2,
  }
  for name, chip in chips.CHIPS.items():
    rate = 2 * cells[name] * chip.clock_hz
    assert rate == pytest.approx(chip.bf16_flops, rel=0.01)
