"""Victims that are plain functions: judged and attacked as a module is."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import sweep_subjects

from advspeech import errors, sweep
from advspeech.sweep import victims

HERE = 'test_victims'


def loudness(audio):
  """Logits of three classes by loudness, quietest first."""
  level = jnp.abs(audio - 0.5).mean(-1)
  return jnp.stack([0 * level, 40 * level - 1, 80 * level - 4], -1)


def two_logits(audio):
  return loudness(audio)[:, :2]


def named(audio):
  return two_logits(audio)


named.classes, named.task, named.title = ('calm', 'sad'), 'emotion', 'Named'


def no_logits(audio):
  return audio


@pytest.fixture(scope='module')
def split():
  return sweep_subjects.make_split()


def member_of(split, logits_fn, name='mine'):
  return sweep.Member.from_function(
    name, logits_fn, sweep_subjects.CLASSES, split.labels, seed=0
  )


@pytest.mark.slow
def test_a_function_is_attacked_and_judged_as_the_module_it_calls(split):
  module = sweep_subjects.make_members(split)[0]
  victim = member_of(split, module.classifier.logits_fn)
  for pair, source in (((module, victim), 0), ((victim, module), 0)):
    planned = sweep_subjects.make_planned(source=source)
    found = sweep_subjects.judge(planned, pair, split)
    np.testing.assert_array_equal(
      found.predictions[:, :, 0], found.predictions[:, :, 1]
    )
    np.testing.assert_array_equal(found.clean[0], found.clean[1])
  assert (found.predictions[-1, 0, 0] != found.clean[0]).any()


def test_two_victims_are_two_models(split):
  pair = [
    member_of(split, loudness, 'loud'),
    member_of(split, lambda x: loudness(1 - x)[:, ::-1], 'turned'),
  ]
  found = sweep_subjects.judge(sweep_subjects.make_planned(), pair, split)
  np.testing.assert_array_equal(found.clean[0], 2 - found.clean[1])


def test_what_a_sweep_is_known_by_does_not_change_with_the_process(split):
  made = member_of(split, loudness).classifier.model
  again = member_of(split, lambda x: loudness(x)).classifier.model
  assert repr(made) == repr(again)
  assert '0x' not in repr(made)
  assert made != dataclasses.replace(made, name='other')


def test_a_victim_has_the_runs_classes_or_its_own():
  where = {'task': 'gender', 'classes': ('a', 'b', 'c'), 'num_samples': 640}
  loaded = sweep.load_victim(f'{HERE}:loudness', **where)
  assert loaded.metadata['classes'] == ['a', 'b', 'c']
  assert loaded.metadata['task'] == 'gender'
  loaded = sweep.load_victim(f'{HERE}:named', **where)
  assert loaded.metadata['classes'] == ['calm', 'sad']
  assert loaded.metadata['task'] == 'emotion'


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('two_logits', r'\(2, 3\) for two clips and the classes a, b, c, got'),
    ('no_logits', r'got \(2, 640\); give it its own `classes`'),
    ('HERE', "must be a function .* got 'test_victims'"),
  ],
)
def test_what_returns_no_logits_is_refused(name, message):
  with pytest.raises(errors.InputError, match=message):
    victims.load(
      f'{HERE}:{name}', task='gender', classes='abc', num_samples=640
    )
