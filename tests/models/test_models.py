"""Table 1: lengths, parameter counts, and a second implementation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import shallow
from flax import traverse_util

from advspeech import attacks, errors, models
from advspeech.models import layers

SIX_SECONDS = 96_000


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, audio):
  return model.apply(variables, audio, train=False)


def shapes(model, num_samples):
  """Returns the shapes of a model's variables."""
  audio = jax.ShapeDtypeStruct((1, num_samples), jnp.float32)
  init = functools.partial(model.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), audio)


def num_parameters(model):
  params = shapes(model, SIX_SECONDS)['params']
  return sum(x.size for x in jax.tree.leaves(params))


def test_wavecnn_has_the_parameters_of_table_1():
  # Front end: 40*1*32 + 32 and 7 times 40*32*32 + 32: 288,256. Back end: 6
  # times 40*32*32 + 32: 245,952. Dense: 256*64 + 64 and 64*2 + 2.
  model = models.create_model('wavecnn', 2, norm='none')
  assert num_parameters(model) == 550_786


def test_wavernn_has_the_parameters_of_table_1():
  # Front end: 288,256. LSTM: 4 * (96*64 + 64*64 + 64). Dense: 64*2 + 2.
  model = models.create_model('wavernn', 2, norm='none')
  assert num_parameters(model) == 329_602


def test_the_tanh_rnn_has_one_gate_where_the_lstm_has_four():
  # Front end: 288,256. RNN: 96*64 + 64*64 + 64. Dense: 64*2 + 2.
  model = models.create_model('wavernn_tanh', 2, norm='none')
  assert num_parameters(model) == 298_690


@pytest.mark.slow
@pytest.mark.parametrize('name', models.NAMES)
def test_batch_norm_puts_a_scale_and_an_offset_in_the_biass_place(name):
  plain = num_parameters(models.create_model(name, 2, norm='none'))
  normed = num_parameters(models.create_model(name, 2, norm='batch'))
  num_layers = 14 if name == 'wavecnn' else 8
  assert normed - plain == 32 * num_layers


def layer_lengths(name, **options):
  """Returns {path of layer: length of its output} for six seconds."""
  model = models.create_model(name, 2, norm='none', **options)
  audio = jax.ShapeDtypeStruct((1, SIX_SECONDS), jnp.float32)

  def run(audio):
    _, captured = model.init_with_output(
      jax.random.key(0),
      audio,
      train=False,
      capture_intermediates=lambda m, _: isinstance(m, layers.ConvBlock),
    )
    return captured['intermediates']

  flat = traverse_util.flatten_dict(jax.eval_shape(run, audio), sep='/')
  return {
    path.removesuffix('/__call__'): value[0].shape
    for path, value in flat.items()
  }


@pytest.mark.parametrize('name', models.NAMES)
def test_front_end_halves_each_of_150_frames_eight_times(name):
  lengths = layer_lengths(name)
  expected = [320, 160, 80, 40, 20, 10, 5, 3]
  for i, length in enumerate(expected):
    assert lengths[f'frontend/layer_{i}'] == (length, 32, 150)


def test_input_pool_2_halves_every_length():
  lengths = layer_lengths('wavernn', input_pool=2)
  expected = [160, 80, 40, 20, 10, 5, 3, 2]
  for i, length in enumerate(expected):
    assert lengths[f'frontend/layer_{i}'] == (length, 32, 150)


def test_wavecnn_back_end_halves_450_samples_six_times():
  lengths = layer_lengths('wavecnn')
  for i, length in enumerate([225, 113, 57, 29, 15, 8]):
    assert lengths[f'layer_{i}'] == (length, 32, 1)


def random_variables(model, seed, num_samples):
  """Returns variables of every kind off their initial values.

  Not `model.init`'s: compiling that takes longer than most of these tests.
  """
  rng = np.random.default_rng(seed)

  def draw(path, x):
    if path[-1] in ('bias', 'mean'):
      return rng.normal(0, 0.1, x.shape)
    if path[-1] == 'var':
      return rng.uniform(0.5, 2, x.shape)
    if path[-1] == 'scale':  # of either sign: pooling comes before it
      return rng.uniform(0.5, 2, x.shape) * rng.choice([-1, 1], x.shape)
    kernel = rng.normal(0, (4 / np.prod(x.shape[:-1])) ** 0.5, x.shape)
    # Without a mean, which would outgrow layer by layer what clips differ in.
    return kernel - kernel.mean(tuple(range(x.ndim - 1)))

  flat = traverse_util.flatten_dict(shapes(model, num_samples))
  return traverse_util.unflatten_dict(
    {path: draw(path, x).astype(np.float32) for path, x in flat.items()}
  )


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('wavecnn', {'norm': 'batch'}),
    ('wavernn', {'norm': 'none', 'center_input': False, 'input_gain': 3.0}),
    *(
      pytest.param(name, options, marks=pytest.mark.slow)
      for name, options in (
        ('wavecnn', {'norm': 'none', 'center_input': False}),
        ('wavecnn', {'norm': 'batch', 'input_pool': 2}),
        ('wavecnn', {'norm': 'none', 'center_input': False, 'input_pool': 2}),
        ('wavernn', {'norm': 'batch'}),
        ('wavernn', {'norm': 'batch', 'input_pool': 2}),
      )
    ),
  ],
  ids=str,
)
def test_logits_and_input_gradients_equal_a_numpy_version(name, options):
  model = models.create_model(name, 3, features=6, hidden_features=5, **options)
  rng = np.random.default_rng(1)
  audio = rng.uniform(0, 1, (2, 10 * 640)).astype(np.float32)
  label = np.array([2, 0])
  variables = random_variables(model, 5, audio.shape[1])
  logits = apply(model, variables, audio)
  gradient = jax.grad(
    lambda x: attacks.cross_entropy(apply(model, variables, x), label).sum()
  )(audio)

  as_float64 = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
  expected, backward = reference.run(
    audio.astype(np.float64),
    as_float64,
    recurrent=name == 'wavernn',
    **{
      key: options[key]
      for key in ('input_pool', 'center_input', 'input_gain')
      if key in options
    },
  )
  expected_gradient = backward(
    reference.cross_entropy_gradient(expected, label)
  )
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)
  assert np.abs(expected_gradient).max() > 1e-4
  error = np.linalg.norm(gradient - expected_gradient)
  assert error < 1e-4 * np.linalg.norm(expected_gradient)


@pytest.mark.parametrize('name', models.NAMES)
def test_a_clips_logits_do_not_depend_on_its_neighbours_when_attacked(name):
  model = models.create_model(name, 2, features=4, hidden_features=4)
  audio = jax.random.uniform(jax.random.key(0), (3, 5 * 640))
  variables = random_variables(model, 5, audio.shape[1])
  together = apply(model, variables, audio)
  assert np.ptp(together, 0).min() > 1e-3  # what tells clips apart
  for i in range(3):
    alone = apply(model, variables, audio[i : i + 1])
    np.testing.assert_allclose(alone[0], together[i], rtol=1e-5, atol=1e-7)


def test_rows_that_are_not_valid_leave_batch_norm_alone():
  model = models.create_model('wavecnn', 2, features=4, hidden_features=4)
  audio = jax.random.uniform(jax.random.key(0), (3, 5 * 640))
  variables = random_variables(model, 5, audio.shape[1])

  @jax.jit
  def train(audio, valid):
    return model.apply(
      variables, audio, train=True, valid=valid, mutable=['batch_stats']
    )

  logits, updates = train(audio, jnp.ones(3))
  filled = jnp.concatenate([audio, jnp.full((2, 5 * 640), 0.9)])
  logits_filled, updates_filled = train(filled, jnp.array([1, 1, 1, 0, 0]))
  np.testing.assert_allclose(logits_filled[:3], logits, rtol=1e-4, atol=1e-4)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    updates_filled,
    updates,
  )


def test_forget_bias_is_the_second_quarter_of_the_input_bias():
  for forget_bias in (0.0, 1.0):
    model = models.create_model(
      'wavernn', 2, features=4, hidden_features=3, forget_bias=forget_bias
    )

    # Of the bias alone, which leaves little to compile.
    @functools.partial(jax.jit, static_argnums=0)
    def initial_bias(model):
      variables = model.init(
        jax.random.key(0), jnp.zeros((1, 640)), train=False
      )
      return variables['params']['input']['bias']

    np.testing.assert_array_equal(
      initial_bias(model),
      [0] * 3 + [forget_bias] * 3 + [0] * 6,
    )


@pytest.mark.slow
def test_he_kernels_leave_the_variance_that_glorots_halve():
  clip = np.random.default_rng(0).normal(0.5, 0.1, (1, 640)).astype(np.float32)

  @functools.partial(jax.jit, static_argnums=0)
  def initial(model):
    return model.init(jax.random.key(0), clip, train=False)['params']

  params = {
    init: initial(
      models.create_model(
        'wavecnn', 2, features=8, hidden_features=64, norm='none', init=init
      )
    )
    for init in models.INITS
  }
  for path in (('frontend', 'layer_3'), ('layer_5',)):
    he, glorot = (
      np.var(functools.reduce(dict.get, path, params[init])['kernel'])
      for init in ('he', 'glorot')
    )
    assert float(he) == pytest.approx(2 * float(glorot), rel=0.15)
    assert float(he) == pytest.approx(2 / (8 * 40), rel=0.1)
  hidden = float(np.var(params['he']['hidden']['kernel']))
  assert hidden == pytest.approx(2 / 8, rel=0.2)
  logits = [params[init]['logits']['kernel'] for init in models.INITS]
  np.testing.assert_array_equal(*logits)


def test_chrono_gates_remember_from_one_frame_to_the_clip():
  model = models.create_model(
    'wavernn', 2, features=4, hidden_features=512, gate_init='chrono'
  )

  @jax.jit
  def initial_bias(key):
    variables = model.init(key, jnp.zeros((1, 10 * 640)), train=False)
    return variables['params']['input']['bias']

  i, f, g, o = np.split(initial_bias(jax.random.key(0)), 4)
  np.testing.assert_array_equal(i, -f)
  assert not np.any([g, o])
  # A gate of sigmoid(bias) alone forgets at 1 - gate a frame.
  memory = 1 / (1 - jax.nn.sigmoid(f))
  assert 2 <= memory.min() < 2.2 < 9.8 < memory.max() <= 10
  assert memory.mean() == pytest.approx(6, abs=0.3)


def test_there_is_no_bias_before_a_batch_norm():
  model = models.create_model('wavecnn', 2, features=4, hidden_features=4)
  variables = shapes(model, 640)
  assert set(variables['params']['frontend']['layer_0']) == {'kernel', 'norm'}


def test_audio_that_is_not_whole_frames_is_refused():
  model = models.create_model('wavecnn', 2)
  with pytest.raises(ValueError, match=r'whole frames of 640 samples.*got 700'):
    model.init(jax.random.key(0), jnp.zeros((1, 700)), train=False)


def test_unknown_names_list_the_legal_ones():
  with pytest.raises(errors.InputError, match='wavecnn, wavernn'):
    models.create_model('wavenet', 2)
  with pytest.raises(errors.InputError, match='batch, none'):
    models.create_model('wavecnn', 2, norm='layer')


@pytest.mark.slow
@pytest.mark.parametrize('name', models.NAMES)
def test_rematerialized_gradients_are_the_same(name, monkeypatch):
  for module, num_layers in shallow.DEPTHS:
    monkeypatch.setattr(module, 'NUM_LAYERS', num_layers)
  audio = jax.random.uniform(jax.random.key(0), (3, 5 * 640))
  label = jnp.array([0, 1, 1])

  def gradient(rematerialize):
    model = models.create_model(
      name, 2, features=4, hidden_features=4, rematerialize=rematerialize
    )
    variables = random_variables(model, 5, audio.shape[1])

    def loss(params):
      logits, updates = model.apply(
        {**variables, 'params': params},
        audio,
        train=True,
        mutable=['batch_stats'],
      )
      return attacks.cross_entropy(logits, label).sum(), updates

    return jax.jit(jax.grad(loss, has_aux=True))(variables['params'])

  anew, kept = (
    jnp.concatenate([x.ravel() for x in jax.tree.leaves(gradient(choice))])
    for choice in (True, False)
  )
  assert jnp.linalg.norm(anew - kept) < 1e-4 * jnp.linalg.norm(kept)


def test_a_cpu_takes_as_many_clips_at_once_as_its_cache_holds():
  papers = models.create_model('wavecnn', 2)
  assert models.clips_at_once(papers, 100, SIX_SECONDS) == 1
  small = models.create_model('wavecnn', 2, features=8, input_pool=2)
  assert models.clips_at_once(small, 100, 25_600) == 40
  assert models.clips_at_once(small, 16, 25_600) == 16
