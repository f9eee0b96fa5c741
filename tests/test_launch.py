"""The commands as a user types them: a whole tiny run, and every error."""

import contextlib
import csv
import errno
import functools
import json
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import devices
import feature_subjects
import forked
import pytest
from absl import flags
from ml_collections import config_flags

from advspeech import corpora, errors, experiment
from advspeech.studies.features import study as feature_study
from launch import command, console

ROOT = pathlib.Path(__file__).parent.parent
LAUNCHERS = (
  'prepare',
  'search_lr',
  'train',
  'attack',
  'study',
  'report',
  'reproduce',
)
TINY = (
  '--config.clip_s=0.2',
  '--config.model.features=2',
  '--config.model.hidden_features=4',
  '--config.training.num_epochs=1',
  '--config.training.batch_size=64',
  '--config.seeds=(0,)',
  '--config.sweep.batch_size=64',
  '--config.sweep.epsilons=(0.0, 0.02)',
  "--config.sweep.sources=('wavecnn',)",
  '--config.sweep.num_clips=-1',
  '--config.studies=()',
)


@pytest.fixture(scope='module', autouse=True)
def server():
  with forked.Server(devices.environment()) as server:
    yield server


@pytest.fixture(scope='module')
def tiny(server, espeak_dir, tmp_path_factory):
  """A run folder that was trained, attacked and reported, and its flags."""
  workdir = tmp_path_factory.mktemp('runs') / 'tiny'
  args = (*TINY, f'--config.data_dir={espeak_dir}', f'--workdir={workdir}')
  # One of its models alone, and what is missing.
  alone = ('--model=wavernn', '--seed=0')
  done = server.launch('train', *args, *alone, is_shallow=True)
  assert done.returncode == 0, done.stderr
  (workdir / 'train.log').write_text(done.stderr)
  trained = [p.name for p in workdir.iterdir() if p.is_dir()]
  assert trained == ['wavernn-seed0']
  done = server.launch('reproduce', *args, is_shallow=True)
  assert done.returncode == 0, done.stderr
  return workdir, args


def table(path):
  with open(path, encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


def test_leaves_models_tables_figure_and_page(tiny):
  workdir, _ = tiny
  for model in ('wavecnn', 'wavernn'):
    folder = workdir / f'{model}-seed0'
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['test']['num_clips'] == 240
    assert (folder / 'metrics.jsonl').exists()
    assert (folder / 'checkpoints' / '15' / 'digests.json').exists()
    assert list((folder / 'tensorboard').iterdir())
  sweep = table(workdir / 'attack' / 'sweep.csv')
  attacked = [row for row in sweep if not row['control']]
  # One source, two targets, two epsilons; three controls of each.
  assert len(attacked) == 2 * 2
  assert len(sweep) == 4 * len(attacked)
  samples = table(workdir / 'attack' / 'samples.csv')
  assert len(samples) == 240 * len(attacked)
  for row in attacked:
    mine = [
      s
      for s in samples
      if all(
        s[key] == row[key]
        for key in ('seed', 'target', 'target_seed', 'attack', 'epsilon')
      )
    ]
    wrong = sum(s['prediction'] != s['label'] for s in mine)
    assert wrong == int(row['num_errors'])
  for suffix in ('png', 'svg'):
    assert (workdir / 'report' / f'figure6-gender.{suffix}').exists()
  assert len(list((workdir / 'attack' / 'audio').glob('*.wav'))) == 2 * 3


def modified(folder):
  """Returns when each file was written."""
  return {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.is_file()}


@pytest.mark.slow
def test_studies_of_a_trained_run_become_part_of_its_page(
  server, tiny, tmp_path, monkeypatch, shallow_networks
):
  run = tmp_path / 'run'
  shutil.copytree(tiny[0], run)
  args = (*tiny[1][:-1], f'--workdir={run}')
  names = ('gradients', 'features', 'rounding', 'verification')
  all_of_them = f'--config.studies={names}'
  settings = (
    '--config.gradients.num_studied=2',
    f'--config.gradients.checkpoints={run}/wavecnn-seed0',
    '--config.features.num_clips=2',
    '--config.features.num_scored=1',
    '--config.rounding.num_orders=1',
    "--config.verification.embedders=('wavernn',)",
    "--config.verification.attacks=('fgsm',)",
    "--config.verification.epsilons=('20dbsnr',)",
    '--config.verification.num_trials=4',
    '--config.verification.num_enrolled=1',
  )
  # Of attacks on features the study has a dozen, each compiled.
  monkeypatch.setattr(
    feature_study,
    'Settings',
    functools.partial(
      feature_study.Settings,
      variants=feature_subjects.VARIANTS,
      num_norm_clips=2,
      num_norm_perturbations=2,
    ),
  )
  config = config_of(*(arg for arg in args if 'workdir' not in arg), *settings)
  experiment.study(experiment.Run.open(config, str(run)), 'features')
  for name, *more in (
    ('study', *(name for name in names if name != 'features')),
    # There is nothing to train, but from now on it is a run of all.
    ('train', all_of_them),
    ('report',),
  ):
    done = server.launch(name, *args, *settings, *more, is_shallow=True)
    assert done.returncode == 0, (name, done.stderr)
    assert 'Traceback' not in done.stderr
  # Nor to study.
  before = modified(run)
  done = server.launch(
    'reproduce', *args, *settings, all_of_them, is_shallow=True
  )
  assert done.returncode == 0, done.stderr
  assert modified(run) == before
  assert len(table(run / 'studies' / 'gradients' / 'clips.csv')) > 2
  budgets = table(run / 'studies' / 'features' / 'budgets.csv')
  assert {row['num_clips'] for row in budgets} == {'2'}
  orders = table(run / 'studies' / 'rounding' / 'orders.csv')
  assert {row['num_trainings'] for row in orders} == {'2'}
  judged = table(run / 'studies' / 'verification' / 'attacked.csv')
  assert {row['num_trials'] for row in judged} == {'4', '8'}
  page = (run / 'report' / 'index.html').read_text()
  # Privacy is of the emotion task; the others have tests of their own:
  # smoothing, air, substitute, queries.
  assert page.count('was not run') == 5
  for name in ('gradients/accumulation', 'features/error_against_snr-seed0'):
    assert f'href="../studies/{name}.svg"' in page
    assert (run / 'studies' / f'{name}.svg').exists()


@pytest.mark.slow
def test_a_model_of_another_task_judges_and_speaks_of_privacy(
  server, tiny, tmp_path
):
  _, args = tiny
  other, run = tmp_path / 'emotion', tmp_path / 'run'
  shutil.copytree(tiny[0], run, ignore=shutil.ignore_patterns('attack'))
  done = server.launch(
    'train',
    *args[:-1],
    f'--workdir={other}',
    '--config.task=emotion',
    "--config.models=('wavecnn',)",
    '--config.seeds=(0,)',
    is_shallow=True,
  )
  assert done.returncode == 0, done.stderr
  done = server.launch(
    *('study', 'privacy', *args[:-1], f'--workdir={other}'),
    '--config.task=emotion',
    "--config.models=('wavecnn',)",
    '--config.seeds=(0,)',
    f"--config.privacy.embedders=('{run}/wavernn-seed0', 'wavecnn')",
    "--config.privacy.solvers=('projected',)",
    '--config.privacy.num_steps=1',
    '--config.privacy.num_enrolled=1',
    '--config.privacy.num_fitted=2',
    '--config.privacy.num_clips=4',
    "--config.privacy.epsilons=('20dbsnr',)",
    "--config.privacy.transforms=('lowpass2000',)",
    "--config.privacy.filters=('lowpass4000',)",
    '--config.privacy.retraining.num_steps=1',
    is_shallow=True,
  )
  assert done.returncode == 0, done.stderr
  found = table(other / 'studies' / 'privacy' / 'privacy.csv')
  assert {row['num_clips'] for row in found} == {'4'}
  assert (other / 'studies' / 'privacy' / 'who.svg').exists()
  done = server.launch(
    'reproduce',
    *args[:-1],
    f'--workdir={run}',
    f"--config.sweep.checkpoints=('{other}/wavecnn-seed0',)",
    is_shallow=True,
  )
  assert done.returncode == 0, done.stderr
  judges = json.loads((run / 'attack' / 'judges.json').read_text())
  assert judges == {
    f'{other}/wavecnn-seed0': {'task': 'emotion', 'classes': ['angry', 'sad']}
  }
  page = (run / 'report' / 'index.html').read_text()
  privacy = page[page.index('Privacy: ') - 200 : page.index('Privacy: ') + 400]
  assert 'not-tested' not in privacy
  assert 'wavecnn-seed0 (emotion): ' in privacy


def test_the_page_stands_alone(tiny):
  workdir, _ = tiny
  page = (workdir / 'report' / 'index.html').read_text()
  assert 'data:image/webp;base64,' in page
  # Two clips: original, adversarial example, and the difference.
  assert page.count('<audio') == 6
  assert not re.search(r'(src|href)="https?:', page)
  assert 'not recorded' not in page


def test_the_clean_error_of_the_table_is_the_one_trained(tiny):
  workdir, _ = tiny
  for row in table(workdir / 'attack' / 'sweep.csv'):
    if float(row['epsilon']) == 0:
      name = f'{row["target"]}-seed{row["target_seed"]}'
      summary = json.loads((workdir / name / 'summary.json').read_text())
      error = 1 - summary['test']['accuracy']
      assert float(row['error_rate']) == pytest.approx(error, abs=1e-5)


def test_a_second_start_finds_everything_done(server, tiny):
  workdir, args = tiny
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob('*') if p.is_file()}
  done = server.launch('reproduce', *args)
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(workdir / 'report' / 'index.html')
  after = {p: p.stat().st_mtime_ns for p in workdir.rglob('*') if p.is_file()}
  assert after == before


@pytest.mark.slow
def test_reproduce_finishes_what_is_missing_with_the_same_tables(server, tiny):
  workdir, args = tiny
  path = workdir / 'attack' / 'sweep.csv'
  before = path.read_bytes()
  part = next((workdir / 'attack' / 'parts').glob('attack-*.npz'))
  for stale in (path, part):
    stale.unlink()
  (workdir / 'report' / 'index.html').unlink()
  done = server.launch('reproduce', *args, is_shallow=True)
  assert done.returncode == 0, done.stderr
  assert path.read_bytes() == before
  assert (workdir / 'report' / 'index.html').exists()


def test_training_says_nothing_but_its_own_lines(tiny):
  told = (tiny[0] / 'train.log').read_text()
  lines = told.strip().splitlines()
  assert lines[0].startswith('train: 900 clips (450 female, 450 male)')
  assert re.fullmatch(r'done in \d+ s', lines[-1])
  assert len(lines) == 10, told


@pytest.mark.parametrize('name', LAUNCHERS)
def test_help_says_what_the_command_does_without_waiting_for_jax(name):
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', f'launch.{name}', '--help'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  docstring = (ROOT / 'launch' / f'{name}.py').read_text().splitlines()[0]
  assert re.search(r'\| +absl$', done.stderr, re.MULTILINE)
  assert not re.search(r'\| +jax$', done.stderr, re.MULTILINE)
  assert done.returncode == 0
  assert docstring.strip('"') in done.stdout
  assert '--workdir' in done.stdout


def test_a_python_that_advspeech_is_not_installed_for_gets_one_sentence():
  done = subprocess.run(
    [sys.executable, '-S', '-m', 'launch.train'],  # without site-packages
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert re.fullmatch(
    r'error: .* without absl, ml_collections, jax \(.*\n', done.stderr
  )


def test_the_programs_are_listed_and_a_misspelt_start_is_put_right():
  done = subprocess.run(
    [sys.executable, '-m', 'launch'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  for name in (*LAUNCHERS, 'benchmark', 'local'):
    assert re.search(rf'^  {name} +\w.*\.$', done.stdout, re.MULTILINE), name
  done = subprocess.run(
    [sys.executable, '-m', 'launch', 'train'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert 'write python -m launch.train' in done.stderr


def fails(server, *args, match):
  done = server.launch('reproduce', *args)
  assert done.returncode == 2, done.stderr
  assert 'Traceback' not in done.stderr
  errors = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert len(errors) == 1, done.stderr
  assert re.search(match, errors[0]), errors[0]


def test_folders_of_runs_may_follow_compare_and_nothing_else(
  server, tiny, tmp_path
):
  workdir, _ = tiny
  another = tmp_path / 'another'
  another.symlink_to(workdir)
  done = server.launch(
    'report', '--compare', str(workdir), str(another), f'--workdir={tmp_path}'
  )
  assert done.returncode == 0, done.stderr
  page = tmp_path / 'comparison' / 'index.html'
  assert done.stdout.strip() == str(page)
  assert page.stat().st_size > 50_000
  done = server.launch('report', str(workdir))
  assert done.returncode == 2
  assert 'unexpected argument' in done.stderr


def test_a_misspelt_config_key_is_named(server, tmp_path):
  fails(
    server,
    '--config.training.num_epoch=3',
    f'--workdir={tmp_path}',
    match='num_epoch.*Did you mean "num_epochs"',
  )


@pytest.mark.parametrize(
  ('arg', 'match'),
  [
    ('--config.training.num_epochs=many', 'invalid literal'),
    ('--config=configs/none.py', 'names no config'),
    ('--config=configs/paper.py:x', 'has no variants'),
    ('--config=configs/ravdess.py:gender,tiny', "must be 'small', 'dis"),
    ('--confg=x', 'Unknown command line flag'),
    ('quickstart', 'unexpected argument'),
    ('--config.sweep.epsilons=(0.0,2.0)', r'must lie in \[0, 1\]'),
    ('--distributed=on', 'no cluster was detected; give --coordinator_address'),
    ('--num_processes=2', 'go together, got .None, 2, None.; give all three'),
    ('--config.training.precision=half', 'one of float32, tf32, bfloat16'),
    ('--config.sweep.epsilon_devices=3', 'device count, got 3 and 1; use 1'),
    ('--config.task=age', 'gender, emotion, speaker'),
    ('--config.seeds=(0,1', 'write a tuple'),
    ('--config.data_dir=az://b', 'data_dir must be a path of a mounted'),
    ("--config.sweep.checkpoints=('az://b',)", 'checkpoints must be a path'),
    ('--config=README.md', 'no config that Python can read'),
  ],
)
def test_a_wrong_argument_gets_one_sentence(server, tmp_path, arg, match):
  fails(server, arg, f'--workdir={tmp_path / "run"}', match=match)
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('name', 'args', 'match'),
  [
    (
      'train',
      ['--workdir=az://b/run'],
      '--workdir must be a path of a mounted',
    ),
    ('train', ['--workdir', '--config=x.py'], 'must be a path, got .--config='),
    ('train', ['--config'], 'Missing value for flag --config'),
    ('attack', ['--audio=az://b/a.wav'], '--audio must be a path'),
    ('attack', ['--epsilons='], 'must name one at least'),
    ('attack', ['--checkpoint=az://b'], '--checkpoint must be a path'),
    ('attack', ['--output=~nobody-here/x'], 'that home folder is not known'),
    ('attack', ['--enrol=a.wav,az://b'], '--enrol must be a path'),
    ('attack', ['--enrol=a.wav'], '--enrol is of an attack on a speaker ver'),
    ('attack', ['--threshold=0'], '--threshold is of an attack on a speaker'),
    ('attack', ['--verify', '--target=male'], '--target is of an attack on a'),
    ('attack', ['--verify', '--enrol=a.wav'], 'needs a recording to attack'),
    ('attack', ['--verify', '--audio=a.wav'], 'claims to be, --enrol; got'),
    (
      'attack',
      ['--verify', '--audio=a.wav', '--enrol=b.wav'],
      '--verify needs one verifier, --embedder',
    ),
    (
      'study',
      ['gradients', '--config.gradients.checkpoints=az://b'],
      '--config.gradients.checkpoints must be a path',
    ),
    ('study', [], 'name a study, one of gradients, features, .*or your own'),
    ('study', ['noise'], 'a study must be one of gradients, .*or your own'),
    ('benchmark', ['--output=gs://b/x.json'], '--output must be a path'),
    (
      'local',
      ['--output_dir=gs://b', '--', 'x'],
      '--output_dir must be a path',
    ),
    ('local', [], 'no launcher was named'),
  ],
)
def test_a_wrong_path_or_flag_is_refused_before_anything_starts(
  server, name, args, match
):
  done = server.launch(name, *args)
  assert done.returncode == 2
  assert re.fullmatch(f'error: .*{match}.*\n', done.stderr), done.stderr


def config_of(*args):
  """Returns what these flags make of configs/quickstart.py."""
  values = flags.FlagValues()
  args = ['x', f'--config={ROOT}/configs/quickstart.py', *args]
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=args)
  values(args)
  return values.config


@pytest.mark.parametrize(
  ('given', 'expected'),
  [
    (['3'], (3,)),
    (['0', '1'], (1,)),
    (['(0, 1)', '(2,)'], (2,)),
    (['0,1'], (0, 1)),
    (['[4]'], (4,)),
    (['()'], ()),
    (['a/b c'], ('a/b c',)),
  ],
)
def test_of_several_tuples_the_last_counts(given, expected):
  assert config_of(*(f'--config.seeds={x}' for x in given)).seeds == expected


@pytest.mark.parametrize('text', ['', '(0,', '{1: 2}', '{1}', '(nan,)'])
def test_what_is_no_tuple_is_refused(text):
  with pytest.raises(flags.Error, match='write a tuple'):
    config_of(f'--config.seeds={text}')


@pytest.mark.parametrize(
  ('given', 'match'),
  [
    ('clip_s=nan', r'clip_s must be a number in \(0, 3600\], got nan'),
    ('training.learning_rate=inf', 'learning_rate must be a number .*got inf'),
    ('sweep.epsilons=(0.0, 1e999)', 'epsilon must be a number .*got inf'),
    ('training.num_epochs=99999999999', 'num_epochs must be a whole number'),
    ('seeds=a', r"seeds must be whole numbers .*got \('a',\)"),
    ('seeds=1.5', r'seeds must be whole numbers .*got \(1.5,\)'),
    ('seeds=True', r'seeds must be whole numbers .*got \(True,\)'),
    ('seeds=None', r'seeds must be whole numbers .*got \(None,\)'),
    ('classes=(1, 2)', 'classes must be names, got 1'),
    ('sweep.masks=3', 'sweep.masks must be names, got 3'),
  ],
)
def test_values_of_no_use_are_refused_by_their_keys(given, match):
  with pytest.raises(errors.InputError, match=match):
    experiment.validate(config_of(f'--config.{given}'))


def test_paths_of_a_config_have_the_home_folder_in_them(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  config = config_of(
    '--config.data_dir=~/data',
    '--config.corpus.folder=~/ravdess',
    '--config.corpus.manifest=gs://b/list.csv',
    "--config.sweep.checkpoints=('~/a', 'b')",
    "--config.sweep.sources=('wavecnn', '~/a')",
  )
  command.expand_paths(config)
  assert config.data_dir == '/home/me/data'
  assert config.corpus.to_dict() == {
    **config_of().corpus.to_dict(),
    'folder': '/home/me/ravdess',
    'manifest': 'gs://b/list.csv',
  }
  assert config.sweep.checkpoints == ('/home/me/a', 'b')
  assert config.sweep.sources == ('wavecnn', '/home/me/a')
  config.corpus.folder = '~nobody-of-that-name/x'
  with pytest.raises(errors.InputError, match='folder must be a path'):
    command.expand_paths(config)


# Prints where a program ended up, and then finds the disk full.
SURROUNDED = """
import errno, os
from launch import command, console
def main():
  import matplotlib.figure
  print(command.CONFIG.value.task, os.environ['NUMBA_CACHE_DIR'])
  print('caf\\u00e9')
  raise OSError(errno.ENOSPC, 'full')
command.run(main)
"""


def test_a_program_runs_in_any_surroundings_and_reports_a_full_disk(tmp_path):
  """No home, a notebook's backend, an ASCII console, other `configs` here."""
  configs = tmp_path / 'configs'
  configs.mkdir()
  (configs / '__init__.py').touch()
  (configs / 'mine.py').write_text("TASK = 'emotion'\n")
  (configs / 'own.py').write_text(
    'from configs import mine, paper\n'
    'def get_config():\n'
    '  config = paper.get_config()\n'
    '  config.task = mine.TASK\n'
    '  return config\n'
  )
  environment = {
    **os.environ,
    'PYTHONPATH': f'{tmp_path}:{ROOT}',
    'HOME': '/proc/nowhere',
    'MPLBACKEND': 'backend_of_a_notebook',
    'PYTHONIOENCODING': 'ascii',
    'TMPDIR': str(tmp_path),
  }
  for name in ('JAX_COMPILATION_CACHE_DIR', 'XDG_CACHE_HOME', 'XLA_FLAGS'):
    environment.pop(name, None)
  done = subprocess.run(
    [
      *(sys.executable, '-c', SURROUNDED, '--config=configs/own.py'),
      f'--workdir={tmp_path}/caf\u00e9',
    ],
    cwd=tmp_path,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0].startswith(f'emotion {tmp_path}/advspeech-')
  assert lines[1] == 'caf\\xe9'
  first, last = done.stderr.splitlines()
  assert first.startswith('no home folder that can be written to')
  assert last.startswith(
    f'error: {tmp_path}/caf\\xe9 cannot be written or read'
  )
  assert [p.name for p in tmp_path.iterdir()] == ['configs']


# Native code may run on while Python goes down: nobody waits for it, and no
# destructor is called.
EXITING = """
import atexit, sys
from launch import command
atexit.register(print, 'went down')
command.run(lambda: sys.exit({code!r}))
"""


@pytest.mark.parametrize(('code', 'expected'), [(3, 3), ('x', 1), (None, 0)])
def test_a_program_that_is_left_from_within_runs_no_destructors(code, expected):
  done = subprocess.run(
    [sys.executable, '-c', EXITING.format(code=code)],
    cwd=ROOT,
    env={**devices.environment(), 'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stdout) == (expected, ''), done.stderr
  assert ('error: x' in done.stderr) == (code == 'x')


@pytest.mark.parametrize('limit', ['v 2000000', 'n 20'])
def test_a_shell_that_lets_programs_have_too_little_is_reported(limit):
  """A library waits for good where a thread of its own cannot start."""
  done = subprocess.run(
    [
      *('bash', '-c', f'ulimit -{limit}; exec "$0" -m launch.train'),
      sys.executable,
    ],
    cwd=ROOT,
    env=devices.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2, done.stderr
  (sentence,) = done.stderr.splitlines()
  assert sentence.startswith('error: a program may ')
  assert f'(ulimit -{limit[0]}) and needs' in sentence


@pytest.mark.parametrize(
  ('redirection', 'code'),
  [('>/dev/full', 0), ('>&-', 0), ('2>&-', 0), ('>&- 2>&-', 0), ('| true', 0)],
)
def test_printing_never_fails(redirection, code):
  program = (
    'from launch import console; import sys; console.never_fail(); '
    "print('a' * 100_000); print('b', file=sys.stderr)"
  )
  done = subprocess.run(
    [
      *('bash', '-c', f'set -o pipefail; "$0" -c "$1" {redirection}'),
      *(sys.executable, program),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == code, done.stderr
  assert 'Traceback' not in done.stderr


def test_names_cannot_command_the_terminal(capsys):
  class_name = 'happy\x1b[2J\x07'
  record = logging.LogRecord('a', 20, '', 0, '%s: 3 clips', (class_name,), None)
  line = console.HarmlessFormatter().format(record)
  assert line == 'happy\\x1b[2J\\x07: 3 clips'
  command.report(f'{class_name}\n\t1 männlich')
  console.fail(f'no {class_name}\nhere', code=None)
  told = capsys.readouterr()
  assert told.out == 'happy\\x1b[2J\\x07\n\t1 männlich\n'
  assert told.err == 'error: no happy\\x1b[2J\\x07\\nhere\n'


def start_local(folder, num_processes, waits):
  """Starts processes of a module, which says a line when it waits."""
  (folder / 'waits.py').write_text(waits)
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'launch.local'),
      *(f'--num_processes={num_processes}', '--', 'waits'),
    ],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': f'{folder}:{ROOT}'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_what_stops_launch_local_stops_its_processes(tmp_path):
  process = start_local(
    tmp_path,
    1,
    'import signal, sys\n'
    'signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n'
    "print('ready', flush=True)\n"
    'signal.pause()\n',
  )
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(signal.SIGHUP)
  process.communicate(timeout=60)
  assert process.returncode == 75


@pytest.mark.parametrize(
  ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 75)]
)
def test_launch_local_is_stopped_before_its_processes_heed_signals(
  tmp_path, number, code
):
  process = start_local(
    tmp_path, 2, "import signal\nprint('ready', flush=True)\nsignal.pause()\n"
  )
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(number)
  process.communicate(timeout=60)
  assert process.returncode == code


def test_launch_local_repeats_why_another_process_failed(tmp_path):
  process = start_local(
    tmp_path,
    2,
    'import signal, sys\n'
    "if '--process_id=1' in sys.argv:\n"
    "  sys.exit('error: no clips')\n"
    'signal.pause()\n',
  )
  _, told = process.communicate(timeout=60)
  assert process.returncode == 1
  assert 'error: process 1 ended with 1; see ' in told
  assert told.endswith('process-1.log, which ends: error: no clips\n')


@pytest.mark.skipif(sys.platform != 'linux', reason='Linux tells of it')
def test_when_launch_local_is_killed_its_processes_stop(tmp_path):
  process = start_local(
    tmp_path,
    1,
    'import os, time\n'
    'from launch import ending\n'
    'ending.prepare()\n'
    "print('ready', os.getpid(), flush=True)\n"
    'time.sleep(600)\n',
  )
  pid = int(process.stdout.readline().split()[1])
  try:
    process.kill()
    # Until both have closed it.
    _, told = process.communicate(timeout=60)
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
  assert told.endswith('stopped by SIGTERM; there was nothing to save yet\n')


def test_a_workdir_of_another_config_is_refused(server, tiny):
  workdir, args = tiny
  fails(
    server,
    *args,
    '--config.training.num_epochs=2',
    match='belongs to another config.*num_epochs is 1 there and 2 now',
  )
  assert (workdir / 'attack' / 'sweep.csv').exists()


def test_a_folder_that_is_not_there_is_named(server, tmp_path):
  fails(
    server,
    '--config=configs/ravdess.py:gender,small',
    f'--config.corpus.folder={tmp_path / "nowhere"}',
    f'--config.data_dir={tmp_path / "data"}',
    f'--workdir={tmp_path / "run"}',
    match='nowhere is not a folder',
  )


def test_a_folder_without_recordings_is_named(server, tmp_path):
  (tmp_path / 'nothing').mkdir()
  fails(
    server,
    '--config=configs/ravdess.py:gender,small',
    f'--config.corpus.folder={tmp_path / "nothing"}',
    f'--config.data_dir={tmp_path / "data"}',
    f'--workdir={tmp_path / "run"}',
    match='nothing holds no recordings',
  )


def test_a_batch_no_device_count_divides_is_named(espeak_dir, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      'launch.train',
      *TINY,
      '--config.training.batch_size=30',
      '--config.training.side_by_side=False',
      f'--config.data_dir={espeak_dir}',
      f'--workdir={tmp_path}',
    ],
    cwd=ROOT,
    env=devices.environment(4),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert 'got 30 and 4; use 28 or 32' in done.stderr


def test_huge_pages_are_asked_for_unless_malloc_is_set_up_already(tmp_path):
  script = tmp_path / 'show.py'
  script.write_text(
    'import os, sys\n'
    f'sys.path.insert(0, {str(ROOT)!r})\n'
    'from launch import command\n'
    "command.run(lambda: print('tunables', os.environ['GLIBC_TUNABLES']))\n"
  )
  setting = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
  if not setting.exists() or '[madvise]' not in setting.read_text():
    pytest.skip('this system gives huge pages unasked, or not at all')
  environment = {k: v for k, v in os.environ.items() if k != 'GLIBC_TUNABLES'}
  for given, expected in (
    ({}, 'glibc.malloc.hugetlb=1'),
    ({'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}, 'glibc.malloc.hugetlb=0'),
  ):
    done = subprocess.run(
      [sys.executable, script, '--config=configs/quickstart.py'],
      cwd=ROOT,
      env={**environment, **given},
      capture_output=True,
      text=True,
      check=True,
    )
    assert f'tunables {expected}' in done.stdout


def test_a_full_disk_under_the_data_sets_is_named(monkeypatch, tmp_path):
  def fill(*args, **kwargs):
    try:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as e:
      raise RuntimeError('Failed to construct dataset') from e

  monkeypatch.setattr(corpora, 'prepare', fill)
  config = config_of(f'--config.data_dir={tmp_path}')
  with pytest.raises(errors.InputError, match=f'{tmp_path}/espeak.*make room'):
    experiment.prepare(config)
