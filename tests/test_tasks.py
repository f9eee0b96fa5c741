"""Labels come from metadata; splits are fair, disjoint and reproducible."""

import numpy as np
import pytest

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


def test_a_missing_class_is_reported():
  with pytest.raises(errors.InputError, match=r"needs 2 classes.*\['angry'\]"):
    tasks.select('emotion', speaker=['a'], sex=['male'], emotion=['angry'])
  with pytest.raises(errors.InputError, match='needs 4 classes'):
    tasks.select(
      'speaker', speaker=['a', 'b'], sex=['male', 'female'], emotion=['x'] * 2
    )


def test_label_takes_every_clip_that_has_one():
  label = np.array(['dog', 'cat', '', 'dog'])
  task = tasks.select(
    'label', speaker=[''] * 4, sex=[''] * 4, emotion=[''] * 4, label=label
  )
  assert task.classes == ('cat', 'dog')
  assert task.rows.tolist() == [0, 1, 3]
  assert task.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
  ('label', 'expected'),
  [
    ((), 'tells it of none; choose --config.task of gender, emotion, speaker$'),
    ([''] * 240, 'of none; choose --config.task of gender, emotion, speaker$'),
    (['dog'] * 240, 'label task needs 2 classes'),
  ],
)
def test_a_corpus_without_two_classes_has_no_label_task(label, expected):
  with pytest.raises(errors.InputError, match=expected):
    tasks.select(
      'label', speaker=SPEAKER, sex=SEX, emotion=EMOTION, label=label
    )


def test_speakers_of_one_sex_must_be_named():
  with pytest.raises(errors.InputError, match=r'name others in --config\.clas'):
    tasks.select(
      'speaker', speaker=SPEAKER, sex=['male'] * len(SPEAKER), emotion=EMOTION
    )
