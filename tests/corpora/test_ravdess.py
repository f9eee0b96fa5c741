"""RAVDESS: names are metadata, wrong files are named, bytes are kept."""

import collections
import logging
import shutil

import numpy as np
import pytest
import soundfile

from advspeech import corpora, errors, input_pipeline, tasks
from configs import ravdess


def write(folder, name, seconds=0.2, rate_hz=48_000, channels=1, **kwargs):
  rng = np.random.default_rng(sum(map(ord, name)))
  samples = rng.uniform(-0.1, 0.1, (int(seconds * rate_hz), channels))
  path = folder / f'Actor_{name[18:20]}' / name
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, samples, rate_hz, **kwargs)
  return path


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'ravdess'
  write(folder, '03-01-05-01-02-01-12.wav')
  write(folder, '03-01-04-02-01-02-11.wav', channels=2)
  write(folder, '03-01-08-01-01-01-01.flac', rate_hz=16_000)
  return folder


def prepare(folder, tmp_path, **kwargs):
  data_dir = str(tmp_path / 'data')
  corpora.prepare('ravdess', folder=str(folder), data_dir=data_dir, **kwargs)
  return corpora.read('ravdess', data_dir=data_dir, num_samples=4000)


def test_names_are_the_metadata(folder, tmp_path):
  corpus = prepare(folder, tmp_path)
  rows = {
    str(i): (str(s), str(x), str(e))
    for i, s, x, e in zip(
      corpus.ids, corpus.speaker, corpus.sex, corpus.emotion, strict=True
    )
  }
  assert rows == {
    '03-01-05-01-02-01-12': ('actor_12', 'female', 'angry'),
    '03-01-04-02-01-02-11': ('actor_11', 'male', 'sad'),
    '03-01-08-01-01-01-01': ('actor_01', 'male', 'surprised'),
  }
  # What is a take of what: all but which of the two it is.
  assert dict(zip(corpus.ids, corpus.take, strict=True)) == {
    '03-01-05-01-02-01-12': '03-01-05-01-02-12',
    '03-01-04-02-01-02-11': '03-01-04-02-01-11',
    '03-01-08-01-01-01-01': '03-01-08-01-01-01',
  }
  assert sorted(corpus.statement) == ['01', '01', '02']


def test_48_khz_stereo_and_16_khz_flac_end_at_16_khz(folder, tmp_path):
  corpus = prepare(folder, tmp_path)
  np.testing.assert_array_equal(corpus.num_samples, [3200, 3200, 3200])
  path = folder / 'Actor_01' / '03-01-08-01-01-01-01.flac'
  row = list(corpus.ids).index(path.stem)
  np.testing.assert_array_equal(
    corpus.pcm[[row]][0, :3200], soundfile.read(path, dtype='int16')[0]
  )


def test_songs_videos_and_hidden_files_are_passed_over(folder, tmp_path):
  write(folder, '03-02-05-01-02-01-12.wav')
  write(folder, '02-01-05-01-02-01-12.wav')
  (folder / '._03-01-05-01-02-01-12.wav').write_bytes(b'resource fork')
  (folder / 'LICENSE.txt').write_text('by-nc-sa')
  assert len(prepare(folder, tmp_path).ids) == 3


def test_no_folder_is_reported(tmp_path):
  with pytest.raises(errors.InputError, match=r'--config\.corpus\.folder='):
    prepare('', tmp_path)
  with pytest.raises(errors.InputError, match='nowhere is not a folder'):
    prepare(tmp_path / 'nowhere', tmp_path)


def test_a_folder_without_recordings_is_named(tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(errors.InputError, match='empty holds no recordings'):
    prepare(tmp_path / 'empty', tmp_path)


def corrupt(folder):
  path = folder / 'Actor_02' / '03-01-05-01-02-01-02.wav'
  path.parent.mkdir()
  path.write_bytes(b'RIFF....not really')
  return path.name, 'cannot be read as audio'


def empty(folder):
  name = '03-01-05-01-02-01-04.wav'
  write(folder, name, seconds=0)
  return name, 'holds no samples'


def misnamed(folder):
  name = 'angry-speech-take-1.wav'
  write(folder, name)
  return name, 'is not named as RAVDESS'


@pytest.mark.parametrize('spoil', [corrupt, empty, misnamed])
def test_a_bad_recording_is_named_and_nothing_is_left_behind(
  folder, tmp_path, spoil
):
  name, reason = spoil(folder)
  with pytest.raises(errors.InputError, match=rf'{name} {reason}.*--skip_bad'):
    prepare(folder, tmp_path)
  with pytest.raises(errors.InputError, match='holds no prepared'):
    corpora.read('ravdess', data_dir=str(tmp_path / 'data'), num_samples=10)


def test_skip_bad_leaves_them_out_and_counts_them(folder, tmp_path):
  spoilt = [spoil(folder)[0] for spoil in (corrupt, empty, misnamed)]
  corpus = prepare(folder, tmp_path, skip_bad=True)
  assert len(corpus.ids) == 3
  skipped = [entry['name'] for entry in corpus.metadata['skipped']]
  assert len(skipped) == 3
  assert all(any(s.endswith(name) for s in skipped) for name in spoilt)


def copy_of(folder):
  """Puts the tree into itself, as one archive of it has it; returns where."""
  nested = folder / 'audio_speech_actors_01-24'
  shutil.copytree(folder, nested)
  return nested


def test_a_tree_that_is_there_twice_is_read_once(folder, tmp_path, caplog):
  nested = copy_of(folder)
  with caplog.at_level(logging.INFO, 'advspeech'):
    corpus = prepare(folder, tmp_path)
  assert len(corpus.ids) == 3
  (said,) = (m for m in caplog.messages if 'passed over' in m)
  assert said == (
    'passed over 3 copies, byte for byte, of recordings that are read, such as '
    f'{nested}/Actor_01/03-01-08-01-01-01-01.flac of '
    f'{folder}/Actor_01/03-01-08-01-01-01-01.flac'
  )
  # It is the same data set without them.
  shutil.rmtree(nested)
  assert len(prepare(folder, tmp_path).ids) == 3


def test_recordings_of_one_name_that_differ_are_refused(folder, tmp_path):
  copy_of(folder)
  write(folder, '03-01-05-01-02-01-12.wav', seconds=0.1)
  with pytest.raises(
    errors.InputError,
    match=r'3 recordings of .*ravdess are there twice by name and 1 of them '
    r'differ, such as .*12/03-01-05-01-02-01-12\.wav and .*; remove one',
  ):
    prepare(folder, tmp_path)


def test_a_data_set_made_from_other_recordings_is_not_taken(folder, tmp_path):
  prepare(folder, tmp_path)
  write(folder, '03-01-05-01-02-01-09.wav')
  with pytest.raises(errors.InputError, match='prepared from other recordings'):
    prepare(folder, tmp_path)


@pytest.mark.slow
def test_the_real_corpus_has_1440_clips_of_24_actors(ravdess_folder, tmp_path):
  corpora.prepare('ravdess', folder=ravdess_folder, data_dir=str(tmp_path))
  corpus = corpora.read('ravdess', data_dir=str(tmp_path), num_samples=96_000)
  assert len(corpus.ids) == 1440
  assert collections.Counter(corpus.sex) == {'female': 720, 'male': 720}
  assert set(collections.Counter(corpus.speaker).values()) == {60}
  emotions = collections.Counter(corpus.emotion)
  assert emotions['angry'] == emotions['sad'] == 192
  columns = {key: getattr(corpus, key) for key in tasks.GROUPS}
  for variant, counts in (
    ('emotions', [96, *[192] * 7]),
    ('calm_fearful', [192, 192]),
    ('speakers', [60] * 16),
  ):
    config = ravdess.get_config(variant)
    task = tasks.select(config.task, config.classes, **columns)
    assert np.bincount(task.labels).tolist() == counts
    splits = input_pipeline.make_splits(
      corpus, task, 'stratified', 0, '', 'speaker'
    )
    assert sum(map(len, splits.values())) == sum(counts)
