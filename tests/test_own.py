"""The guide's own things, run as they stand: trained, swept, on the page."""

import importlib
import json
import pathlib
import re
import sys

import jax
import pytest

from advspeech import corpora, experiment, storage, tasks
from configs import folder as folder_config

ROOT = pathlib.Path(__file__).parent.parent


def section(path):
  """Returns a guide's section 'Your own'."""
  text = path.read_text(encoding='utf-8').split('## Your own\n')[1]
  return re.split('\n##+ ', text)[0]


def examples(text):
  """Returns the Python in it."""
  return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


SECTION = section(ROOT / 'advspeech' / 'README.md')
ATTACK = examples(section(ROOT / 'README.md'))
*MINE, CONFIG = examples(SECTION)
# Frames of 25 ms that attend to each other, beside what the guides show.
TRANSFORMER = """
class Transformer(nn.Module):
  num_classes: int
  width: int = 16
  num_layers: int = 1
  dropout: float = 0.1
  frame_samples = 400
  title = 'Transformer of frames'

  @nn.compact
  def __call__(self, audio, *, train, valid=None):
    frames = audio.reshape(len(audio), -1, self.frame_samples) - 0.5
    x = nn.Dense(self.width)(4 * frames)
    places = (x.shape[1], self.width)
    x += self.param('places', nn.initializers.normal(0.1), places)
    for _ in range(self.num_layers):
      heard = nn.MultiHeadDotProductAttention(
        2, dropout_rate=self.dropout, deterministic=not train
      )(nn.LayerNorm()(x))
      x += nn.Dropout(self.dropout, deterministic=not train)(heard)
      x += nn.Dense(self.width)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
    return nn.Dense(self.num_classes)(x.mean(1))
"""
MODELS = ('mine:LogMelCNN', 'mine:Transformer')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The folder of a user, who works there, with rank promotion as it comes."""
  path = tmp_path_factory.mktemp('user')
  (path / 'mine.py').write_text('\n'.join([*ATTACK, *MINE, TRANSFORMER]))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(path)
    patch.setattr(sys, 'path', [str(path), *sys.path])
    jax.config.update('jax_numpy_rank_promotion', 'allow')
    yield path
  jax.config.update('jax_numpy_rank_promotion', 'raise')
  sys.modules.pop('mine', None)


@pytest.fixture(scope='module')
def config(folder, espeak_dir):
  """The README's config, on tiny clips and the transformer too."""
  names = {}
  exec(compile(CONFIG, 'README.md', 'exec'), names)
  config = names['get_config']()
  config.data_dir = str(espeak_dir)
  config.models = MODELS
  config.model_options.transformer = {'width': 8}
  config.clip_s = 0.4
  config.seeds = (0,)
  config.studies = ()
  config.training.num_epochs = 2
  config.training.learning_rate = 0.01
  config.sweep.epsilons = (0.0, 0.01)
  config.sweep.num_clips = 24
  config.sweep.num_examples = 1
  config.gradients.num_clips = 4
  config.gradients.num_studied = 2
  return config


@pytest.fixture(scope='module')
def run(folder, config):
  experiment.reproduce(config, str(folder / 'run'))
  return folder / 'run'


@pytest.mark.slow
def test_models_of_ones_own_are_trained_with_their_options(run):
  for name, options in (
    ('logmelcnn', {'name': 'mine:LogMelCNN', 'bands': 32}),
    ('transformer', {'name': 'mine:Transformer', 'width': 8}),
  ):
    summary = json.loads((run / f'{name}-seed0' / 'summary.json').read_text())
    assert summary['model'] == {'num_classes': 2, **options}
    assert summary['training']['augmentation'] == 'mine:louder_or_not'


@pytest.mark.slow
def test_all_of_it_is_swept_with_controls_and_intervals(run):
  rows = storage.read_table(str(run / 'attack' / 'sweep.csv'))
  sources = {row['source'] for row in rows}
  assert sources == {'mine:LogMelCNN', 'mine:tilt'}
  assert {row['target'] for row in rows} == {*MODELS, 'mine:tilt'}
  for source in sources:
    mine = [
      row
      for row in rows
      if (row['source'], row['target']) == (source, source)
      and row['attack'] == 'mine:soft_sign'
      and row['epsilon'] > 0
    ]
    assert {row['control'] for row in mine} >= {'', 'random_sign', 'gaussian'}
    assert all(row['ci_low'] <= row['ci_high'] for row in mine)
  assert {row['transform'] for row in rows} == {'', 'mine:echo'}
  sounds = [path.name for path in (run / 'attack' / 'audio').iterdir()]
  assert any(name.endswith('-soft_sign.wav') for name in sounds)
  assert not any(':' in name for name in sounds)
  victim = json.loads((run / 'attack' / 'judges.json').read_text())
  assert victim['mine:tilt']['classes'] == ['female', 'male']


@pytest.mark.slow
def test_the_page_calls_everything_by_its_title(run):
  page = (run / 'report' / 'index.html').read_text()
  for title in (
    *('Log-mel CNN', 'Transformer of frames', 'Spectral tilt'),
    *('Soft sign', 'Echo'),
  ):
    assert title in page, title
  assert 'mine:LogMelCNN (bands 32)' in page


@pytest.mark.slow
def test_the_study_of_gradients_takes_models_of_ones_own(run, config):
  config.studies = ('gradients',)
  experiment.reproduce(config, str(run))
  assert (run / 'studies' / 'gradients' / 'summary.csv').exists()
  page = (run / 'report' / 'index.html').read_text()
  assert 'Transformer of frames, seed 0: exponent' in page


def test_the_manifest_of_the_guide_gives_its_task(folder, tmp_path):
  (text,) = re.findall(r'```\n(path,.*?)```', SECTION, re.DOTALL)
  recordings = tmp_path / 'recordings'
  soundfile = importlib.import_module('soundfile')
  header, *lines = text.split()
  for line in lines:
    path = recordings / line.split(',')[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.1, -0.1] * 400, 16_000)
  (recordings / 'manifest.csv').write_text('\n'.join([header, *lines]))
  where = {'folder': str(recordings), 'data_dir': str(tmp_path)}
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=800, **where)
  config = folder_config.get_config('emotion,small')
  config.classes = ('calm', 'fearful')
  config.split.kind, config.split.session = 'leave_one_session_out', '2'
  experiment.validate(config)
  columns = {key: getattr(corpus, key) for key in tasks.GROUPS}
  task = tasks.select(config.task, config.classes, **columns)
  assert task.labels.tolist() == [0, 1]
