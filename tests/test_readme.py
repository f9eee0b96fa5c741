"""What the README and the guides show runs, and what they name exists."""

import pathlib
import re

import pytest

from configs import __main__ as config_tables

ROOT = pathlib.Path(__file__).parent.parent
GUIDES = {
  name: (ROOT / name).read_text(encoding='utf-8')
  for name in (
    'README.md',
    'launch/README.md',
    'configs/README.md',
    'advspeech/README.md',
  )
}
EXAMPLES = [
  pytest.param(code, id=f'{name}-{i}')
  for name, text in GUIDES.items()
  for i, code in enumerate(re.findall(r'```python\n(.*?)```', text, re.DOTALL))
  if 'flaxspeaker' not in code  # that takes a model: test_flaxspeaker.py
]


def anchors(text):
  """Returns the names by which headings are linked to, as GitHub makes them."""
  titles = re.findall(
    r'^#+ (.*)$', re.sub(r'```.*?```', '', text), re.MULTILINE
  )
  return {
    re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles
  }


def test_there_are_examples():
  assert len(EXAMPLES) > 3


@pytest.mark.slow
@pytest.mark.parametrize('code', EXAMPLES)
def test_every_python_example_runs(code):
  exec(compile(code, 'README.md', 'exec'), {})


@pytest.mark.parametrize('name', GUIDES)
def test_every_file_heading_and_command_it_names_exists(name):
  text = GUIDES[name]
  for path, anchor in re.findall(r'\]\((?!http)([^)#]*)(?:#([^)]+))?\)', text):
    target = (ROOT / name).parent / path if path else ROOT / name
    assert target.exists(), path
    if anchor:
      assert anchor in anchors(target.read_text(encoding='utf-8')), anchor
  for program in re.findall(r'-m launch\.([\w.]*\w)', text):
    assert (ROOT / 'launch' / f'{program.replace(".", "/")}.py').exists(), (
      program
    )
  for config in re.findall(r'configs/(\w+)\.py', text):
    assert (ROOT / 'configs' / f'{config}.py').exists(), config


def test_the_readme_has_two_screens_and_its_guides_the_rest():
  assert len(GUIDES['README.md'].splitlines()) <= 220


def test_the_tables_of_keys_are_those_of_the_recipe():
  tables = config_tables.tables()
  assert tables.strip() in GUIDES['configs/README.md'], (
    'put the output of python -m configs into configs/README.md'
  )
  for name, default, comment in config_tables.entries():
    assert comment or not default or name == 'lr_search.high', name
