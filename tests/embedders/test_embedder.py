"""Embedders by name, of one's own and out of trained models."""

import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_subjects

from advspeech import checkpoint, embedders, errors, models
from advspeech.embedders import resemblyzer_weights

HERE = 'test_embedder'
TIME = 1280


def spans(samples, mask):
  """The lowest, the highest and the mean recorded sample."""
  low, high = (f(samples, -1) for f in (jnp.min, jnp.max))
  return jnp.stack([low, high, (samples * mask).sum(-1) / mask.sum(-1)], -1)


spans.sample_rate_hz, spans.sample_range = 16_000, (-32768, 32767)
spans.title = 'Spans'


def silent(samples, mask):
  return samples[:, :4]


def at_8_khz(samples, mask):
  return samples[:, ::2]


at_8_khz.sample_rate_hz, at_8_khz.sample_range = 8_000, (-1, 1)


def upside_down(samples, mask):
  return samples


upside_down.sample_rate_hz, upside_down.sample_range = 16_000, (1, -1)


def one_number(samples, mask):
  return samples.mean(-1)


def rounded(samples, mask):
  return jnp.round(samples[:, :8])


def counted(samples, mask):
  shape = jax.ShapeDtypeStruct((len(samples), 2), jnp.float32)
  return jax.pure_callback(lambda x: x[:, :2], shape, samples)


for fn in (one_number, rounded, counted):
  fn.sample_rate_hz, fn.sample_range = 16_000, (-1, 1)


def load(name):
  return embedders.load(f'{HERE}:{name}', TIME)


def test_a_function_of_ones_own_gets_the_samples_it_takes():
  found = load('spans')
  assert found.title == 'Spans'
  audio = jnp.tile(jnp.array([[0.0, 0.5, 1.0, 1.0]]), (2, TIME // 4))
  mask = jnp.ones_like(audio).at[:, 2::4].set(0).at[:, 3::4].set(0)
  np.testing.assert_allclose(
    found(audio, mask), [[-32768, 32767, -16384.25]] * 2
  )
  embedders.check_gradients(found, audio, mask)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    (
      'silent',
      r'carries sample_rate_hz and sample_range.*silent\.sample_range',
    ),
    ('at_8_khz', 'takes 8000 Hz, and clips have 16000 Hz; let it resample'),
    ('upside_down', r'its lowest and its highest sample.*got \(1, -1\)'),
    ('one_number', r'must return embeddings \[batch, dimension\]'),
    ('absent', 'test_embedder has no absent'),
  ],
)
def test_what_is_no_embedder_is_refused(name, message):
  with pytest.raises(errors.InputError, match=message):
    load(name)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('rounded', 'on the first clips it is only zeros'),
    ('counted', 'has no gr'),
  ],
)
def test_a_victim_without_gradients_is_refused(name, message):
  audio = jnp.full((2, TIME), 0.6)
  with pytest.raises(errors.InputError, match=message):
    embedders.check_gradients(load(name), audio, jnp.ones_like(audio))


def test_without_the_wheel_what_to_install_is_said(monkeypatch):
  def absent(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'distribution', absent)
  resemblyzer_weights.load.cache_clear()
  with pytest.raises(errors.InputError, match='pip install --no-deps Resembly'):
    embedders.load('resemblyzer', TIME)


def test_the_embedding_of_a_model_is_what_its_last_layer_is_given():
  model = models.create_model(sweep_subjects.TINY, 3, width=5)
  audio = jax.random.uniform(jax.random.key(1), (2, TIME))
  variables = model.init(jax.random.key(0), audio, train=False)
  classifier = checkpoint.Classifier(
    model, variables, {'clip_samples': TIME}, 1
  )
  found = embedders.of_classifier('tiny', classifier)(audio, audio)
  assert found.shape == (2, 5)
  last = variables['params']['logits']
  logits = found @ last['kernel'] + last['bias'][None]
  np.testing.assert_allclose(classifier.logits_fn(audio), logits, rtol=1e-5)


@pytest.mark.parametrize('name', ['wavecnn', 'wavernn'])
def test_embeddings_of_the_papers_models_have_their_hidden_units(name):
  model = models.create_model(name, 3, features=2, hidden_features=64)
  audio = jax.ShapeDtypeStruct((2, 48_000), jnp.float32)
  variables = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), audio
  )
  metadata = {'clip_samples': 48_000}
  embedder = embedders.of_classifier(
    name, checkpoint.Classifier(model, variables, metadata, 1)
  )
  found = jax.eval_shape(embedder.apply, variables, audio, audio)
  assert found.shape == (2, 64)


def test_a_model_without_such_a_layer_is_refused():
  function = sweep_subjects.sweep.Member.from_function(
    'levels', lambda audio: audio[:, :3], ('a', 'b', 'c'), np.zeros(1, int)
  )
  classifier = function.classifier
  classifier.metadata['clip_samples'] = TIME
  with pytest.raises(errors.InputError, match="layer called 'logits'"):
    embedders.of_classifier('levels', classifier)
