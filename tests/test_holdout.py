"""Hold-outs: disjoint, complete, of the shares promised, by id alone."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from advspeech import errors, holdout, tasks

NUM_SPEAKERS, NUM_EACH = 12, 20
SPEAKER = np.repeat([f's{i:02d}' for i in range(NUM_SPEAKERS)], NUM_EACH)
SEX = np.array(['female' if int(s[1:]) % 2 else 'male' for s in SPEAKER])
EMOTION = np.tile(['angry', 'sad', 'neutral', 'happy'], len(SPEAKER) // 4)
IDS = np.array([f'{s}-{i:04d}' for i, s in enumerate(SPEAKER)])


def select(name):
  return tasks.select(name, speaker=SPEAKER, sex=SEX, emotion=EMOTION)


def parts_of(split):
  return [split[name] for name in holdout.SPLITS]


def test_no_clip_is_in_two_splits_and_none_is_lost():
  split = holdout.stratified(IDS, select('gender').labels, 0)
  together = np.concatenate(parts_of(split))
  np.testing.assert_array_equal(np.sort(together), np.arange(len(IDS)))


def test_every_label_is_split_75_5_20():
  labels = select('gender').labels
  split = holdout.stratified(IDS, labels, 3)
  for label in (0, 1):
    counts = [int((labels[part] == label).sum()) for part in parts_of(split)]
    assert counts == [90, 6, 24]


def test_the_split_is_a_function_of_ids_labels_and_seed_alone():
  labels = select('gender').labels
  order = np.random.default_rng(0).permutation(len(IDS))
  split = holdout.stratified(IDS, labels, 7)
  shuffled = holdout.stratified(IDS[order], labels[order], 7)
  for name in holdout.SPLITS:
    assert set(IDS[split[name]]) == set(IDS[order][shuffled[name]])
  other = holdout.stratified(IDS, labels, 8)
  assert set(split['test']) != set(other['test'])


def test_the_split_has_not_moved_since_the_first_release():
  split = holdout.stratified([f'u{i}' for i in range(20)], [0] * 20, 0)
  assert split['test'].tolist() == GOLDEN_TEST
  assert split['validation'].tolist() == GOLDEN_VALIDATION


GOLDEN_TEST = [3, 8, 12, 15]
GOLDEN_VALIDATION = [7]


def test_ids_that_occur_twice_are_refused():
  with pytest.raises(errors.InputError, match='must be unique'):
    holdout.stratified(['a', 'a', 'b'], [0, 0, 1], 0)


def test_too_few_clips_are_refused():
  with pytest.raises(errors.InputError, match='validation would be empty'):
    holdout.stratified(['a', 'b', 'c', 'd', 'e'], [0] * 5, 0)


def test_a_speaker_disjoint_split_shares_no_speaker_and_tests_both_sexes():
  labels = select('gender').labels
  split = holdout.speaker_disjoint(IDS, labels, SPEAKER, 0)
  speakers = [set(SPEAKER[part]) for part in parts_of(split)]
  assert not speakers[0] & speakers[1]
  assert not speakers[0] & speakers[2]
  assert not speakers[1] & speakers[2]
  assert sum(map(len, speakers)) == NUM_SPEAKERS
  for part in parts_of(split):
    assert set(labels[part]) == {0, 1}


STATEMENT = np.tile(['one', 'two', 'three', 'four', 'five'], len(IDS) // 5)


@pytest.mark.parametrize('seed', range(3))
def test_a_split_by_group_shares_none_with_training(seed):
  labels = select('gender').labels
  split = holdout.by_group(IDS, labels, STATEMENT, 'statement', seed)
  said = [set(STATEMENT[part]) for part in parts_of(split)]
  assert sum(map(len, said)) == len(set(STATEMENT)) == len(set.union(*said))
  assert all(set(labels[part]) == {0, 1} for part in parts_of(split))
  # Speakers are groups like others.
  for ours, theirs in zip(
    parts_of(holdout.by_group(IDS, labels, SPEAKER, 'speaker', seed)),
    parts_of(holdout.speaker_disjoint(IDS, labels, SPEAKER, seed)),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)


def test_of_two_groups_one_is_tested_and_the_other_trained_on():
  labels = select('gender').labels
  two = np.tile(['01', '02'], len(IDS) // 2)
  # Seeds that test on either.
  tested = set()
  for seed in range(8):
    split = holdout.by_group(IDS, labels, two, 'statement', seed)
    train, validation, test = (set(two[part]) for part in parts_of(split))
    assert train == validation
    assert not train & test
    assert sum(map(len, parts_of(split))) == len(IDS)
    tested |= test
  assert tested == {'01', '02'}


def test_groups_that_cannot_be_kept_apart_are_refused():
  labels = select('gender').labels
  with pytest.raises(
    errors.InputError, match=r'split by sex needs at least two .* has 1; use'
  ):
    holdout.by_group(IDS, labels, SEX, 'sex', 0)
  with pytest.raises(errors.InputError, match='needs the take of every clip'):
    holdout.by_group(IDS, labels, np.full(len(IDS), ''), 'take', 0)
  # Each class has two, and no group has both classes.
  own = np.char.add(SEX, np.tile(['a', 'b'], len(IDS) // 2))
  with pytest.raises(errors.InputError, match='no take has clips of every'):
    holdout.by_group(IDS, labels, own, 'take', 0)


def test_clips_that_share_with_training_are_counted():
  speaker = np.array(['a', 'a', 'b', 'b', 'c', ''])
  statement = np.array(['x', 'y', 'x', 'y', 'x', 'x'])
  train, test = np.array([0, 3]), np.array([1, 2, 4, 5])
  for columns, number in (
    ([speaker], 2),
    ([statement], 4),
    ([speaker, statement], 0),
    ([np.full(6, '')], None),
  ):
    assert holdout.num_shared(columns, test, train) == number


def test_speaker_recognition_cannot_be_speaker_disjoint():
  task = select('speaker')
  with pytest.raises(errors.InputError, match='at least three speakers'):
    holdout.speaker_disjoint(IDS[task.rows], task.labels, SPEAKER[task.rows], 0)


def test_who_has_no_name_is_no_speaker():
  speaker = np.where(np.arange(len(IDS)) % 7 == 3, '', SPEAKER)
  with pytest.raises(errors.InputError, match=r's00-0003 and 33 more have non'):
    holdout.speaker_disjoint(IDS, select('gender').labels, speaker, 0)


def clips_of(speakers):
  """Returns ids, labels and speakers of one clip a speaker and label."""
  pairs = [(s, label) for s, has in speakers.items() for label in sorted(has)]
  speaker, labels = map(np.array, zip(*pairs, strict=True))
  return np.array([f'{s}-{label}' for s, label in pairs]), labels, speaker


def check_speaker_disjoint(ids, labels, speaker, split):
  assert sorted(np.concatenate(parts_of(split))) == list(range(len(ids)))
  for part in parts_of(split):
    assert set(labels[part]) == set(labels)
  speakers = [set(speaker[part]) for part in parts_of(split)]
  assert sum(map(len, speakers)) == len(set(speaker))


@pytest.mark.parametrize('seed', range(20))
def test_speakers_of_few_like_them_join_the_others(seed):
  speakers = {f's{i}': {0, 1} for i in range(8)}
  speakers |= {'a': {0}, 'b': {0}, 'c': {1}, 'd': {1, 2}}
  speakers |= {f't{i}': {1, 2} for i in range(4)}
  clips = clips_of(speakers)
  split = holdout.speaker_disjoint(*clips, seed)
  check_speaker_disjoint(*clips, split)


def test_a_class_of_few_speakers_is_dealt_until_each_split_has_one():
  # No two say the same words, and one alone has all three classes.
  words = [{0, 1}, {0, 1, 2}, {1}, {0}, {1, 2}, {0, 2}]
  clips = clips_of({f's{i}': has for i, has in enumerate(words)})
  check_speaker_disjoint(*clips, holdout.speaker_disjoint(*clips, 0))


@hypothesis.settings(deadline=None, derandomize=True, database=None)
@hypothesis.given(
  st.lists(st.sets(st.integers(0, 2), min_size=1), min_size=3, max_size=15),
  st.randoms(use_true_random=False),
)
def test_a_speaker_disjoint_split_has_every_class_everywhere_or_is_refused(
  words, random
):
  clips = clips_of({f's{i}': has for i, has in enumerate(words)})
  order = random.sample(range(len(clips[0])), len(clips[0]))
  try:
    split = holdout.speaker_disjoint(*clips, 0)
  except errors.InputError:
    with pytest.raises(errors.InputError):
      holdout.speaker_disjoint(*(c[order] for c in clips), 0)
    return
  check_speaker_disjoint(*clips, split)
  again = holdout.speaker_disjoint(*(c[order] for c in clips), 0)
  for name, rows in split.items():
    assert set(clips[0][rows]) == set(clips[0][order][again[name]])


def test_eleven_clips_of_a_class_are_the_fewest_that_are_everywhere():
  for number, has_all in ((10, False), (11, True)):
    ids, labels = [f'u{i}' for i in range(40 + number)], [0] * 40 + [1] * number
    parts = parts_of(holdout.stratified(ids, labels, 0))
    assert all((part >= 40).any() for part in parts) == has_all


SESSION = np.array([str(int(s[1:]) % 3) for s in SPEAKER])


def test_one_session_is_left_out_and_tested_alone():
  labels = select('gender').labels
  split = holdout.leave_one_session_out(IDS, labels, SESSION, '2', 0)
  assert set(SESSION[split['test']]) == {'2'}
  train, validation = split['train'], split['validation']
  assert '2' not in {*SESSION[train], *SESSION[validation]}
  assert [len(part) for part in parts_of(split)] == [150, 10, 80]
  assert np.bincount(labels[validation]).tolist() == [5, 5]
  everything = np.concatenate(list(split.values()))
  assert sorted(everything) == list(range(len(IDS)))


@pytest.mark.parametrize(
  ('session', 'held_out'),
  [(SESSION, '7'), (SESSION, ''), ([''] * 240, ''), (['1'] * 240, '1')],
)
def test_a_session_that_is_not_there_is_not_left_out(session, held_out):
  with pytest.raises(errors.InputError, match='one of at least two sessions'):
    holdout.leave_one_session_out(IDS, np.zeros(240, int), session, held_out, 0)


def test_the_manifests_splits_are_taken_as_they_are():
  names = np.array([holdout.SPLITS[i % 3] for i in range(240)])
  split = holdout.given(IDS, np.zeros(240, int), names)
  for name, rows in split.items():
    np.testing.assert_array_equal(rows, np.flatnonzero(names == name))


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (['train', 'dev', 'test'], "'dev' for b and 0 more"),
    (['train', '', ''], "'' for b and 1 more"),
    (['train', 'train', 'test'], 'no clip of this task to validation'),
    (['validation', 'train', 'test'], 'class 1 and 0 more have no clip to tr'),
  ],
)
def test_splits_of_a_manifest_that_cannot_be_are_reported(names, message):
  with pytest.raises(errors.InputError, match=message):
    holdout.given(['a', 'b', 'c'], [1, 0, 0], names)
