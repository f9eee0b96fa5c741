"""What tests of studies share: a run with one model, and that parts stay."""

import types

import jax
import numpy as np
import pytest
import soundfile
import tiny

from advspeech import (
  audio,
  checkpoint,
  errors,
  over_clips,
  parallel,
  storage,
  studies,
)


def small_run(folder, config):
  """Returns a run with one trained model, as far as a study asks of one.

  Args:
    folder: Where the model is trained, and studies may have theirs.
    config: Of one seed; its models become the tiny one.
  """
  config.models = (tiny.MODEL,)
  config.model_options = {'tinymodel': {}}
  config.source = tiny.MODEL
  config.seeds = (0,)
  config.sweep.batch_size = 8
  names = ('train', 'validation', 'test')
  splits = {
    name: tiny.tones(n, seed)
    for seed, (name, n) in enumerate(zip(names, (24, 8, 16), strict=True))
  }
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  tiny.run(config, folder / 'own', mesh=mesh, splits=splits)
  classifier = checkpoint.load_classifier(str(folder / 'own'))
  return types.SimpleNamespace(
    config=config,
    config_of=lambda name: config,
    classes=tiny.CLASSES,
    classifier=lambda name, seed: classifier,
    data=types.SimpleNamespace(splits=splits),
    training_meshes=[mesh],
    folder=folder,
  )


def sounds_of(folder):
  """Returns the clips that a study wrote to listen to, grouped by their id.

  Each is an entry of its list with its `pcm`, [time] int16.
  """
  found = storage.read_json(str(folder / 'examples.json'), kind=list)
  for entry in found:
    pcm, rate = soundfile.read(folder / 'audio' / entry['file'], dtype='int16')
    assert rate == 16_000
    entry['pcm'] = pcm
  return storage.grouped(found, ('id',))


def recorded(split, name):
  """Returns the recorded samples of a clip of a split, [time] int16."""
  (row,) = np.flatnonzero(split.ids == name)
  return np.asarray(split.pcm)[row, slice(*split.spans[row])]


def answer(run, pcm):
  """Returns the class that the run's model gives to a whole clip."""
  classifier = run.classifier('', 0)
  logits = classifier.logits_fn(audio.from_pcm(pcm[None]))
  return run.classes[int(logits[0].argmax())]


def assert_parts_stay(run, folder, name, key, value, monkeypatch):
  """A study's last table is written again from its parts, and no other's.

  Args:
    run: That the study is of.
    folder: Where it is complete.
    name: Of the study.
    key: Of its section of the config, that decides about its numbers.
    value: Another one.
    monkeypatch: Of pytest.
  """
  study = studies.resolve(name)
  last = folder / study.table
  before = last.read_bytes()
  last.unlink()
  monkeypatch.setattr(over_clips, 'map_clips', None)
  study.run(run, str(folder))
  assert last.read_bytes() == before
  config = run.config.copy_and_resolve_references()
  config[name][key] = value
  last.unlink()
  other = types.SimpleNamespace(**{**vars(run), 'config': config})
  with pytest.raises(errors.InputError, match=rf'another study \({key} dif'):
    study.run(other, str(folder))
  study.run(run, str(folder))
