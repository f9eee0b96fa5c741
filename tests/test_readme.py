"""What the README shows, runs."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')
EXAMPLES = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def test_there_is_an_example():
  assert EXAMPLES


@pytest.mark.parametrize('code', EXAMPLES)
def test_every_python_example_runs(code):
  exec(compile(code, 'README.md', 'exec'), {})


def test_every_file_and_command_it_names_exists():
  for path in re.findall(r'\]\((?!http)([^)#]+)\)', README):
    assert (ROOT / path).exists(), path
  for name in re.findall(r'-m launch\.(\w+)', README):
    assert (ROOT / 'launch' / f'{name}.py').exists(), name
  for name in re.findall(r'configs/(\w+)\.py', README):
    assert (ROOT / 'configs' / f'{name}.py').exists(), name
