"""Four forced CPU devices, strict ranks, and the corpora tests share."""

import os
import pathlib
import signal
import sys
import tempfile

import devices

os.environ.setdefault(devices.OWN_FLAGS, os.environ.get('XLA_FLAGS', ''))
os.environ['XLA_FLAGS'] = devices.flags(4)
os.environ['JAX_PLATFORMS'] = 'cpu'
# What tests start must hear a closed terminal also under `nohup pytest`.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Tests compile the same tiny steps again and again, in processes of their own.
if 'PYTEST_XDIST_WORKER' not in os.environ:  # the workers share their parent's
  _cache = tempfile.TemporaryDirectory()
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import pytest  # noqa: E402
import shallow  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')


# The costliest files; begun last, they leave workers idle.
_LONGEST = (
  'test_distributed.py',
  'test_launch.py',
  'test_buckets.py',
  'test_benchmark.py',
  'test_sweep_killed.py',
  'test_precision.py',
  'test_signals.py',
  'test_own.py',
  'test_loop.py',
  'test_judging.py',
  'test_recording.py',
  'test_feature_study.py',
  'test_models.py',
  'test_conformance.py',
  'test_parts.py',
  'test_report.py',
  'test_espeak.py',
  'test_interface.py',
  'test_features.py',
  'test_feature_level.py',
  'test_report_page.py',
  'test_layers.py',
  'test_gradients.py',
  'test_convolution.py',
  'test_rounding.py',
  'test_plan.py',
  'test_imports.py',
  'test_checkpoint.py',
  'test_analysis.py',
  'test_rate_search.py',
)


def pytest_collection_modifyitems(items):
  """Puts the longest files first, a worker each."""
  place = {name: i for i, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope='module')
def shallow_networks():
  """Networks of three convolutions: see shallow.py."""
  shallow.set_depths()
  yield
  shallow.set_depths(shallow.PAPER)


@pytest.fixture
def papers_depth(shallow_networks):
  """The paper's depth, for one test among shallow networks."""
  shallow.set_depths(shallow.PAPER)
  yield
  shallow.set_depths()


@pytest.fixture
def undrawn_figures(monkeypatch):
  """Figures are a white dot each, where what is tested is the page around."""
  from matplotlib import figure

  from advspeech import figures

  save, dot = figures.save, figure.Figure(figsize=(0.1, 0.1))
  monkeypatch.setattr(figures, 'save', lambda fig, path: save(dot, path))


@pytest.fixture(scope='session')
def espeak_dir(tmp_path_factory):
  """Folder with the embedded corpus, prepared once for all workers."""
  pytest.importorskip('espeakng_loader')
  from advspeech import corpora

  folder = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    folder = folder.parent
  path = folder / 'espeak'
  path.mkdir(exist_ok=True)
  corpora.prepare('espeak', data_dir=str(path))  # the others wait for the first
  return path


@pytest.fixture(scope='session')
def ravdess_folder():
  """Folder with the real RAVDESS recordings."""
  folder = os.environ.get('ADVSPEECH_RAVDESS')
  if not folder or not os.path.isdir(folder):
    pytest.skip('ADVSPEECH_RAVDESS names no folder with RAVDESS recordings')
  return folder
