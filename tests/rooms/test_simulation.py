"""Rooms by seed decay as asked, and their responses are stored whole."""

import numpy as np
import pytest

from advspeech.rooms import bank, image_source, simulation

ROOMS = simulation.draw(7, 0, 24)
RESPONSES = simulation.responses(ROOMS, 7)


def test_rooms_are_as_asked_and_by_seed():
  some = simulation.draw(0, 0, 300)
  low, high = np.array(simulation.DIMENSIONS_M).T
  assert np.all((some.dimensions_m >= low) & (some.dimensions_m <= high))
  for place in (some.source_m, some.microphone_m):
    assert np.all(place >= 0.5)
    assert np.all(some.dimensions_m - place >= 0.5)
  assert np.all((some.t60_s >= 0.2) & (some.t60_s <= 0.8))
  assert some.t60_s.std() == pytest.approx(0.6 / 12**0.5, rel=0.1)
  fewer = simulation.draw(0, 0, 10)
  np.testing.assert_array_equal(fewer.source_m, some.source_m[:10])
  unseen = simulation.draw(0, 1, 300)
  assert not set(some.t60_s) & set(unseen.t60_s)
  assert np.all(image_source.absorption(some) < 1)


def test_rooms_decay_in_the_time_asked():
  ratio = [
    simulation.t60_of(h) / t60
    for h, t60 in zip(RESPONSES, ROOMS.t60_s, strict=True)
  ]
  assert np.median(ratio) == pytest.approx(1, abs=0.05)
  assert np.mean(np.abs(np.array(ratio) - 1) < 0.2) > 0.85


def test_a_decay_of_known_slope_is_measured():
  time_s = np.arange(16_000) / 16_000
  for t60 in (0.2, 0.5):
    noise = np.random.default_rng(0).normal(size=16_000)
    assert simulation.t60_of(noise * 10 ** (-3 * time_s / t60)) == (
      pytest.approx(t60, rel=0.05)
    )


@pytest.mark.slow
def test_noise_takes_over_with_the_energy_of_the_images():
  few = image_source.Rooms(*(x[:8] for x in ROOMS))
  fewer, more = (
    simulation.responses(few, 7, max_order=order) for order in (10, 26)
  )
  late = slice(800, 1600)  # 50 to 100 ms: images alone in the one
  ratio = np.sum(fewer[:, late] ** 2, 1) / np.sum(more[:, late] ** 2, 1)
  assert abs(10 * np.log10(np.exp(np.log(ratio).mean()))) < 1.5
  early = slice(0, 300)
  np.testing.assert_allclose(fewer[:, early], more[:, early], atol=2e-3)


def test_the_direct_path_has_gain_one_and_comes_first():
  delay = ROOMS.distance_m * 16_000 / 343
  for response, part in zip(RESPONSES, delay % 1, strict=True):
    k = np.arange(34, 47) - 40 - part
    head = np.sinc(k) @ response[34:47]
    assert head == pytest.approx(1, abs=0.35)  # echoes are near, too
    assert np.abs(response[:20]).max() < 0.05


def test_there_is_no_hum():
  spectrum = np.abs(np.fft.rfft(RESPONSES, 16_000))
  assert np.all(spectrum[:, :2].max(1) < 0.1 * spectrum.max(1))


def test_a_room_depends_on_its_number_alone():
  few = image_source.Rooms(*(x[:3] for x in ROOMS))
  np.testing.assert_allclose(
    simulation.responses(few, 7), RESPONSES[:3], atol=1e-6
  )


@pytest.fixture
def small_bank(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(bank, 'NUM_ROOMS', {'training': 4, 'unseen': 2})
  bank.load.cache_clear()
  yield bank
  bank.load.cache_clear()


def test_responses_are_computed_once_and_read_back(small_bank, monkeypatch):
  first = small_bank.load('training')
  assert first.responses.shape == (4, simulation.NUM_SAMPLES)
  small_bank.load.cache_clear()
  monkeypatch.setattr(simulation, 'responses', None)  # not called again
  again = small_bank.load('training')
  np.testing.assert_array_equal(first.responses, again.responses)
  assert first.digest == again.digest
  assert first.t60_s[0] == simulation.draw(0, 0, 1).t60_s[0]


def test_damaged_responses_are_computed_again(small_bank, caplog):
  first = small_bank.load('unseen')
  path = small_bank.path('unseen')
  arrays = dict(np.load(path))
  arrays['responses'] = arrays['responses'] + 1
  np.savez(path, **arrays)
  small_bank.load.cache_clear()
  again = small_bank.load('unseen')
  np.testing.assert_array_equal(first.responses, again.responses)
  assert 'its digest is another' in caplog.text


@pytest.mark.slow
def test_a_thousand_rooms_are_finite():
  some = simulation.draw(bank.SEED, 0, 1000)
  found = simulation.responses(some, bank.SEED)
  assert np.isfinite(found).all()
  assert np.all(np.sum(found**2, 1) > 0)
