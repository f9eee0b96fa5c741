"""Labels come from metadata; splits are fair, disjoint and reproducible."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from advspeech import errors, tasks

NUM_SPEAKERS, NUM_EACH = 12, 20
SPEAKER = np.repeat([f's{i:02d}' for i in range(NUM_SPEAKERS)], NUM_EACH)
SEX = np.array(['female' if int(s[1:]) % 2 else 'male' for s in SPEAKER])
EMOTION = np.tile(['angry', 'sad', 'neutral', 'happy'], len(SPEAKER) // 4)
IDS = np.array([f'{s}-{i:04d}' for i, s in enumerate(SPEAKER)])


def select(name):
  return tasks.select(name, speaker=SPEAKER, sex=SEX, emotion=EMOTION)


def test_gender_takes_every_clip():
  task = select('gender')
  assert task.classes == ('female', 'male')
  assert len(task.rows) == len(SPEAKER)
  np.testing.assert_array_equal(np.array(task.classes)[task.labels], SEX)


def test_emotion_takes_angry_and_sad():
  task = select('emotion')
  assert task.classes == ('angry', 'sad')
  np.testing.assert_array_equal(
    np.array(task.classes)[task.labels], EMOTION[task.rows]
  )
  assert len(task.rows) == len(SPEAKER) // 2


def test_speaker_takes_two_of_each_sex():
  task = select('speaker')
  assert task.classes == ('s01', 's03', 's00', 's02')
  np.testing.assert_array_equal(
    np.array(task.classes)[task.labels], SPEAKER[task.rows]
  )


def test_speakers_can_be_named():
  task = tasks.select(
    'speaker',
    speaker=SPEAKER,
    sex=SEX,
    emotion=EMOTION,
    classes=('s05', 's07'),
  )
  assert task.classes == ('s05', 's07')
  assert len(task.rows) == 2 * NUM_EACH


def test_classes_of_any_column_can_be_named():
  statement = np.where(np.arange(len(SPEAKER)) % 3, 'a', 'b')
  columns = {'speaker': SPEAKER, 'sex': SEX, 'emotion': EMOTION}
  task = tasks.select('emotion', ('sad', 'neutral'), **columns)
  assert task.classes == ('sad', 'neutral')
  np.testing.assert_array_equal(
    np.array(task.classes)[task.labels], EMOTION[task.rows]
  )
  task = tasks.select('statement', statement=statement, **columns)
  assert task.classes == ('a', 'b')
  assert task.labels.tolist() == (np.arange(len(SPEAKER)) % 3 == 0).tolist()
  with pytest.raises(
    errors.InputError,
    match=r"only \['sad'\]; name others in --config.classes, of its emotions "
    'angry, happy, neutral, sad$',
  ):
    tasks.select('emotion', ('sad', 'bored'), **columns)


def test_an_unknown_task_lists_the_legal_ones():
  with pytest.raises(errors.InputError, match='gender, emotion, speaker'):
    select('age')


def test_a_missing_class_is_told():
  with pytest.raises(errors.InputError, match=r"needs 2 classes.*\['angry'\]"):
    tasks.select('emotion', speaker=['a'], sex=['male'], emotion=['angry'])
  with pytest.raises(errors.InputError, match='needs 4 classes'):
    tasks.select(
      'speaker', speaker=['a', 'b'], sex=['male', 'female'], emotion=['x'] * 2
    )


def parts_of(split):
  return [split[name] for name in tasks.SPLITS]


def test_no_clip_is_in_two_splits_and_none_is_lost():
  split = tasks.split(IDS, select('gender').labels, 0)
  together = np.concatenate(parts_of(split))
  np.testing.assert_array_equal(np.sort(together), np.arange(len(IDS)))


def test_every_label_is_split_75_5_20():
  labels = select('gender').labels
  split = tasks.split(IDS, labels, 3)
  for label in (0, 1):
    counts = [int((labels[part] == label).sum()) for part in parts_of(split)]
    assert counts == [90, 6, 24]


def test_the_split_is_a_function_of_ids_labels_and_seed_alone():
  labels = select('gender').labels
  order = np.random.default_rng(0).permutation(len(IDS))
  split = tasks.split(IDS, labels, 7)
  shuffled = tasks.split(IDS[order], labels[order], 7)
  for name in tasks.SPLITS:
    assert set(IDS[split[name]]) == set(IDS[order][shuffled[name]])
  other = tasks.split(IDS, labels, 8)
  assert set(split['test']) != set(other['test'])


def test_the_split_has_not_moved_since_the_first_release():
  split = tasks.split([f'u{i}' for i in range(20)], [0] * 20, 0)
  assert split['test'].tolist() == GOLDEN_TEST
  assert split['validation'].tolist() == GOLDEN_VALIDATION


GOLDEN_TEST = [3, 8, 12, 15]
GOLDEN_VALIDATION = [7]


def test_ids_that_occur_twice_are_refused():
  with pytest.raises(errors.InputError, match='must be unique'):
    tasks.split(['a', 'a', 'b'], [0, 0, 1], 0)


def test_too_few_clips_are_refused():
  with pytest.raises(errors.InputError, match='validation would be empty'):
    tasks.split(['a', 'b', 'c', 'd', 'e'], [0] * 5, 0)


def test_a_speaker_disjoint_split_shares_no_speaker_and_tests_both_sexes():
  labels = select('gender').labels
  split = tasks.speaker_disjoint_split(IDS, labels, SPEAKER, 0)
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
  split = tasks.group_split(IDS, labels, STATEMENT, 'statement', seed)
  said = [set(STATEMENT[part]) for part in parts_of(split)]
  assert sum(map(len, said)) == len(set(STATEMENT)) == len(set.union(*said))
  assert all(set(labels[part]) == {0, 1} for part in parts_of(split))
  # Speakers are groups like others.
  for ours, theirs in zip(
    parts_of(tasks.group_split(IDS, labels, SPEAKER, 'speaker', seed)),
    parts_of(tasks.speaker_disjoint_split(IDS, labels, SPEAKER, seed)),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)


def test_of_two_groups_one_is_tested_and_the_other_trained_on():
  labels = select('gender').labels
  two = np.tile(['01', '02'], len(IDS) // 2)
  # Seeds that test on either.
  tested = set()
  for seed in range(8):
    split = tasks.group_split(IDS, labels, two, 'statement', seed)
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
    tasks.group_split(IDS, labels, SEX, 'sex', 0)
  with pytest.raises(errors.InputError, match='needs the take of every clip'):
    tasks.group_split(IDS, labels, np.full(len(IDS), ''), 'take', 0)
  # Each class has two, and no group has both classes.
  own = np.char.add(SEX, np.tile(['a', 'b'], len(IDS) // 2))
  with pytest.raises(errors.InputError, match='no take has clips of every'):
    tasks.group_split(IDS, labels, own, 'take', 0)


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
    assert tasks.num_shared(columns, test, train) == number


def test_speaker_recognition_cannot_be_speaker_disjoint():
  task = select('speaker')
  with pytest.raises(errors.InputError, match='at least three speakers'):
    tasks.speaker_disjoint_split(
      IDS[task.rows], task.labels, SPEAKER[task.rows], 0
    )


def test_who_has_no_name_is_no_speaker():
  speaker = np.where(np.arange(len(IDS)) % 7 == 3, '', SPEAKER)
  with pytest.raises(errors.InputError, match=r's00-0003 and 33 more have non'):
    tasks.speaker_disjoint_split(IDS, select('gender').labels, speaker, 0)


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
  split = tasks.speaker_disjoint_split(*clips, seed)
  check_speaker_disjoint(*clips, split)


def test_a_class_of_few_speakers_is_dealt_until_each_split_has_one():
  # No two say the same words, and one alone has all three classes.
  words = [{0, 1}, {0, 1, 2}, {1}, {0}, {1, 2}, {0, 2}]
  clips = clips_of({f's{i}': has for i, has in enumerate(words)})
  check_speaker_disjoint(*clips, tasks.speaker_disjoint_split(*clips, 0))


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
    split = tasks.speaker_disjoint_split(*clips, 0)
  except errors.InputError:
    with pytest.raises(errors.InputError):
      tasks.speaker_disjoint_split(*(c[order] for c in clips), 0)
    return
  check_speaker_disjoint(*clips, split)
  again = tasks.speaker_disjoint_split(*(c[order] for c in clips), 0)
  for name, rows in split.items():
    assert set(clips[0][rows]) == set(clips[0][order][again[name]])


def test_eleven_clips_of_a_class_are_the_fewest_that_are_everywhere():
  for number, has_all in ((10, False), (11, True)):
    ids, labels = [f'u{i}' for i in range(40 + number)], [0] * 40 + [1] * number
    parts = parts_of(tasks.split(ids, labels, 0))
    assert all((part >= 40).any() for part in parts) == has_all


SESSION = np.array([str(int(s[1:]) % 3) for s in SPEAKER])


def test_label_takes_every_clip_that_has_one():
  label = np.array(['dog', 'cat', '', 'dog'])
  task = tasks.select(
    'label', speaker=[''] * 4, sex=[''] * 4, emotion=[''] * 4, label=label
  )
  assert task.classes == ('cat', 'dog')
  assert task.rows.tolist() == [0, 1, 3]
  assert task.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize('label', [(), [''] * 240, ['dog'] * 240])
def test_a_corpus_without_two_classes_has_no_label_task(label):
  with pytest.raises(errors.InputError, match='label task needs 2 classes'):
    tasks.select(
      'label', speaker=SPEAKER, sex=SEX, emotion=EMOTION, label=label
    )


def test_speakers_of_one_sex_must_be_named():
  with pytest.raises(errors.InputError, match=r'name others in --config\.clas'):
    tasks.select(
      'speaker', speaker=SPEAKER, sex=['male'] * len(SPEAKER), emotion=EMOTION
    )


def test_one_session_is_left_out_and_tested_alone():
  labels = select('gender').labels
  split = tasks.leave_one_session_out_split(IDS, labels, SESSION, '2', 0)
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
    tasks.leave_one_session_out_split(
      IDS, np.zeros(240, int), session, held_out, 0
    )


def test_the_manifests_splits_are_taken_as_they_are():
  names = np.array([tasks.SPLITS[i % 3] for i in range(240)])
  split = tasks.given_split(IDS, np.zeros(240, int), names)
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
def test_splits_of_a_manifest_that_cannot_be_are_told(names, message):
  with pytest.raises(errors.InputError, match=message):
    tasks.given_split(['a', 'b', 'c'], [1, 0, 0], names)
