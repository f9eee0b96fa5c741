"""One recording against one verifier: what is written, said, and refused."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import tiny

from advspeech import audio, checkpoint, errors, models, storage, trial
from advspeech.trial import hearing

TIME = 1600
EPSILONS = ('0', '20dbsnr', '10dbsnr')
VARIANTS = ('memory', 'float32', 'int16', 'random_sign', 'gaussian', 'shuffled')


def bands(samples, mask):
  """Shares of eight bands of the spectrum."""
  spectrum = jnp.fft.rfft(samples * mask)
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  found = jnp.stack([x.sum(-1) for x in jnp.array_split(power, 8, -1)], -1)
  return jnp.sqrt(found / (found.sum(-1, keepdims=True) + 1e-12) + 1e-6)


def steps(samples, mask):
  return jnp.round(bands(samples, mask))


def undefined(samples, mask):
  """Not a number for one recording: b's first sample is its largest."""
  first = jnp.abs(samples[:, :1]) > 0.9
  return jnp.where(first, jnp.nan, bands(samples, mask))


for fn in (bands, steps, undefined):
  fn.sample_rate_hz, fn.sample_range = 16_000, (-1, 1)


def voice(seed, hz, num=TIME, rate_hz=16_000):
  rng = np.random.default_rng(seed)
  wave = np.sin(2 * np.pi * hz * np.arange(num) / rate_hz)
  return 0.2 * wave + 0.01 * rng.standard_normal(num)


@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
  """Three recordings of one voice, one of another, none of equal length."""
  folder = tmp_path_factory.mktemp('sounds')
  for name, seed, hz, num in (
    *(('a1', 1, 700, TIME), ('a2', 2, 730, TIME - 90)),
    *(('a3', 3, 1900, TIME - 30), ('b', 4, 2600, TIME - 160)),
  ):
    soundfile.write(folder / f'{name}.wav', voice(seed, hz, num), 16_000)
  loud = np.r_[1.0, voice(5, 900, TIME - 1)]
  soundfile.write(folder / 'loud.wav', loud, 16_000)
  soundfile.write(folder / 'silent.wav', np.zeros(TIME), 16_000)
  (folder / 'text.wav').write_text('no sound')
  return folder


def pair(sounds, enrolled=('a1', 'a2'), name='b', **kwargs):
  kwargs = {'embedder': 'test_trial:bands', **kwargs}
  return trial.Trial(
    str(sounds / f'{name}.wav'),
    tuple(str(sounds / f'{one}.wav') for one in enrolled),
    **kwargs,
  )


def vector(*paths):
  """Returns the mean embedding of recordings, by NumPy and the files alone."""
  found = []
  for path in paths:
    samples = np.zeros(TIME)
    read, _ = soundfile.read(path)
    samples[: len(read)] = read
    power = np.abs(np.fft.rfft(samples)) ** 2
    shares = np.array([x.sum() for x in np.array_split(power, 8)])
    one = np.sqrt(shares / shares.sum() + 1e-6)
    found.append(one / np.linalg.norm(one))
  mean = np.mean(found, 0)
  return mean / np.linalg.norm(mean)


@pytest.fixture(scope='module')
def attacked(sounds, tmp_path_factory):
  """An impostor, with a recording for the verifier and two for the attack."""
  folder = tmp_path_factory.mktemp('attacked')
  of = pair(sounds, ('a1', 'a2', 'a3'), attack_name='pgd', threshold=0.25)
  return of, folder, trial.attack(of, EPSILONS, str(folder))


def test_the_scores_are_cosines_of_what_lies_in_the_files(sounds, attacked):
  _, folder, rows = attacked
  judge = vector(sounds / 'a1.wav')
  seen = vector(sounds / 'a2.wav', sounds / 'a3.wav')
  for row in rows:
    short, exact = (
      vector(folder / row['file'].replace('.wav', f'{kind}.wav'))
      for kind in ('', '-float32')
    )
    assert row['clean'] == pytest.approx(
      judge @ vector(sounds / 'b.wav'), abs=1e-4
    )
    assert row['int16'] == pytest.approx(judge @ short, abs=1e-4)
    assert row['float32'] == pytest.approx(judge @ exact, abs=1e-4)
    assert row['memory'] == pytest.approx(judge @ exact, abs=1e-4)
    assert row['seen'] == pytest.approx(seen @ exact, abs=1e-4)
  assert len({rows[0][kind] for kind in ('clean', *VARIANTS)}) == 1


def test_an_impostor_sounds_like_the_target_and_noise_does_not(attacked):
  _, _, rows = attacked
  for before, after in itertools.pairwise(rows):
    assert after['memory'] > before['memory'] + 0.02
    controls = [after[kind] for kind in VARIANTS[3:]]
    assert len(set(controls)) == 3
    assert max(controls) < after['memory'] - 0.02
  assert rows[2]['snr_db'] == pytest.approx(10, abs=1.5)


def test_what_is_written_is_what_an_attacked_recording_has(sounds, attacked):
  _, folder, rows = attacked
  table = storage.read_table(str(folder / 'answers.csv'))
  assert tuple(table[0]) == trial.COLUMNS
  assert [row['epsilon_given'] for row in rows] == [*EPSILONS]
  original = audio.load(folder / 'original.wav')
  np.testing.assert_array_equal(original, audio.load(sounds / 'b.wav'))
  for suffix in ('png', 'svg'):
    assert (folder / f'answers.{suffix}').stat().st_size > 5000
  assert soundfile.info(folder / rows[1]['file']).subtype == 'PCM_16'
  assert len(list(folder.glob('pgd-*-float32.wav'))) == 3


def test_the_threshold_says_who_is_accepted(attacked):
  of, _, rows = attacked
  for row in rows:
    for kind in ('clean', *VARIANTS):
      answer = 'accepted' if row[kind] >= 0.25 else 'rejected'
      assert row[f'{kind}_answer'] == answer
  assert [rows[i]['memory_answer'] for i in (0, 2)] == ['rejected', 'accepted']
  lines = trial.format_rows(rows, of).splitlines()
  assert lines[1].count(' rejected') == 6
  assert lines[3].count(' accepted') == 2  # in memory, and from the file
  assert '0.25 and more is accepted; an impostor is to be acc' in lines[4]
  assert 'and not what it is judged by' in lines[5]


def attack_once(of, folder):
  (row,) = trial.attack(of, ('10dbsnr',), str(folder))
  return row, (folder / row['file']).read_bytes()


@pytest.mark.slow
def test_the_attack_sees_all_enrolled_but_the_first(sounds, tmp_path):
  row, one = attack_once(pair(sounds, ('a1', 'a2')), tmp_path / '1')
  assert row['enrolment'] == 'apart'
  assert row['memory_answer'] == row['threshold'] == ''
  other, same = attack_once(pair(sounds, ('loud', 'a2')), tmp_path / '2')
  assert one == same
  assert row['seen'] == other['seen']
  assert row['memory'] != other['memory']
  _, another = attack_once(pair(sounds, ('a1', 'a3')), tmp_path / '3')
  assert one != another


def test_noise_louder_than_an_attack_is_called_that(sounds, attacked):
  rows = attacked[2]
  said = 'louder than it: compare it with the other two'
  for name, is_said in (('fgsm', False), ('fgm', True)):
    text = trial.format_rows(rows, pair(sounds, attack_name=name))
    assert (said in text) == is_said


def test_one_enrolled_recording_is_shared_and_said_to_be(sounds, tmp_path):
  of = pair(sounds, ('a1',))
  row, _ = attack_once(of, tmp_path)
  assert row['enrolment'] == 'shared'
  assert row['seen'] == pytest.approx(row['memory'], abs=1e-9)
  assert row['memory'] > row['clean']
  assert 'by which it is judged, and so does better' in trial.format_rows(
    [row], of
  )
  table = storage.read_table(str(tmp_path / 'answers.csv'))
  assert table[0]['enrolment'] == 'shared'


def test_a_target_is_rejected(sounds, tmp_path):
  of = pair(sounds, ('a1',), 'a2', is_rejected=True)
  row, _ = attack_once(of, tmp_path)
  noise = [row[kind] for kind in VARIANTS[3:]]
  assert row['memory'] < min(noise) - 0.005
  assert 'a target is to be rejected' in trial.format_rows([row], of)


def test_other_rates_and_channels_are_heard_as_one(sounds, tmp_path, caplog):
  wave = voice(6, 2600, 3 * TIME, 48_000)
  stereo = np.stack([wave, 0 * wave], -1)
  soundfile.write(tmp_path / 'fast.wav', stereo, 48_000, subtype='PCM_24')
  of = trial.Trial(
    str(tmp_path / 'fast.wav'),
    (str(sounds / 'silent.wav'),),
    embedder='test_trial:bands',
    channels='0',
  )
  trial.attack(of, ('0',), str(tmp_path / 'out'))
  assert 'silent.wav is silent where the model hears it' in caplog.text
  heard, rate_hz = soundfile.read(tmp_path / 'out' / 'original.wav')
  assert rate_hz == 16_000
  assert len(heard) == TIME
  middle = slice(200, -200)
  np.testing.assert_allclose(
    np.std(heard[middle]), np.std(wave[600:-600]), rtol=0.02
  )


def test_of_a_long_recording_the_beginning_is_heard(sounds, tmp_path, caplog):
  soundfile.write(tmp_path / 'b.wav', voice(7, 2600, 31 * 16_000), 16_000)
  (tmp_path / 'a1.wav').write_bytes((sounds / 'a1.wav').read_bytes())
  _, split = hearing.hear(pair(tmp_path, ('a1',)))
  assert split.pcm.shape == (2, 30 * 16_000)
  assert split.num_samples.tolist() == [30 * 16_000, TIME]
  assert 'hears the first 30.00 s; the rest is left out' in caplog.text


def test_an_answer_to_a_file_is_the_files(sounds, tmp_path, monkeypatch):
  """A writer that loses the sound is found out."""
  save = audio.save
  monkeypatch.setattr(
    audio, 'save', lambda path, x, kind: save(path, x * 0 + 0.5, kind)
  )
  row, _ = attack_once(pair(sounds), tmp_path)
  silence = vector(sounds / 'a1.wav').sum() / np.sqrt(8)
  for kind in ('int16', 'float32'):
    assert row[kind] == pytest.approx(silence, abs=1e-4)
  assert abs(row['memory'] - silence) > 0.05


@pytest.mark.slow
def test_a_trained_model_is_a_verifier(sounds, tmp_path, monkeypatch):
  model = models.create_model(tiny.MODEL, 2, width=12)
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(
    jnp.zeros((1, 1280))
  )
  metadata = {
    'classes': ['a', 'b'],
    'clip_samples': 1280,
    'clip': {'pad': 'end', 'cut': 'center', 'normalize': 'none'},
  }
  loaded = checkpoint.Classifier(model, variables, metadata, 1)
  monkeypatch.setattr(checkpoint, 'load_classifier', lambda *_, **__: loaded)
  of = pair(
    sounds, ('a1',), embedder=None, checkpoint_dir=str(tmp_path / 'model')
  )
  row, _ = attack_once(of, tmp_path / 'out')
  assert row['memory'] > row['clean']
  original = audio.load(tmp_path / 'out' / 'original.wav')
  np.testing.assert_array_equal(
    original, audio.load(sounds / 'b.wav')[80 : 80 + 1280]
  )


@pytest.mark.parametrize(
  ('change', 'match'),
  [
    ({'enrolled': ()}, '--verify needs a recording to attack, --audio, and'),
    ({'embedder': None}, '--checkpoint .*, got neither'),
    ({'checkpoint_dir': 'model'}, '--checkpoint .*, got both'),
    ({'threshold': 1.5}, 'a cosine, from -1 to 1, got 1.5'),
    ({'threshold': float('nan')}, 'a cosine, from -1 to 1, got nan'),
    ({'attack_name': 'universal'}, '--attack must be one of fgsm, '),
    ({'attack_name': 'mfcc'}, 'must be on the waveform of one clip, .*mfcc'),
    ({'enrolled': ('a1', 'b')}, r'--audio=.*b\.wav and --enrol=.*b\.wav are'),
    ({'enrolled': ('a1', 'a1')}, r'--enrol=.*a1\.wav and --enrol=.*a1\.wav ar'),
    ({'enrolled': ('none',)}, r'none\.wav is missing; put'),
    ({'enrolled': ('text',)}, r'text\.wav cannot be read as audio'),
    ({'embedder': 'nobody'}, 'an embedder must be one of resemblyzer, or'),
    ({'embedder': 'test_trial:steps'}, 'must have a gradient, which attacks f'),
    (
      {'embedder': 'test_trial:undefined', 'enrolled': ('loud',)},
      'a finite embedding that is not all zeros, and for loud',
    ),
    ({'channels': '3'}, 'has 1 channels, numbered from 0, and no channel 3'),
  ],
)
def test_what_cannot_be_done_is_said(sounds, tmp_path, change, match):
  with pytest.raises(errors.InputError, match=match):
    trial.attack(pair(sounds, **change), ('0.01',), str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()


def test_a_recording_is_the_same_under_another_name_and_level(sounds, tmp_path):
  samples, _ = soundfile.read(sounds / 'b.wav')
  for name in ('a1', 'a2'):
    (tmp_path / f'{name}.wav').write_bytes(
      (sounds / f'{name}.wav').read_bytes()
    )
  soundfile.write(tmp_path / 'b.wav', samples, 16_000)
  for factor, num in ((1, 1400), (0.5, 1400), (0.5, 1000)):
    soundfile.write(tmp_path / 'a2.wav', factor * samples[:num], 16_000)
    with pytest.raises(errors.InputError, match='are the same recording, of'):
      trial.attack(pair(tmp_path), ('0.01',), str(tmp_path / 'out'))


def test_a_folder_is_one_trials(sounds, tmp_path):
  trial.attack(pair(sounds), ('0',), str(tmp_path))
  others = [
    pair(sounds, **change)
    for change in (
      {'enrolled': ('a2', 'a1')},
      {'threshold': 0.5},
      {'is_rejected': True},
      {'attack_name': 'pgd'},
      {'name': 'a3'},
    )
  ]
  for other in others:
    with pytest.raises(errors.InputError, match='holds the attack fgsm on'):
      trial.attack(other, ('0',), str(tmp_path))
  folders = {one.output_folder for one in (*others, pair(sounds))}
  assert len(folders) == len(others) + 1
  trial.attack(pair(sounds), ('0',), str(tmp_path))


@pytest.mark.slow
def test_the_command_attacks_one_trial(sounds, tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'launch.attack', '--verify', '--reject'),
      *('--embedder=test_trial:bands', f'--audio={sounds / "a1.wav"}'),
      f'--enrol={sounds / "a2.wav"},{sounds / "b.wav"}',
      *(f'--enrol={sounds / "a3.wav"}', '--threshold=0.5'),
      *('--epsilons=10dbsnr', f'--output={tmp_path}'),
    ],
    cwd=tiny.ROOT,
    env={**os.environ, 'PYTHONPATH': str(tiny.ROOT / 'tests')},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0].split()[:2] == ['epsilon', 'LSB']
  assert lines[1].split()[0] == '10dbsnr'
  assert 'a target is to be rejected' in lines[2]
  assert f'saw {sounds / "b.wav"}, {sounds / "a3.wav"}, and not' in lines[3]
  assert str(tmp_path) in lines[-1]
