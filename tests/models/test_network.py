"""Models of one's own: made, checked, measured."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import errors, models
from advspeech.models import network

HERE = 'test_network'
TINY = 'tests.tiny_models:TinyModel'


class NoTrain(nn.Module):
  num_classes: int

  def __call__(self, audio):
    return audio


class NoClasses(nn.Module):
  def __call__(self, audio, *, train, valid=None):
    return audio


class NoLogits(nn.Module):
  num_classes: int

  def __call__(self, audio, *, train, valid=None):
    return audio


class Framed(nn.Module):
  num_classes: int
  precision: jax.lax.Precision | None = None
  dtype: jnp.dtype = jnp.float32
  norm_axis: str | None = None
  widths: tuple[int, ...] = ()
  frame_samples = 400

  @nn.compact
  def __call__(self, audio, *, train, valid=None):
    x = audio.reshape(len(audio), -1, self.frame_samples).mean(1)
    return nn.Dense(self.num_classes, dtype=self.dtype)(x)

  def activation_bytes(self, num_samples):
    return 7 * num_samples


def function(audio):
  return audio


def test_a_model_is_made_with_its_options_and_what_it_asks_for():
  made = models.create_model(TINY, 3, width=5, norm_axis='data')
  assert (made.num_classes, made.width) == (3, 5)
  framed = models.create_model(
    f'{HERE}:Framed', 2, precision='bfloat16', norm_axis='data', widths=[1, 2]
  )
  assert framed.dtype == jnp.bfloat16
  assert framed.precision == jax.lax.Precision.DEFAULT
  assert framed.widths == (1, 2)
  assert models.norms_over_the_mesh(framed)
  assert not models.norms_over_the_mesh(made)


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    ('function', {}, 'must be a class of flax.linen.Module, got <function'),
    ('NoTrain', {}, 'has no argument train and no argument valid'),
    ('NoClasses', {}, 'it has no field num_classes'),
    ('Framed', {'depth': 1}, 'framed must be among widths .* got .depth.'),
    ('Framed', {'norm_axis': 'data2'}, None),
  ],
)
def test_what_keeps_no_protocol_is_refused(name, options, message):
  if message is None:  # a field that is filled in is no option
    with pytest.raises(errors.InputError, match='must be among widths'):
      network.own_class(f'{HERE}:{name}', options)
    return
  with pytest.raises(errors.InputError, match=message):
    models.create_model(f'{HERE}:{name}', 2, **options)


def test_an_arithmetic_that_a_model_cannot_follow_is_refused():
  with pytest.raises(errors.InputError, match="float32, got 'bfloat16'; give"):
    models.create_model(TINY, 2, precision='bfloat16')


def test_clips_that_a_model_cannot_take_are_refused_before_any_work():
  framed = models.create_model(f'{HERE}:Framed', 2)
  models.check('framed', framed, 800)
  with pytest.raises(errors.InputError, match='whole frames of 400 samples'):
    models.check('framed', framed, 801)
  with pytest.raises(errors.InputError, match=r'\(2, 2\) for two clips, got'):
    models.check('x', models.create_model(f'{HERE}:NoLogits', 2), 800)


def test_memory_is_what_a_model_says_or_its_layers_return():
  framed = models.create_model(f'{HERE}:Framed', 2)
  assert models.activation_bytes(framed, 800) == 7 * 800
  # 16,000 samples in strides of 8, 64 maps of float32.
  wide = models.create_model(TINY, 2, width=64)
  assert models.activation_bytes(wide, 16_000) == 2000 * 64 * 4
  narrow = models.create_model(TINY, 2, width=1)
  assert models.activation_bytes(narrow, 16_000) == 4 * 16_000 * 4
  papers = models.create_model('wavernn', 2, features=8, input_pool=2)
  assert models.activation_bytes(papers, 16_000) == 8000 * 8 * 4


def test_dropout_is_off_in_evaluation():
  model = models.create_model(TINY, 2, dropout=0.5)
  clips = jnp.linspace(0, 1, 2 * 640).reshape(2, 640)
  variables = model.init(jax.random.key(0), clips, train=False)
  logits = [
    model.apply(
      variables, clips, train=train, rngs={'dropout': jax.random.key(seed)}
    )
    for train, seed in ((False, 0), (False, 1), (True, 0), (True, 1))
  ]
  np.testing.assert_array_equal(logits[0], logits[1])
  assert (logits[2] != logits[3]).any()
