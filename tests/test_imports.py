"""Every module imports alone, and only downwards."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A module may import those of lower levels, and its own package.
LEVELS = [
  {'errors', 'preemption', 'progress'},
  {'cluster', 'buckets', 'registry'},
  {'storage', 'decoding'},
  {'audio', 'statistics', 'class_errors', 'tasks', 'holdout', 'parallel'}
  | {'randomness', 'on_host'},
  {'processes', 'codecs', 'mcadams', 'rooms'},
  {'attacks', 'features', 'gradients', 'models', 'corpora'}
  | {'provenance', 'ownership'}
  | {'transforms', 'quality', 'checks', 'torch_modules'},
  {'checkpoint', 'input_pipeline'},
  {'over_clips', 'training', 'embedders'},
  {'sweep'},
  {'figures'},
  {'recording_figure'},
  {'recording'},
  {'claim', 'section', 'sounds', 'paths'},
  {'studies'},
  {'benchmark', 'report', 'trial'},
  {'experiment'},
  {'doctor', 'plan'},
]
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
MODULES = sorted(
  str(path.relative_to(ROOT).with_suffix('')).replace('/', '.')
  for path in (ROOT / 'advspeech').rglob('*.py')
  if path.name != '__init__.py'
)


def imports(path):
  """Yields dotted names that a file imports."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_the_direction_of_imports_is_kept():
  for path in (ROOT / 'advspeech').rglob('*.py'):
    parts = path.relative_to(ROOT / 'advspeech').with_suffix('').parts
    if parts[0] == '__init__':
      continue
    for name in imports(path):
      if not name.startswith('advspeech.'):
        assert name.split('.')[0] not in ('launch', 'configs'), (path, name)
        continue
      other = name.split('.')[1]
      assert other == parts[0] or LEVEL[other] < LEVEL[parts[0]], (path, name)


def test_attacks_know_no_models_no_flax_and_no_data():
  allowed = {'collections', 'typing', 'jax', 'advspeech'}
  for path in (ROOT / 'advspeech' / 'attacks').glob('*.py'):
    for name in imports(path):
      assert name.split('.')[0] in allowed, (path, name)
      if name.startswith('advspeech.'):
        assert name.startswith('advspeech.attacks'), (path, name)


def test_only_corpora_know_tfds():
  for path in (ROOT / 'advspeech').rglob('*.py'):
    if 'tensorflow_datasets' in set(imports(path)):
      assert path.parent.name == 'corpora', path


def test_configs_import_ml_collections_alone():
  for path in (ROOT / 'configs').glob('*.py'):
    if path.name == '__main__.py':  # no config: it prints what they hold
      continue
    for name in imports(path):
      assert name in ('ml_collections', 'configs.paper'), (path, name)


# Anew for each module the libraries would take a minute and a half.
IMPORT_EACH = """
import importlib, os, sys, traceback
import jax
failed = []
for name in sys.argv[1:]:
  pid = os.fork()
  if not pid:
    try:
      importlib.import_module(name)
      assert 'tensorflow' not in sys.modules, 'tensorflow was imported'
      # Which fails once anything was computed: how many devices there are, and
      # what processes they are of, programs say after the imports.
      jax.config.update('jax_num_cpu_devices', 2)
    except BaseException:
      traceback.print_exc()
      sys.stderr.flush()
      os._exit(1)
    os._exit(0)
  if os.waitpid(pid, 0)[1]:
    failed.append(name)
assert not [m for m in sys.modules if m.startswith('advspeech')]
sys.exit(' '.join(failed) or 0)
"""


def import_each(before, names):
  """Imports each module in a child of a process with none of ours."""
  done = subprocess.run(
    [sys.executable, '-c', f'{before}\n{IMPORT_EACH}', *names],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )
  assert not done.returncode, done.stderr


LIBRARIES = """
import flax.linen, jinja2, librosa, matplotlib.figure, ml_collections, optax
import orbax.checkpoint, scipy.stats, tensorflow_datasets
"""


@pytest.mark.slow
def test_every_module_imports_alone_and_without_tensorflow():
  import_each(LIBRARIES, MODULES)


def test_models_training_and_attacks_need_only_jax_and_its_kin():
  """A bare accelerator machine has none of the others."""
  absent = (
    *('tensorflow_datasets', 'librosa', 'soundfile', 'matplotlib', 'jinja2'),
    *('ml_collections', 'tensorboardX', 'tqdm', 'pystoi', 'pesq'),
    *('speechmos', 'onnxruntime'),
  )
  libraries = f"""
import sys
for absent in {absent}:
  sys.modules[absent] = None
import flax.linen, optax, orbax.checkpoint
"""
  names = ('models', 'attacks', 'audio', 'checkpoint', 'training')
  names += ('sweep', 'over_clips', 'transforms', 'quality', 'checks')
  names += ('benchmark.accelerator',)
  import_each(libraries, [f'advspeech.{name}' for name in names])
