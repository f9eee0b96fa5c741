"""What `pip install .` installs: the library, whole, away from its clone."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
import report_runs

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
PACKAGED = ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE')
USE = """
import pathlib, sys
import jax.numpy as jnp
import advspeech
from advspeech import attacks, report

assert pathlib.Path(advspeech.__file__).is_relative_to(sys.argv[1])
audio = jnp.full((1, 4), 0.5)
found = attacks.fgsm(lambda x: x.sum(-1), audio, [0.0, 0.25])
assert found[1].tolist() == [[0.75] * 4]
report.write(sys.argv[2])
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel, built from what it is made of and nothing else."""
  folder = tmp_path_factory.mktemp('clone')
  for name in PACKAGED:
    shutil.copy(ROOT / name, folder)
  shutil.copytree(
    ROOT / 'advspeech',
    folder / 'advspeech',
    ignore=shutil.ignore_patterns('__pycache__'),
  )
  command = ('-m', 'pip', 'wheel', '--quiet', '--no-deps', '-w', 'dist', '.')
  subprocess.run([sys.executable, *command], cwd=folder, check=True)
  (path,) = (folder / 'dist').glob('*.whl')
  return zipfile.ZipFile(path)


def test_a_wheel_has_every_file_of_the_package(wheel):
  packaged = {n for n in wheel.namelist() if n.startswith('advspeech/')}
  there = {
    str(path.relative_to(ROOT))
    for path in (ROOT / 'advspeech').rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }
  # Guides are for those who have the clone.
  assert packaged == {name for name in there if not name.endswith('.md')}


def test_a_wheel_attacks_and_draws_a_page_from_another_folder(wheel, tmp_path):
  wheel.extractall(tmp_path / 'site')
  report_runs.write(tmp_path / 'run')
  report_runs.write_everything_else(tmp_path / 'run')
  done = subprocess.run(
    [sys.executable, '-c', USE, tmp_path / 'site', tmp_path / 'run'],
    cwd=tmp_path,
    env={'PYTHONPATH': str(tmp_path / 'site'), 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  assert (tmp_path / 'run' / 'report' / 'index.html').stat().st_size > 50_000
