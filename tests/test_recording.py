"""Any recording against any trained model: what is written, and refused."""

import json
import subprocess
import sys
import types

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import shallow
import soundfile
import tiny

from advspeech import audio, checkpoint, errors, recording, storage

pytestmark = pytest.mark.usefixtures('shallow_networks')

EPSILONS = ('0', '1lsb', '0.05', '0dbsnr')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp('model') / 'wavecnn-seed0'
  config = tiny.get_config()
  tiny.run(config, folder)
  return folder


@pytest.fixture(scope='module')
def tone(tmp_path_factory):
  """A low tone of three clips' length, at another rate and in stereo."""
  path = tmp_path_factory.mktemp('audio') / 'tone é.wav'
  seconds = np.arange(3 * tiny.TIME * 3) / 48_000
  wave = 0.25 * np.sin(2 * np.pi * 200 * seconds)
  soundfile.write(path, np.stack([wave, wave], -1), 48_000, subtype='PCM_24')
  return path


def test_writes_sounds_a_table_and_a_figure(model, tone, tmp_path, caplog):
  rows = recording.attack(str(model), str(tone), EPSILONS, str(tmp_path))
  assert 'hears the first 0.08 s; the rest is left out' in caplog.text
  table = storage.read_table(str(tmp_path / 'answers.csv'))
  assert tuple(table[0]) == recording.COLUMNS
  assert [row['epsilon_given'] for row in rows] == [*EPSILONS]
  original = audio.load(tmp_path / 'original.wav').astype(int)
  assert len(original) == tiny.TIME
  for row, limit in zip(rows, (0, 1, 3277, None), strict=True):
    moved = audio.load(tmp_path / row['file']).astype(int) - original
    assert limit is None or np.abs(moved).max() <= limit
    exact = audio.read(tmp_path / row['file'].replace('.wav', '-float32.wav'))
    assert len(exact) == len(original)
  # The clean clip is what the model made of it, in every form.
  assert len({rows[0][k] for k in ('memory', 'float32', 'int16')}) == 1
  assert rows[3]['snr_db'] == pytest.approx(0, abs=0.1)
  assert {row['leaves'] for row in rows} == {'own answer'}
  beliefs = [row['label_probability'] for row in rows]
  assert beliefs[2] < beliefs[0]
  for suffix in ('png', 'svg'):
    assert (tmp_path / f'answers.{suffix}').stat().st_size > 5000


def upwards(problem, radii):
  return problem.perturbed(jnp.ones_like(problem.audio) * radii[:, None])


def test_an_attack_of_ones_own_is_made(model, tone, tmp_path):
  recording.attack(
    str(model),
    str(tone),
    ('16lsb',),
    str(tmp_path),
    attack_name='test_recording:upwards',
  )
  original = audio.load(tmp_path / 'original.wav').astype(int)
  moved = audio.load(tmp_path / 'upwards-16lsb.wav').astype(int) - original
  assert set(moved[np.abs(original) < 30_000].tolist()) == {16}


@pytest.mark.parametrize(
  ('mask', 'seconds', 'whole'),
  [
    ('recorded', 0.04, False),
    pytest.param('all', 0.04, True, marks=pytest.mark.slow),
    pytest.param('padding', 0.04, True, marks=pytest.mark.slow),
  ],
)
def test_files_hold_all_that_was_judged(
  model, tmp_path, monkeypatch, mask, seconds, whole
):
  short = tmp_path / 'short.wav'
  time = np.arange(round(seconds * 16_000)) / 16_000
  soundfile.write(short, 0.25 * np.sin(2 * np.pi * 200 * time), 16_000)
  read = []
  as_heard = audio.read_as_heard

  def spied(path):
    read.append(path)
    return as_heard(path)

  monkeypatch.setattr(audio, 'read_as_heard', spied)
  (row,) = recording.attack(
    str(model), str(short), ('0.05',), str(tmp_path / 'out'), mask=mask
  )
  assert len(read) == 2
  heard = audio.load(tmp_path / 'out' / row['file'])
  assert len(heard) == (tiny.TIME if whole else len(time))
  classifier = checkpoint.load_classifier(str(model))
  clip = np.zeros(tiny.TIME, np.int16)
  clip[: len(heard)] = heard
  logits = classifier.logits_fn(audio.from_pcm(jnp.asarray(clip[None])))
  assert row['int16'] == classifier.metadata['classes'][int(logits.argmax())]


def test_an_answer_to_a_file_is_the_files(model, tone, tmp_path, monkeypatch):
  """A writer that loses the sound is found out."""
  save = audio.save
  monkeypatch.setattr(
    audio, 'save', lambda path, x, kind: save(path, x[::-1] * 0 + 0.5, kind)
  )
  rows = recording.attack(str(model), str(tone), EPSILONS, str(tmp_path))
  silence = jnp.full((1, tiny.TIME), 0.5)
  classifier = checkpoint.load_classifier(str(model))
  answer = classifier.metadata['classes'][
    int(classifier.logits_fn(silence).argmax())
  ]
  for row in rows:
    assert {row['int16'], row['float32']} == {answer}


@pytest.mark.slow
def test_a_target_is_approached(model, tone, tmp_path):
  kwargs = {'attack_name': 'pgd', 'output': str(tmp_path)}
  rows = recording.attack(
    str(model), str(tone), ('0', '0.05'), target='high', **kwargs
  )
  assert rows[0]['leaves'] == ''
  label = rows[0]['memory']
  if label == 'low':
    assert rows[1]['label_probability'] < rows[0]['label_probability']
  else:
    assert rows[1]['memory'] == 'high'


@pytest.mark.parametrize(
  ('change', 'match'),
  [
    ({'target': 'loud'}, "--target must be one of low, high, got 'loud'"),
    ({'attack_name': 'universal'}, '--attack must be one of fgsm, '),
    ({'epsilons': ('1furlong',)}, "got '1furlong'"),
    ({'path': 'none.wav'}, r'none\.wav is missing; put'),
    ({'checkpoint_dir': 'none'}, 'none holds no checkpoints'),
    ({'mask': 'voiced'}, "a mask must be all.*got 'voiced'"),
  ],
)
def test_what_cannot_be_done_is_said(model, tone, tmp_path, change, match):
  kwargs = {
    'checkpoint_dir': str(model),
    'path': str(tone),
    'epsilons': ('0.01',),
    'output': str(tmp_path / 'out'),
    **change,
  }
  with pytest.raises(errors.InputError, match=match):
    recording.attack(**kwargs)
  assert not (tmp_path / 'out').exists()


class Sure(nn.Module):
  """Says the second of two classes to everything."""

  num_classes = 2
  frontend = types.SimpleNamespace(features=1, input_pool=1)

  def __call__(self, audio, *, train, valid=None):
    return 0 * audio[:, :2] + jnp.array([[0.0, 1.0]])


@pytest.fixture
def quiet_model(tmp_path, monkeypatch):
  """A model with a flat loss, in a run of its own, that takes no time."""
  metadata = {
    'classes': ('low', 'high'),
    'clip_samples': 1600,
    'clip': {'pad': 'end', 'cut': 'start', 'normalize': 'none'},
  }
  model = checkpoint.Classifier(
    Sure(), {'params': {'none': jnp.zeros(1)}}, metadata, 1
  )
  monkeypatch.setattr(checkpoint, 'load_classifier', lambda *_, **__: model)
  folder = tmp_path / 'run' / 'model-seed0'
  folder.mkdir(parents=True)
  return folder


def write_config(model, channels):
  (model.parent / 'config.json').write_text(
    json.dumps({'corpus': {'channels': channels}})
  )


@pytest.fixture
def stereo(tmp_path):
  """A low tone on the left, a high one on the right."""
  path = tmp_path / 'sounds' / 'original.wav'
  path.parent.mkdir()
  time_s = np.arange(3200) / 16_000
  soundfile.write(
    path, 0.3 * np.sin(np.outer(time_s, [2 * np.pi * 200, 9000])), 16_000
  )
  return path


def attack(model, path, output, epsilons=('0.01',), **kwargs):
  return recording.attack(
    str(model), str(path), epsilons, str(output), **kwargs
  )


@pytest.mark.slow
def test_the_channel_is_the_one_that_the_model_was_trained_on(
  quiet_model, stereo, tmp_path, caplog
):
  left, right = soundfile.read(stereo, dtype='int16')[0].T.astype(int)[:, :1600]
  mean = np.rint((left + right) / 2)

  def heard(number, **kwargs):
    caplog.clear()
    attack(quiet_model, stereo, tmp_path / f'{number}', **kwargs)
    return audio.load(tmp_path / f'{number}' / 'original.wav')

  np.testing.assert_allclose(heard(0), mean, atol=0.5)
  assert 'has several channels and there is no' in caplog.text
  write_config(quiet_model, '1')
  np.testing.assert_array_equal(heard(1), right)
  assert 'trained on' not in caplog.text
  np.testing.assert_array_equal(heard(2, channels='0'), left)
  assert 'was trained on channel 1 (' in caplog.text
  with pytest.raises(errors.InputError, match='and no channel left; choose'):
    heard(3, channels='left')


def test_no_input_is_overwritten(quiet_model, stereo):
  before = stereo.read_bytes()
  with pytest.raises(
    errors.InputError,
    match=r'sounds holds original\.wav, which is not of this attack; choose '
    r'another folder, such as --output=.*sounds/original-[0-9a-f]{10}$',
  ):
    attack(quiet_model, stereo, stereo.parent)
  assert stereo.read_bytes() == before
  assert len(list(stereo.parent.iterdir())) == 1


@pytest.mark.slow
def test_a_folder_is_one_attacks_and_the_same_again_replaces_it(
  quiet_model, stereo, tmp_path
):
  out = tmp_path / 'out'
  attack(quiet_model, stereo, out, ('0.01', '0.02'))
  (out / 'notes.txt').write_text('mine')
  attack(quiet_model, stereo, out, ('0.03',))
  assert {path.name for path in out.iterdir()} == {
    *('attack.json', 'original.wav', 'answers.csv', 'answers.png'),
    *('answers.svg', 'tables.json', 'fgsm-0.03.wav', 'fgsm-0.03-float32.wav'),
    'notes.txt',
  }
  (out / 'fgsm-0.04.wav').write_text('mine')
  with pytest.raises(errors.InputError, match=r'holds fgsm-0\.04\.wav, which'):
    attack(quiet_model, stereo, out, ('0.04',))
  assert (out / 'fgsm-0.04.wav').read_text() == 'mine'
  assert (out / 'fgsm-0.03.wav').exists()
  other = tmp_path / 'other' / 'original.wav'
  other.parent.mkdir()
  other.write_bytes(stereo.read_bytes())
  for path, kwargs in (
    (other, {}),
    (stereo, {'attack_name': 'pgd'}),
    (stereo, {'target': 'low'}),
    (stereo, {'channels': '0'}),
  ):
    with pytest.raises(
      errors.InputError,
      match=r'out holds the attack fgsm on .*; choose ano',
    ):
      attack(quiet_model, path, out, ('0.03',), **kwargs)
  (tmp_path / 'theirs').mkdir()
  (tmp_path / 'theirs' / 'attack.json').write_text('{"mine": 1}')
  with pytest.raises(errors.InputError, match=r'theirs holds attack\.json, wh'):
    attack(quiet_model, stereo, tmp_path / 'theirs')
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(errors.InputError, match=r'file is a file; name a folder'):
    attack(quiet_model, stereo, tmp_path / 'file')


def test_no_two_attacks_share_the_folder_that_is_chosen_for_them():
  paths = ('a/x.wav', 'b/x.wav', 'a/x.flac', 'a/' + 'é' * 120 + '.wav')
  paths += ('a/' + 'é' * 120 + '2.wav', 'gs://a/x.wav', 'a/x\n.wav')
  folders = [recording.output_folder('model', path) for path in paths]
  folders += [
    recording.output_folder('model', 'a/x.wav', **{key: value})
    for key, value in (
      ('attack_name', 'pgd'),
      ('target', 'low'),
      ('label', 'low'),
      ('mask', 'all'),
      ('channels', '0'),
    )
  ]
  folders.append(recording.output_folder('other', 'a/x.wav'))
  assert len(set(folders)) == len(folders)
  assert all(len(folder.encode()) < 130 for folder in folders)
  assert folders[0] == recording.output_folder('./model/', 'b/../a/x.wav')


@pytest.mark.parametrize(
  ('epsilons', 'is_said'),
  [(('0',), False), (('0lsb',), False), (('0', '0.01'), True)],
)
def test_that_nothing_moved_is_said_where_something_could(
  quiet_model, stereo, tmp_path, caplog, epsilons, is_said
):
  attack(quiet_model, stereo, tmp_path / 'out', epsilons)
  assert ('no sample moved at any epsilon' in caplog.text) == is_said


@pytest.mark.parametrize(
  ('scale', 'said'),
  [(0.0, 'is silent where the model hears it'), (9.0, '% of what the model h')],
)
def test_silence_and_clipping_are_said(
  quiet_model, stereo, tmp_path, caplog, scale, said
):
  samples, rate_hz = soundfile.read(stereo)
  write_config(quiet_model, 'mean')
  soundfile.write(stereo, scale * samples, rate_hz, subtype='FLOAT')
  attack(quiet_model, stereo, tmp_path / 'out')
  assert said in caplog.text


@pytest.mark.parametrize(
  ('attack_name', 'control'), [('fgsm', 'random_sign'), ('fgm', 'gaussian')]
)
def test_the_table_is_as_wide_as_its_classes(attack_name, control):
  row = {'epsilon_given': '0.01', 'epsilon_lsb': 655.36, 'snr_db': 12.34}
  name = 'class of a long name'
  text = recording.format_rows(
    [
      {**row, 'memory': name, 'int16': 'a', control: 'b'},
      {**row, 'memory': 'a', 'int16': name, control: name},
    ],
    attack_name,
  )
  head, first, second = text.splitlines()
  for title, cells in (
    ('attacked', (name, 'a')),
    ('16-bit file', ('a', name)),
    (control.replace('_', ' '), ('b', name)),
  ):
    at = head.index(title)
    for line, cell in zip((first, second), cells, strict=True):
      assert line[at:].startswith(cell)
      assert line[at - 2 : at] == '  '


@pytest.mark.slow
def test_the_command_tells_the_table(model, tone, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      *(shallow.__file__, 'launch.attack'),
      *(f'--checkpoint={model}', f'--audio={tone}'),
      *('--epsilons=0.01,20dbsnr', f'--output={tmp_path}'),
    ],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0].split()[:2] == ['epsilon', 'LSB']
  assert lines[2].split()[0] == '20dbsnr'
  assert str(tmp_path) in lines[-1]


def test_a_recording_without_a_model_asks_for_one(tone):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.attack', f'--audio={tone}'],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert 'name its folder with --checkpoint' in done.stderr


@pytest.mark.parametrize(
  ('mask', 'told'),
  [
    ('30-40s', 'mask 30-40s leaves nothing to attack in clips of 0.1 s'),
    ('padding', r'mask padding leaves no sample of .*original\.wav to attack'),
  ],
)
def test_a_mask_that_leaves_nothing_is_refused(quiet_model, stereo, mask, told):
  with pytest.raises(errors.InputError, match=told):
    attack(quiet_model, stereo, stereo.parent / 'out', mask=mask)
  assert not (stereo.parent / 'out').exists()
