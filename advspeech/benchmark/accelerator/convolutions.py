"""The convolution's forms on the shapes that the models' layers have."""

import functools
import time

import jax
import jax.numpy as jnp

from advspeech import models
from advspeech.benchmark import computations
from advspeech.benchmark.accelerator import streaks
from advspeech.models import convolution, layers, pooling

_FORMS = {
  'direct': convolution.conv1d_direct,
  'space to depth 2': 2,
  'space to depth 4': 4,
  'space to depth 8': 8,
  'space to depth 16': 16,
  'space to depth 32': 32,
  'toeplitz': convolution.conv1d_toeplitz,
  'toeplitz 10': functools.partial(convolution.conv1d_toeplitz, block=10),
  'spectral': convolution.conv1d_spectral,
}


def _form(name):
  form = _FORMS[name]
  if isinstance(form, int):
    form = functools.partial(convolution.conv1d_space_to_depth, block=form)
  return form


def _forms(length, channels):
  """Yields the forms that may be the fastest for a map."""
  if channels == 1:
    yield from (
      'direct',
      'toeplitz 10',
      'space to depth 16',
      'space to depth 32',
    )
    return
  yield 'direct'
  if length >= 2 * layers.KERNEL_SIZE:
    yield from ('space to depth 4', 'space to depth 8', 'spectral')
    yield 'space to depth 2'
  else:
    yield from ('toeplitz', 'space to depth 4', 'spectral')


def measure(session):
  """Adds times of the forms: convolution, bias, pooling and ReLU.

  Of the layers whose rows are frames; WaveCNN's others are 3 % of it.
  """
  config, clips = session.config, session.scale.conv_clips
  shapes = [
    (length, channels, rows * clips)
    for length, channels, rows in computations.layer_shapes(config, 'wavernn')
    if length >= 20
  ]
  shapes = shapes[1:4] + shapes[:1] + shapes[4:]  # the costly ones first
  for shape in shapes:
    for precision in ('tf32', 'float32', 'bfloat16'):
      for form in _forms(*shape[:2]):
        if session.left_s() < 10:
          session.add(not_measured=f'{precision}, {shape}, {form}')
        else:
          _convolution(session, shape, precision, form)


def _convolution(session, shape, precision, form):
  """Adds a form's times on one shape, if it can be compiled."""
  length, channels, rows = shape
  dtype, products = models.PRECISIONS[precision]
  size, features = layers.KERNEL_SIZE, session.config.model.features
  keys = jax.random.split(jax.random.key(0), 3)
  args = (
    jax.random.normal(keys[0], shape, dtype),
    jax.random.normal(keys[1], (size, channels, features), dtype),
    jax.random.normal(keys[2], (-(-length // 2), features, rows), dtype),
  )

  def block(x, kernel):
    maps = _form(form)(x, kernel, products)
    return jax.nn.relu(pooling.max_pool(maps) + jnp.asarray(0.1, maps.dtype))

  programs = {
    'forward': lambda x, kernel, weight: block(x, kernel),
    'both gradients': lambda x, kernel, weight: jax.vjp(block, x, kernel)[1](
      weight
    ),
  }
  started = time.monotonic()
  compiled = streaks.compile_all(
    {k: (jax.jit(f), args) for k, f in programs.items()}
  )
  with session.measuring(
    length=length, channels=channels, precision=precision, form=form
  ) as row:
    row['compile_s'] = time.monotonic() - started
    for what in programs:
      run, _ = streaks.unpack(compiled[what])
      call = functools.partial(run, *args)
      row[f'{what} ms'] = streaks.median_s(session, call, 3) * 1e3
    flops = 2 * size * channels * features * length * rows
    row['forward TFLOP/s'] = flops / row['forward ms'] / 1e9
