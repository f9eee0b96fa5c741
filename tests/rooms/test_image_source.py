"""Echoes against float64, pyroomacoustics, and what rooms have in common."""

import numpy as np
import pytest

from advspeech.rooms import image_source

FS, C = 16_000, 343.0


def rooms(source=(1.0, 2.0, 1.5), microphone=(4.1, 3.3, 1.2)):
  room = ([[6.0, 5.0, 3.0]], [source], [microphone], [0.4])
  return image_source.Rooms(*(np.array(x, np.float32) for x in room))


def heard(some, absorbed=0.3, max_order=8, num_samples=3000, ends=np.inf):
  return np.asarray(
    image_source.responses(
      some,
      np.full(len(some.t60_s), absorbed, np.float32),
      np.broadcast_to(np.float32(ends), (len(some.t60_s), 2)),
      max_order=max_order,
      num_samples=num_samples,
    )
  )


def test_a_response_is_the_sum_of_all_images_in_float64():
  some = rooms()
  size, source, microphone = (np.float64(x[0]) for x in some[:3])
  expected = np.zeros(3000)
  k = np.arange(81) - 40
  for n in image_source.cells(5).astype(np.float64):
    mirrored = np.where(n % 2 == 0, source, size - source)
    distance = np.linalg.norm(n * size + mirrored - microphone)
    whole, part = divmod(distance * FS / C, 1)
    gain = 0.7 ** (np.abs(n).sum() / 2) / distance
    taps = gain * np.hanning(81) * np.sinc(k - part)
    expected[int(whole) : int(whole) + 81] += taps
  found = heard(some, max_order=5)[0]
  assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_images_of_an_order_are_counted():
  assert len(image_source.cells(0)) == 1
  assert len(image_source.cells(1)) == 7
  # (2n + 1)(2n^2 + 2n + 3) / 3, the octahedral numbers around a centre.
  assert len(image_source.cells(10)) == 21 * 223 // 3


def test_a_response_is_that_of_pyroomacoustics():
  pra = pytest.importorskip('pyroomacoustics')
  some = rooms()
  high_pass = pra.constants.get('rir_hpf_enable')
  pra.constants.set('rir_hpf_enable', False)
  try:
    room = pra.ShoeBox(
      [6, 5, 3], fs=FS, materials=pra.Material(0.3), max_order=8
    )
    room.add_source([1, 2, 1.5])
    room.add_microphone([4.1, 3.3, 1.2])
    room.compute_rir()
  finally:
    pra.constants.set('rir_hpf_enable', high_pass)
  theirs = np.asarray(room.rir[0][0]) * some.distance_m[0]
  ours = heard(some, num_samples=len(theirs))[0] * some.distance_m[0]
  # Theirs reads the sinc off a table of 20 values a sample.
  np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_direct_path_is_heard_after_its_distance_at_its_gain():
  for metres in (1.0, 3.43, 4.9):
    some = rooms((0.5, 2, 1.5), (0.5 + metres, 2, 1.5))
    alone = heard(some, max_order=0)[0]
    at = image_source.LEAD + metres * FS / C
    k = np.arange(3000) - at
    centroid = np.sum(np.arange(3000) * alone**2) / np.sum(alone**2)
    assert centroid == pytest.approx(at, abs=0.2)
    near = np.abs(k) < 5
    np.testing.assert_allclose(
      alone[near], np.sinc(k[near]) / metres, atol=0.01 / metres
    )


def test_source_and_microphone_may_change_places():
  one, other = (1.0, 2.0, 1.5), (4.1, 3.3, 1.2)
  there, back = heard(rooms(one, other)), heard(rooms(other, one))
  np.testing.assert_allclose(there, back, atol=1e-4 * np.abs(there).max())


def test_walls_that_absorb_everything_echo_nothing():
  np.testing.assert_array_equal(
    heard(rooms(), absorbed=1.0), heard(rooms(), max_order=0)
  )


def test_no_image_within_the_complete_distance_is_of_a_higher_order():
  some = rooms()
  complete = image_source.complete_m(some, 6)[0]
  size, source, microphone = (np.float64(x[0]) for x in some[:3])
  n = image_source.cells(12)
  mirrored = np.where(n % 2 == 0, source, size - source)
  distance = np.linalg.norm(n * size + mirrored - microphone, axis=1)
  assert np.all(np.abs(n).sum(1)[distance < complete] <= 6)


def test_images_fade_out_between_two_distances():
  some = rooms()
  near, far = heard(some), heard(some, ends=(12.0, 15.0))
  at = image_source.LEAD + np.array([12.0, 15.0]) * FS / C
  begin, end = int(at[0]) - 41, int(at[1]) + 41
  np.testing.assert_array_equal(near[0, :begin], far[0, :begin])
  assert np.abs(far[0, end:]).max() < 1e-6 < 1e-3 < near[0, end:].max()


def test_sabines_walls():
  # 24 ln(10) / 343 = 0.161; 6 x 5 x 3 m: 90 m3 within 126 m2.
  assert image_source.absorption(rooms())[0] == pytest.approx(
    0.1611 * 90 / (126 * 0.4), rel=1e-3
  )
