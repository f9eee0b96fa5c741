"""Speakers are enrolled with one statement and tested with the other."""

import types

import numpy as np
import pytest
import voices

from advspeech import errors
from advspeech.studies.privacy import design as design_lib

CORPUS = voices.corpus()
TESTED = [i for i in CORPUS.ids if i.endswith('-3')]
SETTINGS = types.SimpleNamespace(num_enrolled=1, num_clips=-1, num_fitted=3)


def choose(corpus=CORPUS, tested=TESTED, **changes):
  settings = types.SimpleNamespace(**{**vars(SETTINGS), **changes})
  return design_lib.choose(corpus, tested, settings, 0)


def test_no_clip_is_on_two_sides_and_statements_are_crossed():
  design = choose()
  assert not set(design.judged) & set(design.others)
  assert {*design.judged, *design.others} == set(CORPUS.speaker)
  used = [
    row
    for side in design.sides.values()
    for row in (*side.enrolled, *side.known)
  ]
  used += [c.row for c in (*design.tested, *design.fitted)]
  assert len(set(used)) == len(used)
  assert sorted(used) == design.rows().tolist()
  for (speaker, statement), side in design.sides.items():
    rows = [*side.enrolled, *side.known]
    assert len(rows) == 2
    assert set(CORPUS.speaker[rows]) == {speaker}
    assert set(CORPUS.statement[rows]) == {statement}
  for clip in (*design.tested, *design.fitted, *design.enrolled()):
    assert CORPUS.speaker[clip.row] == clip.speaker
    assert clip.against != CORPUS.statement[clip.row]


def test_only_clips_of_the_test_split_are_tested():
  design = choose()
  assert len(design.tested) == 2 * len(design.judged) == 16
  assert {CORPUS.ids[c.row] for c in design.tested} <= set(TESTED)
  assert len(design.fitted) == 3 * len(design.others)
  for speaker in design.others:  # both statements are heard
    own = [c.row for c in design.fitted if c.speaker == speaker]
    assert len(set(CORPUS.statement[own])) == 2
  assert len(choose(num_clips=6).tested) == 6


def test_where_it_is_not_known_what_is_said_recordings_differ():
  corpus = voices.corpus()
  corpus.statement = np.full(len(corpus.ids), '')
  design = choose(corpus)
  rows = design.rows().tolist()
  assert len(set(rows)) == len(rows)
  assert len(design.judged) == 8
  for clip in design.tested:
    side = design.sides[clip.speaker, clip.against]
    assert clip.row not in (*side.enrolled, *side.known)


def test_speakers_with_one_statement_are_left_out():
  corpus = voices.corpus()
  one = choose().judged[0]
  corpus.statement[corpus.speaker == one] = '01'
  design = choose(corpus)
  assert design.short == (one,)
  assert one not in {s for s, _ in design.sides}


def test_too_few_speakers_or_clips_are_refused():
  with pytest.raises(
    errors.InputError,
    match=r'needs 2 speakers to be judged.* 4 others.* of 4 clips besides; '
    r'got 0 and 0, 0 of 16 speakers have them; lower config.privacy.num_enr',
  ):
    choose(num_enrolled=2)
  with pytest.raises(errors.InputError, match='got 0 and 8, 16 of 16'):
    choose(tested=[])
