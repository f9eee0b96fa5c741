"""Trials are of clips that may be compared, or refused in one sentence."""

import collections

import numpy as np
import pytest
import voices

from advspeech import errors
from advspeech.studies.verification import trials

CORPUS = voices.corpus()
DRAW = {'num_trials': 30, 'num_enrolled': 2, 'seed': 0}


def drawn(corpus=CORPUS, **changes):
  judged = trials.halves(corpus, 0)[1]
  return trials.draw(corpus, judged, **{**DRAW, **changes})[0]


def test_half_of_each_sex_sets_thresholds():
  others, judged = trials.halves(CORPUS, 0)
  assert not set(others) & set(judged)
  assert {*others, *judged} == set(CORPUS.speaker)
  sex_of = dict(zip(CORPUS.speaker, CORPUS.sex, strict=True))
  for half in (others, judged):
    assert collections.Counter(sex_of[s] for s in half) == {
      'male': 4,
      'female': 4,
    }
  assert trials.halves(CORPUS, 1) != (others, judged)


def test_clips_enrolled_known_and_tested_are_different_sentences_and_clips():
  found = drawn()
  assert collections.Counter(t.kind for t in found) == {
    kind: 30 for kind in ('target', 'same_sex', 'cross_sex')
  }
  for trial in found:
    enrolment = trial.enrolment
    used = [*enrolment.enrolled, *enrolment.known, trial.row]
    assert len(set(used)) == len(used) == 5
    said = CORPUS.statement[used]
    assert said[-1] not in said[:-1]
    assert set(CORPUS.speaker[used[:-1]]) == {enrolment.speaker}
    assert trial.speaker == CORPUS.speaker[trial.row]
    same = enrolment.speaker == trial.speaker
    assert (trial.kind == 'target') == same
    sexes = {CORPUS.sex[used[0]], CORPUS.sex[trial.row]}
    assert (trial.kind == 'cross_sex') == (len(sexes) == 2)
  assert len({trials.trial_id(t, CORPUS) for t in found}) == len(found)


def test_draws_depend_on_the_seed_and_not_on_the_number():
  assert drawn() == drawn()
  assert drawn() != drawn(seed=1)
  some = [t for t in drawn(num_trials=10) if t.kind == 'target']
  assert set(some) < set(drawn())


def test_where_it_is_not_known_what_is_said_recordings_differ():
  corpus = voices.corpus()
  corpus.statement = np.full(len(corpus.ids), '')
  for trial in drawn(corpus):
    used = [*trial.enrolment.enrolled, *trial.enrolment.known, trial.row]
    assert len(set(used)) == len(used)


def test_impostors_of_unknown_sex_are_a_kind_of_their_own():
  corpus = voices.corpus()
  corpus.sex = np.full(len(corpus.ids), '')
  kinds = collections.Counter(t.kind for t in drawn(corpus))
  assert kinds == {'target': 30, 'impostor': 30}


def test_speakers_with_too_few_clips_are_left_out_and_named():
  corpus = voices.corpus()
  judged = trials.halves(corpus, 0)[1]
  corpus.statement[corpus.speaker == judged[0]] = '01'
  found, short = trials.draw(corpus, judged, **DRAW)
  assert short == [judged[0]]
  assert judged[0] not in {
    x for t in found for x in (t.speaker, t.enrolment[0])
  }
  with pytest.raises(errors.InputError, match=r'got 0 of 8 .*num_enrolled'):
    trials.draw(corpus, judged, **{**DRAW, 'num_enrolled': 3})


def read(tmp_path, text):
  path = tmp_path / 'trials.txt'
  path.write_text(text)
  return trials.read(str(path), CORPUS, num_known=3, seed=0)


def test_a_list_is_read(tmp_path):
  found = read(
    tmp_path,
    '1 s00-01-0 s00-02-1\n\n0 s00-01-0 s02-02-1\n0 s00-01-0 s01-02-1\n',
  )
  assert [t.kind for t in found] == ['target', 'same_sex', 'cross_sex']
  for trial in found:
    assert CORPUS.ids[trial.enrolment.enrolled[0]] == 's00-01-0'
    assert len(trial.enrolment.known) == 3
    assert not {trial.row, *trial.enrolment.enrolled} & {*trial.enrolment.known}
    assert set(CORPUS.speaker[list(trial.enrolment.known)]) == {'s00'}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', r'trials\.txt must have trials, lines such as "1 s00-01-0'),
    ('yes s00-01-0 s00-02-1', r'line 1 must be "label enrol test"'),
    ('1 s00-01-0', r'line 1 must be "label enrol test"'),
    ('1 s00-01-0 s99', 'names the clip s99, which the corpus tones has not'),
    ('1 s00-01-0 s00-01-0', 'has the recording s00-01-0 on both sides'),
    ('1 s00-01-0 s01-01-0', 'says 1 of s00-01-0 and s01-01-0, whose speakers'),
    ('0 s00-01-0 s00-01-1', 'says 0 of s00-01-0 and s00-01-1, whose speakers'),
    ('\n0 s00-01-0 s01-01-0\n' * 2, 'line 4 is a trial that was there before'),
  ],
)
def test_a_wrong_list_is_refused(tmp_path, text, message):
  with pytest.raises(errors.InputError, match=message):
    read(tmp_path, text)


def test_a_list_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match=r'trials cannot be read: .*none'):
    trials.read(str(tmp_path / 'none'), CORPUS, num_known=3, seed=0)


def test_a_speaker_without_another_clip_is_refused(tmp_path):
  path = tmp_path / 'trials.txt'
  path.write_text('0 s00-01-0 s01-01-0')
  corpus = voices.corpus()
  alone = (corpus.speaker == 's00') & (corpus.ids != 's00-01-0')
  corpus.speaker[alone] = 's02'
  with pytest.raises(errors.InputError, match='s00, who has no clip beside'):
    trials.read(str(path), corpus, num_known=3, seed=0)
