"""A speaker model is refitted where that helps on speakers it has not seen."""

import numpy as np
import pytest

from advspeech.studies.privacy import backend
from advspeech.studies.verification import scoring

SPEAKERS = np.repeat([f's{i:02d}' for i in range(12)], 5)


def vectors(offset, nuisance, seed=0):
  """Voices in a few of 16 dimensions, one of which says nothing of them."""
  rng = np.random.default_rng(seed)
  voice = np.repeat(rng.normal(size=(12, 16)), 5, 0)
  voice += 0.5 * rng.normal(size=voice.shape)
  voice[:, 0] = nuisance * rng.normal(size=len(voice))
  return scoring.unit(voice + offset)


def error(tested, enrolled):
  return backend.pair_error(tested, enrolled, SPEAKERS)


def network(protected, clean, *by_halves):
  heard = backend.Heard(protected, clean)
  return backend.Network(heard, by_halves or (heard, heard))


def refit(protected, clean, speakers=SPEAKERS):
  return backend.refit([network(protected, clean)], speakers)


def test_an_offset_and_a_nuisance_are_taken_out():
  found = vectors(offset=3.0, nuisance=20.0)
  before = error(found, found)
  fit = refit(found, found).backend
  assert fit.shrinkage is not None
  unseen = fit(vectors(offset=3.0, nuisance=20.0, seed=1))
  assert before > 0.2
  assert error(unseen, unseen) < 0.5 * before


def test_clean_clips_are_enrolled_where_protected_ones_are_noisy():
  """And what the protection does to all of them is whitened away."""

  def both(seed):
    clean = vectors(offset=0.0, nuisance=1.0, seed=seed)
    noise = np.random.default_rng(seed + 10).normal(size=clean.shape)
    return scoring.unit(clean + 0.25 * noise + 3 * np.eye(16)[0]), clean

  protected, clean = both(0)
  _, fit, enrols = refit(protected, clean)
  assert enrols == backend.CLEAN
  tested, enrolled = both(1)
  after = error(fit(tested), fit(enrolled))
  assert after < 0.8 * error(tested, enrolled)
  assert after < error(fit(tested), fit(tested))


def test_within_speaker_variance_is_the_same_in_every_direction():
  found = vectors(offset=0.0, nuisance=5.0)
  fit = backend.fit(found, SPEAKERS, 0.0)
  moved = (found - fit.mean) @ fit.whitening
  own = moved - np.repeat(moved.reshape(12, 5, 16).mean(1), 5, 0)
  np.testing.assert_allclose(own.T @ own / len(own), np.eye(16), atol=1e-8)
  centred = backend.fit(found, SPEAKERS, 1.0)
  np.testing.assert_allclose(
    centred(found), scoring.unit(found - found.mean(0)), atol=1e-8
  )


@pytest.mark.parametrize('speakers', [SPEAKERS, SPEAKERS[::-1]])
def test_nothing_is_refitted_where_nothing_helps(speakers):
  rng = np.random.default_rng(0)
  voices = scoring.unit(rng.normal(size=(12, 40)))
  _, place = np.unique(speakers, return_inverse=True)
  fit = refit(voices[place], voices[place], speakers).backend
  assert fit.shrinkage is None
  np.testing.assert_allclose(fit(voices), voices, atol=1e-12)


def test_a_network_is_taken_by_what_it_does_on_speakers_it_was_not_trained_on():
  rng = np.random.default_rng(0)
  mute = scoring.unit(rng.normal(size=(60, 16)))
  voice = vectors(offset=0.0, nuisance=0.0)
  original = network(*[scoring.unit(voice + 0.5 * mute)] * 2)
  # Those that it was trained on are no proof.
  first, second = backend.halves(SPEAKERS)
  learnt = [
    backend.Heard(*[np.where(half[:, None], voice, mute)] * 2)
    for half in (first, second)
  ]
  overfit = network(voice, voice, *learnt)
  helpful = network(voice, voice)
  assert backend.refit([original, overfit], SPEAKERS).network == 0
  assert backend.refit([original, helpful], SPEAKERS).network == 1
  assert backend.refit([helpful, helpful], SPEAKERS).network == 0
