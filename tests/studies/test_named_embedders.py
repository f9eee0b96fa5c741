"""Embedders come from outside, from the run, or from another run's folder."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from advspeech import checkpoint, errors, models
from advspeech.studies import named_embedders

FOLDER = 'runs/other/tiny-seed0'


def classifier(task, classes):
  model = models.create_model(tiny.MODEL, 2, width=5)
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(
    jnp.zeros((1, tiny.TIME))
  )
  clip = tiny.get_config().clip.to_dict()
  metadata = {'task': task, 'classes': classes, 'clip': clip}
  metadata['clip_samples'] = tiny.TIME
  return checkpoint.Classifier(model, variables, metadata, 1)


@pytest.fixture
def run():
  config = tiny.get_config()
  config.models = (tiny.MODEL,)
  speakers = types.SimpleNamespace(speakers=np.array(['a', 'b', '']))
  return types.SimpleNamespace(
    config=config,
    classifier=lambda name, seed: classifier('gender', ['f', 'm']),
    data=types.SimpleNamespace(
      splits={'train': speakers, 'validation': speakers}
    ),
  )


def load(run, monkeypatch, task, classes):
  monkeypatch.setattr(
    checkpoint,
    'load_classifier',
    lambda folder, precision: {FOLDER: classifier(task, classes)}[folder],
  )
  return named_embedders.load(run, (tiny.MODEL, FOLDER))


def test_of_speaker_models_it_is_known_whom_they_have_heard(run, monkeypatch):
  own, other = load(run, monkeypatch, 'speaker', ['c', 'd'])
  assert own.heard == {'a', 'b'}
  assert other.heard == {'c', 'd'}
  assert other.embedder.name == other.identity[0] == FOLDER
  x = jnp.full((2, tiny.TIME), 0.5)
  assert other.embedder(x, jnp.ones_like(x)).shape == (2, 5)
  assert not load(run, monkeypatch, 'gender', ['c', 'd'])[1].heard


def test_a_folder_of_clips_of_another_length_is_refused(run, monkeypatch):
  run.config.clip_s = 1.0
  with pytest.raises(errors.InputError, match=FOLDER):
    load(run, monkeypatch, 'speaker', ['c', 'd'])
