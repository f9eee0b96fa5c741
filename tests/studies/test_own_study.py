"""A study of the user's own, as the guide shows it, from table to page."""

import pathlib
import re
import sys
import types

import numpy as np
import pytest
import report_runs as runs

from advspeech import errors, experiment, input_pipeline, paths, report
from configs import quickstart

ROOT = pathlib.Path(__file__).parent.parent.parent
NAME = 'loudness:STUDY'


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Where the guide's `loudness.py` lies, as the current folder."""
  guide = (ROOT / 'advspeech' / 'README.md').read_text(encoding='utf-8')
  examples = re.findall(r'```python\n(.*?)```', guide, re.DOTALL)
  (code,) = (code for code in examples if 'studies.Study' in code)
  (tmp_path / 'loudness.py').write_text(code)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield tmp_path
  sys.modules.pop('loudness', None)


@pytest.mark.slow
def test_a_study_of_ones_own_is_run_drawn_and_on_the_page(folder, monkeypatch):
  workdir = folder / 'run'
  runs.write(workdir, studies=(NAME,))
  page = pathlib.Path(report.write(str(workdir))).read_text()
  assert f'python -m launch.study {NAME}' in page
  assert 'No clip is louder' in page

  rng = np.random.default_rng(0)
  clips = input_pipeline.Split(
    ids=np.array(['a', 'b', 'c']),
    pcm=rng.integers(-3000, 3000, (3, 640), np.int16),
    num_samples=np.full(3, 640),
    labels=np.zeros(3, np.int32),
  )
  data = types.SimpleNamespace(
    splits={'test': clips}, task=types.SimpleNamespace(classes=('x', 'y'))
  )
  monkeypatch.setattr(experiment.Run, 'data', data)
  config = quickstart.get_config()
  run = experiment.Run(config, paths.RunPaths(str(workdir)), False)
  made = pathlib.Path(experiment.study(run, NAME))
  assert made == workdir / 'studies' / 'loudness'
  assert (made / 'clips.csv').read_text().count('\n') == 4
  assert (made / 'levels.svg').exists()
  assert not (workdir / 'report' / 'index.html').exists()  # it lacks this

  drawn = (made / 'levels.svg').read_bytes()
  (made / 'clips.csv').unlink()
  clips.pcm[:] //= 100
  experiment.study(run, NAME)
  assert (made / 'levels.svg').read_bytes() != drawn  # not that of other tables

  page = pathlib.Path(report.write(str(workdir))).read_text()
  assert '<h2 id="loudness">How loud the clips are</h2>' in page
  assert '<a href="#loudness">How loud the clips are</a>' in page
  assert 'Levels in dB, of all clips.' in page
  assert 'href="../studies/loudness/levels.svg"' in page
  assert re.search(r'confirmed</span><div><p>No clip is louder', page)
  assert 'The loudest has -' in page


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('loudness:NONE', 'loudness has no NONE'),
    ('quietness:STUDY', 'there is no module quietness'),
    ('loudness:Loudness.run', 'is written package.module:attribute'),
  ],
)
def test_a_study_that_is_not_there_is_refused(folder, name, message):
  config = quickstart.get_config()
  config.studies = (name,)
  with pytest.raises(errors.InputError, match=message):
    experiment.validate(config)


@pytest.mark.parametrize('name', ['sweep', 'task', 'gradients', 'Own', 'a/b'])
def test_a_study_cannot_take_the_name_of_another_thing(
  folder, monkeypatch, name
):
  import loudness

  monkeypatch.setattr(loudness.Loudness, 'name', name)
  config = quickstart.get_config()
  config.studies = (NAME,)
  with pytest.raises(errors.InputError, match='and no other key of the config'):
    experiment.validate(config)


def test_numbers_of_its_section_are_checked(folder, monkeypatch):
  import loudness

  monkeypatch.setattr(loudness.Loudness, 'numbers', {'num': 'whole [1, 9]'})
  config = quickstart.get_config()
  config.studies = (NAME,)
  with pytest.raises(errors.InputError, match=r'loudness\.num is missing'):
    experiment.validate(config)
  config.loudness = {'num': 10}
  with pytest.raises(errors.InputError, match=r'loudness\.num must be a whole'):
    experiment.validate(config)
  config.loudness.num = 9
  experiment.validate(config)
