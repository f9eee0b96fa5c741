"""Names of one's own are found, and bad ones get one sentence."""

import sys

import pytest

from advspeech import errors, registry

BUILTIN = {'one': 1, 'two': 2}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A current folder with a module, which nothing puts on Python's path."""
  (tmp_path / 'mine_of_test.py').write_text(
    "class Thing:\n  title = 'A thing'\ndef plain(): pass\n"
  )
  (tmp_path / 'broken_of_test.py').write_text('import no_such_library\n')
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [p for p in sys.path if p])
  yield tmp_path
  for name in ('mine_of_test', 'broken_of_test'):
    sys.modules.pop(name, None)


def test_built_in_names_and_own_ones_are_resolved(folder):
  assert registry.resolve('a number', 'two', BUILTIN) == 2
  found = registry.resolve('a number', 'mine_of_test:Thing', BUILTIN)
  assert found.title == 'A thing'


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('three', r'a number must be one of one, two, or your own as package\.mod'),
    ('absent_of_test:x', 'there is no module absent_of_test in .*install it'),
    ('mine_of_test.sub:x', 'there is no module mine_of_test.sub'),
    ('mine_of_test:Other', 'mine_of_test has no Other; it has Thing, plain'),
    ('mine_of_test:', 'is written package.module:attribute, got'),
    ('mine_of_test:a b', 'is written package.module:attribute, got'),
    (':Thing', 'there is no module  in'),
    ('.mine_of_test:Thing', 'there is no module .mine_of_test'),
  ],
)
def test_a_name_that_names_nothing_gets_a_sentence(folder, name, message):
  with pytest.raises(errors.InputError, match=message):
    registry.resolve('a number', name, BUILTIN)


def test_a_module_that_lacks_a_library_says_so_itself(folder):
  with pytest.raises(ModuleNotFoundError, match='no_such_library'):
    registry.resolve('a number', 'broken_of_test:x', BUILTIN)


def test_files_are_named_by_the_attribute_alone():
  assert registry.short_name('my.models:LogMel') == 'logmel'
  assert registry.short_name('wavecnn') == 'wavecnn'
  registry.check_short_names('config.models', ['wavecnn', 'my:Other'])
  with pytest.raises(errors.InputError, match='both be called wavecnn;'):
    registry.check_short_names('config.models', ['wavecnn', 'my:WaveCNN'])


def test_titles_are_what_a_thing_says_or_its_name(folder):
  assert registry.title('one', {'one': 'The one'}) == 'The one'
  assert registry.title('other', {}) == 'other'
  assert registry.title('mine_of_test:Thing', {}) == 'A thing'
  assert registry.title('mine_of_test:plain', {}) == 'plain'
  assert registry.title('absent_of_test:Thing', {}) == 'Thing'
