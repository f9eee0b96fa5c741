"""IEMOCAP, CREMA-D, EmoDB, SAVEE, each read from a stand-in of its layout."""

import collections
import logging
import shutil

import numpy as np
import pytest
import stand_ins

from advspeech import corpora, errors, experiment, holdout, tasks
from advspeech.corpora import crema_d, emodb, iemocap, savee
from advspeech.experiment import data
from configs import iemocap as iemocap_config

RELEASES = {
  'iemocap': (iemocap.Iemocap, stand_ins.iemocap),
  'crema_d': (crema_d.CremaD, stand_ins.crema_d),
  'emodb': (emodb.Emodb, stand_ins.emodb),
  'savee': (savee.Savee, stand_ins.savee),
}


def utterances(name, folder, **options):
  """Returns what a builder yields, without writing a data set."""
  builder = RELEASES[name][0](
    folder=str(folder),
    data_dir='unused',
    file_format='array_record',
    **options,
  )
  return list(builder.utterances())


@pytest.mark.parametrize('name', RELEASES)
def test_every_clip_has_its_own_sound_and_what_the_release_says(name, tmp_path):
  expected = RELEASES[name][1](tmp_path / 'release')
  found = utterances(name, tmp_path / 'release')
  assert {
    u.id: (u.speaker, u.sex, u.emotion, u.session) for u in found
  } == expected
  assert len(found) == len(expected)
  for u in found:
    if u.session == '2':  # stereo, the second channel half as loud
      tone = stand_ins.tone(u.id)
      both = (tone.astype(float) + tone // 2) / 2
      np.testing.assert_allclose(u.pcm, both, atol=0.5)
    else:
      np.testing.assert_array_equal(u.pcm, stand_ins.tone(u.id))


@pytest.mark.parametrize(
  ('name', 'id_', 'statement', 'take'),
  [
    ('crema_d', '1001_DFA_ANG_XX', 'DFA', ''),
    ('emodb', '03a01Fa', 'a01', '03a01F'),
    ('savee', 'DC_a01', '', ''),
  ],
)
def test_what_is_said_is_known_where_the_release_says_it(
  name, id_, statement, take, tmp_path
):
  RELEASES[name][1](tmp_path / 'release')
  (found,) = (u for u in utterances(name, tmp_path / 'release') if u.id == id_)
  assert (found.statement, found.take) == (statement, take)


@pytest.mark.parametrize('name', RELEASES)
def test_another_folder_is_told_what_it_should_hold(name, tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(errors.InputError, match=r'empty.* holds no '):
    utterances(name, tmp_path / 'empty')
  with pytest.raises(errors.InputError, match='nowhere is not a folder'):
    utterances(name, tmp_path / 'nowhere')
  with pytest.raises(errors.InputError, match=r'--config\.corpus\.folder='):
    utterances(name, '')


@pytest.fixture(scope='module')
def iemocap_corpus(tmp_path_factory):
  """The stand-in of IEMOCAP, prepared and read."""
  path = tmp_path_factory.mktemp('iemocap')
  stand_ins.iemocap(path / 'release')
  where = {'folder': str(path / 'release'), 'data_dir': str(path / 'data')}
  corpora.prepare('iemocap', **where)
  return corpora.read('iemocap', num_samples=2000, **where)


def test_iemocap_has_the_three_tasks_of_the_paper(iemocap_corpus):
  corpus = iemocap_corpus
  columns = {
    'speaker': corpus.speaker,
    'sex': corpus.sex,
    'emotion': corpus.emotion,
  }
  gender = tasks.select('gender', **columns)
  assert np.bincount(gender.labels).tolist() == [30, 30]
  # xxx and the other labels take part in gender and not in emotion.
  emotion = tasks.select('emotion', **columns)
  assert emotion.classes == ('angry', 'sad')
  assert np.bincount(emotion.labels).tolist() == [20, 15]
  speaker = tasks.select('speaker', **columns)
  assert speaker.classes == ('Ses01F', 'Ses02F', 'Ses01M', 'Ses02M')
  assert len(speaker.rows) == 24


def test_iemocap_is_split_by_session(iemocap_corpus):
  corpus = iemocap_corpus
  labels = (corpus.sex == 'male').astype(np.int32)
  split = holdout.leave_one_session_out(
    corpus.ids, labels, corpus.session, '5', 0
  )
  assert set(corpus.session[split['test']]) == {'5'}
  assert len(split['test']) == 12
  others = np.concatenate([split['train'], split['validation']])
  assert set(corpus.session[others]) == {'1', '2', '3', '4'}
  assert len(set(others)) == 48


def test_the_papers_counts_are_set_beside_what_was_found(
  tmp_path, caplog, monkeypatch
):
  where = {'folder': str(tmp_path / 'r'), 'data_dir': str(tmp_path / 'data')}
  stand_ins.iemocap(tmp_path / 'r')
  monkeypatch.setitem(iemocap.PAPER, 'sad', 15)
  with caplog.at_level(logging.INFO, 'advspeech'):
    corpora.prepare('iemocap', **where)
  assert 'utterances: 60, in the paper 10,039: differs' in caplog.messages
  assert 'sad: 15, in the paper 15' in caplog.messages
  assert (
    'speakers of session 1: 6 and 6, in the paper 873 and 946: differs'
    in caplog.messages
  )


@pytest.mark.slow
def test_a_release_of_the_true_size_has_the_papers_tasks(tmp_path, caplog):
  # A twentieth as long as IEMOCAP's utterances, so that this takes a minute.
  expected = stand_ins.iemocap(
    tmp_path / 'release',
    stand_ins.iemocap_of_true_size(),
    lambda id_: round(800 * stand_ins.iemocap_seconds(id_)),
  )
  config = iemocap_config.get_config()
  config.clip_s = 0.32
  config.corpus.folder = str(tmp_path / 'release')
  config.data_dir = str(tmp_path / 'data')
  with caplog.at_level(logging.INFO, 'advspeech'):
    experiment.prepare(config)
  beside = [line for line in caplog.messages if ', in the paper ' in line]
  assert len(beside) == len(iemocap.PAPER)
  assert not any('differs' in line for line in beside)
  assert all(r.levelno == logging.INFO for r in caplog.records)
  for name, classes, sizes in (
    ('gender', {'female': 4800, 'male': 5239}, [7529, 502, 2008]),
    ('emotion', {'angry': 1103, 'sad': 1084}, [1640, 109, 438]),
    (
      'speaker',
      {'Ses01F': 873, 'Ses02F': 859, 'Ses01M': 946, 'Ses02M': 952},
      [2722, 182, 726],
    ),
  ):
    config.task = iemocap_config.get_config(name).task
    corpus, task, splits = data.read(config)
    columns = (corpus.speaker, corpus.sex, corpus.emotion, corpus.session)
    found = zip(*columns, strict=True)
    assert dict(zip(corpus.ids, found, strict=True)) == expected
    counts = np.bincount(task.labels)
    assert dict(zip(task.classes, counts, strict=True)) == classes
    assert [len(split) for split in splits.values()] == sizes
    for split, share in zip(splits.values(), holdout.FRACTIONS, strict=True):
      assert np.abs(np.bincount(split.labels) - share * counts).max() <= 1


def test_the_papers_counts_add_up():
  paper = iemocap.PAPER
  assert paper['female'] + paper['male'] == paper['utterances'] == 10_039
  assert paper['speakers of session 1'] == (873, 946)
  assert paper['speakers of session 2'] == (859, 952)


def test_a_missing_and_an_empty_sentence_are_named_or_counted(tmp_path):
  expected = stand_ins.iemocap(tmp_path / 'release')
  spoilt = stand_ins.spoil_iemocap(tmp_path / 'release')
  with pytest.raises(
    errors.InputError, match=rf'{spoilt[0]}\.wav is missing; put .*--skip_bad'
  ):
    utterances('iemocap', tmp_path / 'release')
  found = utterances('iemocap', tmp_path / 'release', skip_bad=True)
  skipped = [item for item in found if hasattr(item, 'reason')]
  assert len(skipped) == 2
  for id_, item in zip(spoilt, skipped, strict=True):
    assert id_ in item.name
  left = {item.id for item in found if hasattr(item, 'pcm')}
  assert left == set(expected) - set(spoilt)


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    ('\tang\t', '\tzzz\t', "unknown label 'zzz'"),
    (
      'Ses01F_impro01_M000',
      'Ses02F_impro01_M000',
      'not the id of an utterance',
    ),
    ('\tang\t', ' ang ', r'Ses01F_impro01\.txt line 3 begins as a summary lin'),
    ('[6.2901 -', '[6,2901 -', r'line 3 begins as a summary line and is none'),
  ],
)
def test_a_table_that_was_changed_is_named(tmp_path, old, new, message):
  stand_ins.iemocap(tmp_path / 'r')
  table = tmp_path / 'r/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
  table.write_text(table.read_text().replace(old, new, 1))
  with pytest.raises(errors.InputError, match=message):
    utterances('iemocap', tmp_path / 'r')


def test_a_chosen_channel_is_read_alone(tmp_path):
  stand_ins.iemocap(tmp_path / 'release')
  for folder in (tmp_path / 'release').glob('Session[1345]'):
    shutil.rmtree(folder)
  for u in utterances('iemocap', tmp_path / 'release', channels='1'):
    np.testing.assert_array_equal(u.pcm, stand_ins.tone(u.id) // 2)
  with pytest.raises(errors.InputError, match=r'has 2 channels.* no channel 2'):
    utterances('iemocap', tmp_path / 'release', channels='2')


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (lambda path: path.unlink(), r'VideoDemographics\.csv is missing; put it'),
    (
      lambda path: path.write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
      ),
      r'VideoDemographics\.csv is a pointer .*; run git lfs pull',
    ),
    (lambda path: path.write_text('a,b\n1,2\n'), "cannot be read.*'ActorID'"),
    (lambda path: path.write_bytes(b'\xff\xfe\0'), 'cannot be read'),
    (
      lambda path: path.write_text('ActorID,Sex\n1001,Male\n'),
      'actor 1002, who is not in',
    ),
  ],
)
def test_crema_d_needs_its_table_of_actors(tmp_path, spoil, message):
  stand_ins.crema_d(tmp_path / 'r')
  spoil(tmp_path / 'r' / 'VideoDemographics.csv')
  with pytest.raises(errors.InputError, match=message):
    utterances('crema_d', tmp_path / 'r')


def test_emodb_has_five_men_and_five_women():
  assert collections.Counter(emodb.SEXES.values()) == {'male': 5, 'female': 5}


def test_savee_in_one_folder_is_the_same_corpus(tmp_path):
  stand_ins.savee(tmp_path / 'a')
  stand_ins.savee(tmp_path / 'b', flat=True)
  a, b = (
    {u.id: u.emotion for u in utterances('savee', tmp_path / name)}
    for name in 'ab'
  )
  assert a == b


@pytest.mark.parametrize('name', ['crema_d', 'emodb', 'savee'])
def test_a_file_of_another_name_is_reported(name, tmp_path):
  RELEASES[name][1](tmp_path / 'r')
  below = {'crema_d': 'AudioWAV', 'emodb': 'wav', 'savee': 'AudioData/DC'}
  stand_ins.write(tmp_path / 'r' / below[name] / 'take-1.wav', 'take')
  with pytest.raises(errors.InputError, match=r'take-1\.wav is not named as'):
    utterances(name, tmp_path / 'r')
  found = utterances(name, tmp_path / 'r', skip_bad=True)
  assert [item.name for item in found if hasattr(item, 'reason')]
