"""Any recording against any trained model: what is written, and refused."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import tiny

from advspeech import audio, checkpoint, errors, recording, storage

EPSILONS = ('0', '1lsb', '0.05', '0dbsnr')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp('model') / 'wavecnn-seed0'
  config = tiny.get_config()
  config.model.features = config.model.hidden_features = 8
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
  beliefs = [row['label_probability'] for row in rows]
  assert beliefs[2] < beliefs[0]
  for suffix in ('png', 'svg'):
    assert (tmp_path / f'answers.{suffix}').stat().st_size > 5000


@pytest.mark.parametrize(
  ('mask', 'seconds', 'whole'),
  [('recorded', 0.04, False), ('all', 0.04, True), ('padding', 0.04, True)],
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


def test_a_target_is_approached(model, tone, tmp_path):
  kwargs = {'attack_name': 'pgd', 'output': str(tmp_path)}
  rows = recording.attack(
    str(model), str(tone), ('0', '0.05'), target='high', **kwargs
  )
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
    ({'path': 'none.wav'}, r'none\.wav cannot be read'),
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


def test_the_command_tells_the_table(model, tone, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      *('-m', 'launch.attack', f'--checkpoint={model}', f'--audio={tone}'),
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
