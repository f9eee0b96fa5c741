"""Any recordings: manifests, sub-folders, formats, and what can be wrong."""

import cProfile
import logging
import os
import pstats
import unicodedata

import numpy as np
import pytest
import soundfile
import stand_ins

from advspeech import corpora, errors, holdout, input_pipeline, tasks
from advspeech.corpora import clip_warnings, records
from advspeech.corpora import folder as folder_corpus


@pytest.fixture
def folder(tmp_path):
  return tmp_path / 'recordings'


def utterances(folder, **options):
  """Returns what the builder yields, without writing a data set."""
  builder = folder_corpus.Folder(
    folder=str(folder), data_dir='unused', file_format='array_record', **options
  )
  return list(builder.utterances())


def write_manifest(folder, text, encoding='utf-8', name='manifest.csv'):
  (folder / name).write_bytes(text.encode(encoding))


def test_without_a_manifest_each_sub_folder_is_a_class(folder):
  stand_ins.write(folder / 'dog' / 'a.wav', 'dog/a')
  stand_ins.write(folder / 'cat' / 'deep' / 'a.wav', 'cat/deep/a')
  stand_ins.write(folder / 'cat' / '.hidden.wav', 'hidden')
  (folder / 'cat' / 'notes.txt').write_text('miaow')
  found = utterances(folder)
  assert {u.id: u.label for u in found} == {
    'cat__deep__a': 'cat',
    'dog__a': 'dog',
  }
  for u in found:
    np.testing.assert_array_equal(
      u.pcm, stand_ins.tone(u.id.replace('__', '/'))
    )
  stand_ins.write(folder / 'lost.wav', 'lost')
  with pytest.raises(errors.InputError, match=r'lost\.wav lies in no sub-fold'):
    utterances(folder)


def test_a_label_may_have_a_slash(folder):
  stand_ins.write(folder / 'a.wav', 'a')
  write_manifest(folder, 'path,label\na.wav,yes/no\n')
  assert [u.label for u in utterances(folder)] == ['yes/no']


def test_a_class_of_a_name_in_two_lines_is_told_in_one(folder):
  stand_ins.write(folder / 'tw\no' / 'a.wav', 'a')
  with pytest.raises(errors.InputError, match=r"tw\\no/a\.wav': an id must"):
    utterances(folder)


def test_links_are_followed_and_loops_are_not(folder, tmp_path):
  stand_ins.write(tmp_path / 'elsewhere' / 'deep' / 'a.wav', 'a')
  stand_ins.write(tmp_path / 'single.wav', 'b')
  stand_ins.write(folder / 'dog' / 'c.wav', 'c')
  (folder / 'cat').symlink_to(tmp_path / 'elsewhere')
  (folder / 'dog' / 'b.wav').symlink_to(tmp_path / 'single.wav')
  (folder / 'dog' / 'up').symlink_to(folder)
  (tmp_path / 'elsewhere' / 'back').symlink_to(folder / 'cat')
  expected = {'cat__deep__a': 'cat', 'dog__b': 'dog', 'dog__c': 'dog'}
  assert {u.id: u.label for u in utterances(folder)} == expected
  write_manifest(folder, 'path,label\ncat/deep/a.wav,x\ndog/b.wav,y\n')
  assert [u.label for u in utterances(folder)] == ['x', 'y']


def test_a_chain_of_links_that_double_is_refused(folder):
  """Twenty levels with two links each lead a million ways to the last."""
  stand_ins.write(folder / 'c' / 'level20' / 'a.wav', 'a')
  for level in range(20):
    here = folder / 'c' / f'level{level}'
    here.mkdir()
    for name in ('x', 'y'):
      (here / name).symlink_to(folder / 'c' / f'level{level + 1}')
  with pytest.raises(errors.InputError, match='in more than 64 ways, through'):
    utterances(folder)


@pytest.mark.parametrize('kind', ['link', 'pipe', 'device', 'folder'])
def test_a_manifest_that_is_no_file_is_not_passed_over(folder, kind):
  stand_ins.write(folder / 'cat' / 'a.wav', 'a')
  manifest = folder / 'manifest.csv'
  {
    'link': lambda: manifest.symlink_to(folder / 'nowhere.csv'),
    'pipe': lambda: os.mkfifo(manifest),
    'device': lambda: manifest.symlink_to('/dev/zero'),
    'folder': manifest.mkdir,
  }[kind]()
  with pytest.raises(
    errors.InputError,
    match=r'manifest\.csv (is missing; put it|must be a file of at most 1 GB)',
  ):
    utterances(folder)


def test_a_line_of_a_manifest_takes_few_calls(folder):
  """Paths as objects took 860 a line, and a million lines five minutes."""
  folder.mkdir()
  lines = [f'd/{i}.wav,{"ab"[i % 2]},s{i % 9}' for i in range(500)]
  write_manifest(folder, '\n'.join(['path,label,speaker', *lines]))
  listed = folder_corpus.Folder(folder=str(folder), data_dir='unused')
  profile = cProfile.Profile()
  source = profile.runcall(listed.source)
  assert listed.num_utterances() == len(lines)
  assert source['folder'] == str(folder)
  calls = pstats.Stats(profile).total_calls
  assert calls < 320 * len(lines), calls / len(lines)


def test_two_names_of_a_folder_are_two_classes(folder):
  stand_ins.write(folder / 'cat' / 'a.wav', 'a')
  (folder / 'feline').symlink_to('cat')
  assert [u.label for u in utterances(folder)] == ['cat', 'feline']


def test_files_that_are_not_read_are_counted_and_named(
  folder, tmp_path, caplog
):
  stand_ins.write(folder / 'x' / 'a.wav', 'a')
  for i in range(7):
    (folder / 'x' / f'{i}.m4a').write_bytes(b'ftyp')
  with caplog.at_level(logging.INFO, 'advspeech'):
    corpora.prepare(
      'folder', folder=str(folder), data_dir=str(tmp_path / 'data')
    )
  (said,) = (m for m in caplog.messages if 'passed over' in m)
  assert said.startswith('passed over 7 files that are not named as recordings')
  assert said.endswith(
    "the first: 'x/0.m4a', 'x/1.m4a', 'x/2.m4a', 'x/3.m4a', 'x/4.m4a'"
  )


def test_a_manifest_says_everything(folder):
  for name in ('a', 'b c', 'sub/d'):
    stand_ins.write(folder / f'{name}.wav', name)
  write_manifest(
    folder,
    'label,path,id,split,speaker,statement,take\r\n'
    'yes,a.wav,first,train,ann,hello,1\r\n'
    '"no, never",b c.wav,,test,"bob ""the"" x",,\r\n'
    ' yes ,./sub//d.wav,,,,,\r\n',
    'utf-8-sig',
  )
  found = utterances(folder)
  assert [(u.id, u.label, u.speaker, u.split) for u in found] == [
    ('first', 'yes', 'ann', 'train'),
    ('b c', 'no, never', 'bob "the" x', 'test'),
    ('sub__d', 'yes', '', ''),
  ]
  said = [(u.statement, u.take) for u in found]
  assert said == [('hello', '1'), ('', ''), ('', '')]
  np.testing.assert_array_equal(found[0].pcm, stand_ins.tone('a'))


def test_a_manifest_may_lie_elsewhere(folder, tmp_path):
  stand_ins.write(folder / 'a.wav', 'a')
  write_manifest(tmp_path, 'path,label\na.wav,x\n', name='list.csv')
  (u,) = utterances(folder, manifest=str(tmp_path / 'list.csv'))
  assert u.label == 'x'
  with pytest.raises(errors.InputError, match=r'none\.csv is missing; put'):
    utterances(folder, manifest='none.csv')


@pytest.mark.parametrize(
  ('suffix', 'rate_hz', 'channels'),
  [
    ('wav', 8_000, 1),
    ('flac', 44_100, 2),
    ('ogg', 22_050, 1),
    ('mp3', 32_000, 2),
    ('aiff', 96_000, 6),
  ],
)
def test_any_format_rate_and_channel_count_is_read(
  folder, suffix, rate_hz, channels
):
  folder.mkdir()
  time_s = np.arange(rate_hz) / rate_hz
  wave = 0.5 * np.sin(2 * np.pi * 440 * time_s)
  path = folder / 'x' / f'a.{suffix}'
  path.parent.mkdir()
  soundfile.write(path, np.stack([wave] * channels, 1), rate_hz)
  (u,) = utterances(folder)
  assert len(u.pcm) == pytest.approx(16_000, abs=1200)  # mp3 pads
  spectrum = np.abs(np.fft.rfft(u.pcm[2000:10_000]))
  assert np.argmax(spectrum) == 220


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('path,klass\na.wav,x\n', r"such as label.*'path,klass'; expected path"),
    ('label\nx\n', "one column path, its first line is 'label'; expected"),
    ('path,id,split\na.wav,a,test\n', 'a column that tells clips apart'),
    ('path,label,label\na.wav,x,y\n', 'one column label'),
    ('path,label,id,id\na.wav,x,y,z\n', 'one column id'),
    ('', 'one column path'),
    ('path,label\na.wav,x,y\n', 'line 2 has another number of cells'),
    ('path,label\na.wav\n', 'line 2 has another number of cells'),
    (
      'path,label\na.wav,\n',
      r'line 2 has no label; fill it in, or pass --skip',
    ),
    ('path,label\n,x\n', 'line 2 has no path'),
    ('path,label\n../a.wav,x\n', r'\.\./a\.wav is not in .*recordings'),
    ('path,label\nb/../../a.wav,x\n', 'is not in'),
    ('path,label\n/etc/a.wav,x\n', 'is not in'),
    ('path,label\na.txt,x\n', r'a\.txt is named as no recording is'),
    ('path,label\na.wav\0.wav,x\n', 'no file can be named'),
    ('path,label,id\na.wav,x,b/c\n', 'must be without a slash'),
    (f'path,label,id\na.wav,x,{"é" * 91}\n', 'at most 180 bytes'),
    ('path,label\na.wav,"x\ny"\n', 'like label, speaker and the others one'),
    (
      'path,label,id\na.wav,x,1\n./a.wav,y,2\n',
      "line 3: a.wav has the label 'y' and, further up, 'x'; remove one",
    ),
    ('path,label\nb.wav,x\n', r'b\.wav is missing; put it back'),
    ('path,label\n"a.wav,x\n', 'cannot be read as CSV in UTF-8'),
    ('path,label\n', 'every recording of folder was skipped'),
  ],
)
def test_a_manifest_that_is_wrong_is_told_where(
  folder, tmp_path, text, message
):
  stand_ins.write(folder / 'a.wav', 'a')
  stand_ins.write(tmp_path / 'a.wav', 'not in the folder')
  write_manifest(folder, text)
  with pytest.raises(errors.InputError, match=message):
    corpora.prepare(
      'folder', folder=str(folder), data_dir=str(tmp_path / 'data')
    )


def test_a_manifest_in_another_encoding_is_reported(folder):
  stand_ins.write(folder / 'é.wav', 'a')
  write_manifest(folder, 'path,label\né.wav,x\n', 'latin-1')
  with pytest.raises(errors.InputError, match='cannot be read as CSV in UTF-8'):
    utterances(folder)


def test_names_in_other_scripts_are_kept_and_names_in_none_are_reported(folder):
  for name in ('שלם-2', '\u200fשלם', 'Zoë', '日本'):
    stand_ins.write(folder / 'x' / f'{name}.wav', name)
  assert {u.id for u in utterances(folder)} == {
    f'x__{name}' for name in ('שלם-2', '\u200fשלם', 'Zoë', '日本')
  }
  bad = os.path.join(os.fsencode(folder), b'x', b'caf\xe9.wav')
  os.rename(os.fsencode(folder / 'x' / 'Zoë.wav'), bad)
  with pytest.raises(errors.InputError, match='is not named in UTF-8; rename'):
    utterances(folder)
  found = utterances(folder, skip_bad=True)
  assert len([u for u in found if hasattr(u, 'pcm')]) == 3


@pytest.fixture
def prepared(folder, tmp_path, caplog):
  """A folder with every duplicate there is, prepared; and what was said."""
  rows = ['path,label,speaker,split,id']
  for i in range(12):
    stand_ins.write(folder / f'{i}.wav', str(i), num_samples=800 + 16 * i)
    split = ('train', 'train', 'validation', 'test')[i % 4]
    rows.append(f'{i}.wav,{"yn"[i % 2]},s{i % 3},{split},')
  stand_ins.write(folder / 'copy.wav', '3', num_samples=848)
  rows += ['copy.wav,y,s0,train,', '5.wav,n,s0,train,7', '5.wav,n,s2,train,']
  write_manifest(folder, '\n'.join(rows))
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}
  with caplog.at_level(logging.INFO, 'advspeech'):
    corpora.prepare('folder', **where)
  return where, caplog.messages


def test_what_may_spoil_an_experiment_is_said_by_name(prepared):
  _, messages = prepared
  said = '\n'.join(messages)
  assert '3 and copy are the same samples' in said
  assert 'class n has only 6 clips' in said
  assert 'class y has only 7 clips' in said
  assert 'speaker s0 is in several splits, test, train, validation' in said
  assert 'has the id 7 of' in said
  assert 'has the id 5 of' in said
  assert any(m.startswith('folder: 13 clips, 0.0 minutes') for m in messages)
  assert 'label: n 6 (0.0 min), y 7 (0.0 min)' in said


def clip(id_, digest, **columns):
  columns = {**dict.fromkeys(records.COLUMNS, ''), **columns}
  return clip_warnings.Clip(id_, columns, 1.0, digest, False, 0.0)


@pytest.mark.parametrize('number', [10, 11])
def test_a_class_of_fewer_clips_than_a_split_needs_is_reported(number):
  clips = [
    clip(str(i), str(i), **dict.fromkeys(records.COLUMNS, 'x'))
    for i in range(number)
  ]
  said = '\n'.join(clip_warnings.warnings(clips))
  assert ('class x has only 10 clips; a stratified split needs 11' in said) == (
    number == 10
  )


def test_what_is_wrong_with_many_clips_is_said_of_a_few():
  clips = [clip(f'{i}', f'{i // 2}', speaker=f's{i}') for i in range(40)]
  clips += [clip(f'x{i}', f'x{i}', label=f'l{i}') for i in range(20)]
  clips += [
    clip(f'{split}{i}', f'{split}{i}', speaker=f't{i}', split=split)
    for i in range(20)
    for split in ('train', 'test')
  ]
  clips += [clip(f's{i}', f's{i}')._replace(is_silent=True) for i in range(20)]
  said = clip_warnings.warnings(clips)
  assert len(said) == 1 + 3 * 6
  assert '0 and 1 are the same samples' in said[1]
  assert (
    '20 groups of clips are the same samples; the first are named' in said[6]
  )
  assert '20 classes have too few clips' in said[12]
  assert '20 speakers are in several splits' in said[18]
  assert 's0, s1, s2, s3, s4 and 15 others; leave them out' in said[0]


def test_a_second_copy_of_the_tree_is_said_once(folder, tmp_path, caplog):
  for name in ('a/1', 'a/2', 'b/deep/3', 'b/4'):
    for top in ('', 'copy/'):
      stand_ins.write(folder / f'{top}{name}.wav', name)
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}
  corpora.prepare('folder', **where)
  assert [m for m in caplog.messages if 'same samples' in m] == [
    '4 clips in copy are the same samples as clips outside it, such as '
    'copy__a__1 and a__1; remove the copy, of which class copy is made, or a '
    'clip may be trained on and tested'
  ]


def test_silent_and_clipped_recordings_are_named(folder, tmp_path, caplog):
  rng = np.random.default_rng(0)
  speech = rng.normal(0, 0.1, 16_000)
  for name, samples in {
    'speech': speech / np.abs(speech).max(),
    'zeros': np.zeros(16_000),
    'offset': np.full(16_000, 0.3),
    'hum': 1e-5 * speech,
    'loud': 12 * speech,
  }.items():
    (folder / 'x').mkdir(parents=True, exist_ok=True)
    soundfile.write(
      folder / 'x' / f'{name}.wav', samples, 16_000, subtype='FLOAT'
    )
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}
  corpora.prepare('folder', **where)
  (silent,) = (m for m in caplog.messages if m.startswith('silent'))
  assert 'x__hum, x__offset, x__zeros; leave them out' in silent
  (clipped,) = (m for m in caplog.messages if m.startswith('clipped'))
  share = np.mean(np.abs(12 * speech) >= 1)
  assert f'full scale: x__loud ({share:.1%}); leave' in clipped
  record = corpora.read('folder', num_samples=10, **where).metadata
  assert record['silent'] == ['x__hum', 'x__offset', 'x__zeros']
  assert record['clipped'] == {'x__loud': pytest.approx(share)}


@pytest.mark.parametrize('listed', ['NFC', 'NFD'])
@pytest.mark.parametrize('stored', ['NFC', 'NFD'])
def test_accents_may_be_composed_in_another_way(folder, listed, stored):
  name = 'Zo\u00eb/caf\u00e9'
  on_disk = unicodedata.normalize(stored, name)
  stand_ins.write(folder / f'{on_disk}.wav', 'a')
  (found,) = utterances(folder)
  assert (found.id, found.label) == (name.replace('/', '__'), 'Zo\u00eb')
  text = unicodedata.normalize(listed, f'path,label\n{name}.wav,\u00e9\n')
  write_manifest(folder, text)
  (found,) = utterances(folder)
  assert (found.id, found.label) == (name.replace('/', '__'), '\u00e9')


def test_a_manifest_may_have_backslashes(folder):
  stand_ins.write(folder / 'Actor' / 'deep' / 'x.wav', 'x')
  write_manifest(folder, 'path,label\n.\\Actor\\deep\\x.wav,y\n')
  (found,) = utterances(folder)
  assert found.id == 'Actor__deep__x'
  stand_ins.write(folder / 'Actor\\deep\\x.wav', 'its very name')
  write_manifest(folder, 'path,label\nActor\\deep\\x.wav,y\n')
  (found,) = utterances(folder)
  np.testing.assert_array_equal(found.pcm, stand_ins.tone('its very name'))
  for name in ('C:\\Actor\\y.wav', '..\\y.wav', '\\\\host\\y.wav'):
    write_manifest(folder, f'path,label\n{name},y\n')
    with pytest.raises(
      errors.InputError, match=r'is not in .*recordings; paths'
    ):
      utterances(folder)
  write_manifest(folder, 'path,label\nActor\\y.wav,y\n')
  with pytest.raises(errors.InputError, match=r'Actor/y\.wav is missing'):
    utterances(folder)


def test_pointers_and_dangling_links_are_reported(folder):
  pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
  (folder / 'x').mkdir(parents=True)
  (folder / 'x' / 'a.wav').write_text(pointer)
  with pytest.raises(
    errors.InputError, match=r'a\.wav is a pointer.*git lfs p'
  ):
    utterances(folder)
  (folder / 'x' / 'a.wav').unlink()
  (folder / 'x' / 'a.wav').symlink_to('../.git/annex/objects/a.wav')
  with pytest.raises(
    errors.InputError, match=r'a link to \.\./\.git/annex.*, which is missing'
  ):
    utterances(folder)
  write_manifest(folder, pointer)
  with pytest.raises(errors.InputError, match=r'manifest\.csv is a pointer'):
    utterances(folder)


def test_only_the_first_of_many_skips_are_reported_and_all_are_recorded(
  folder, tmp_path, caplog
):
  stand_ins.write(folder / 'x' / 'a.wav', 'a')
  for i in range(20):
    (folder / 'x' / f'b{i:02d}.wav').write_bytes(b'')
  where = {'folder': str(folder), 'data_dir': str(tmp_path / 'data')}
  corpora.prepare('folder', skip_bad=True, **where)
  said = [m for m in caplog.messages if 'skipped' in m]
  assert len(said) == 6
  assert 'b00.wav cannot be read as audio (it is empty)' in said[0]
  assert said[-1].startswith('20 recordings were skipped')
  corpus = corpora.read('folder', num_samples=10, **where)
  assert len(corpus.metadata['skipped']) == 20


def test_no_label_moved_to_another_clip(prepared):
  where, _ = prepared
  corpus = corpora.read('folder', num_samples=1000, **where)
  assert len(corpus.ids) == 13
  for id_, label, pcm, count in zip(
    corpus.ids, corpus.label, corpus.pcm[:], corpus.num_samples, strict=True
  ):
    number = 3 if id_ == 'copy' else int(id_)
    assert label == ('y' if id_ == 'copy' else 'yn'[number % 2])
    assert count == 800 + 16 * number
    np.testing.assert_array_equal(
      pcm[:count], stand_ins.tone(str(number), count)
    )
  task = tasks.select(
    'label',
    speaker=corpus.speaker,
    sex=corpus.sex,
    emotion=corpus.emotion,
    label=corpus.label,
  )
  assert task.classes == ('n', 'y')
  split = holdout.given(corpus.ids, task.labels, corpus.split[task.rows])
  assert {len(rows) for rows in split.values()} == {7, 3}


def test_a_manifest_without_labels_has_other_tasks(folder, tmp_path):
  rows = ['path,sex,emotion,session,speaker']
  for i in range(40):
    stand_ins.write(folder / f'{i:02d}.wav', str(i), 800)
    sex, emotion = ('female', 'male')[i % 2], ('angry', 'sad', 'calm')[i % 3]
    rows.append(f'{i:02d}.wav,{sex},{emotion},{i % 5},voice-{i % 8}')
  write_manifest(folder, '\n'.join(rows))
  where = {'folder': str(folder), 'data_dir': str(tmp_path)}
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=800, **where)
  columns = {key: getattr(corpus, key) for key in tasks.GROUPS}
  gender = tasks.select('gender', **columns)
  assert gender.labels.tolist() == [i % 2 for i in range(40)]
  emotion = tasks.select('emotion', ('calm', 'angry'), **columns)
  assert emotion.labels.tolist() == [
    i % 3 == 0 for i in range(40) if i % 3 != 1
  ]
  splits = input_pipeline.make_splits(
    corpus, gender, 'leave_one_session_out', 0, '3', 'speaker'
  )
  assert {int(id_) % 5 for id_ in splits['test'].ids} == {3}
  assert len(splits['test']) == 8


def test_another_channel_is_another_data_set(prepared):
  where, _ = prepared
  with pytest.raises(
    errors.InputError, match=r'config\.corpus\.channels=mean, not 0; remove'
  ):
    corpora.read('folder', num_samples=10, **where, channels='0')


def test_another_label_is_another_data_set(prepared, folder):
  where, _ = prepared
  manifest = folder / 'manifest.csv'
  manifest.write_text(manifest.read_text().replace('0.wav,y', '0.wav,n', 1))
  with pytest.raises(errors.InputError, match='prepared from other recordings'):
    corpora.read('folder', num_samples=10, **where)
