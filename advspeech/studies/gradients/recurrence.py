"""How far the state of a recurrent model reaches (paper, eqs. 8-12)."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  audio,
  checkpoint,
  gradients,
  input_pipeline,
  models,
  parallel,
  randomness,
)
from advspeech.models import wavernn
from advspeech.studies.gradients.analysis import Tree, in_precision, map_clips

NUM_ITERATIONS = 40


class Recurrent(NamedTuple):
  """A recurrent model whose state is followed.

  Attributes:
    cell: 'lstm' or 'tanh'.
    training: 'trained' or 'untrained'.
    forget_bias: That all units began with; None for a tanh cell, and where
      each had its own.
    model: The module, in float32.
    variables: Its parameters and running statistics.
  """

  cell: str
  training: str
  forget_bias: float | None
  model: nn.Module
  variables: Tree


def recurrent_models(
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
) -> dict[str, Recurrent]:
  """Returns the recurrent ones by name, and untrained ones of their size.

  The untrained are an LSTM of forget bias 0, one of 1, and the plain tanh RNN.

  Args:
    classifiers: Models by name.
    split: Clips that batch norm's running statistics of untrained models are
      taken from.
  """
  found = {}
  for name, classifier in classifiers.items():
    model = in_precision(classifier, 'float32')
    if isinstance(model, wavernn.WaveRNN):
      alike = (model.cell, model.gate_init) == ('lstm', 'constant')
      bias = model.forget_bias if alike else None
      found[name] = Recurrent(
        model.cell, 'trained', bias, model, classifier.variables
      )
  if not found:
    return {}
  options = next(
    c.metadata['model'] for n, c in classifiers.items() if n in found
  )
  for name, bias in (
    ('wavernn', 0.0),
    ('wavernn', 1.0),
    ('wavernn_tanh', None),
  ):
    changes = {
      'name': name,
      'gate_init': 'constant',
      'forget_bias': bias or 0.0,
    }
    model = models.create_model(**{**options, **changes})
    label = 'untrained tanh' if bias is None else f'untrained bias {bias:g}'
    found[label] = Recurrent(
      model.cell, 'untrained', bias, model, _untrained(model, split)
    )
  return found


_STATISTICS_CLIPS = 8
_STATISTICS_PASSES = 20


def _untrained(model, split):
  """Returns initial weights with running statistics that fit the clips."""
  some = input_pipeline.spread(split, _STATISTICS_CLIPS)
  clips = audio.from_pcm(jnp.asarray(some.pcm))

  def make():
    variables = model.init(jax.random.key(0), clips[:1], train=False)

    def update(_, variables):
      _, changed = model.apply(
        variables, clips, train=True, mutable=['batch_stats']
      )
      return {**variables, **changed}

    return jax.lax.fori_loop(0, _STATISTICS_PASSES, update, dict(variables))

  copies = parallel.replicated(parallel.make_mesh())
  return jax.jit(make, out_shardings=copies)()


def state_reach(
  recurrent: Recurrent,
  split: input_pipeline.Split,
  *,
  num_starts: int = 50,
) -> Tree:
  """Returns how far a model's state reaches (eqs. 8-12), clip by clip.

  Args:
    recurrent: The model.
    split: The clips.
    num_starts: Frames i at most, evenly spread, at which ds_n / ds_i is taken.

  Returns:
    `norms` [clips, starts] of ds_n / ds_i; `start` [clips, starts], i;
    `one_step` [clips, frames] of ds_{j+1} / ds_j; for an LSTM `forget`
    [clips, frames], the mean forget gate of every step.
  """
  model = recurrent.model
  frames = split.pcm.shape[1] // model.frame_samples
  starts = np.unique(
    np.linspace(0, frames, min(num_starts, frames) + 1).round().astype(int)
  )

  def follow(variables, clip, key):
    parts = wavernn.recurrence(model, variables, clip)
    norms = gradients.state_jacobian_norms(
      parts.step_fn,
      parts.initial,
      parts.inputs,
      jnp.asarray(starts),
      num_iterations=NUM_ITERATIONS,
      key=key,
    )
    result = {
      'norms': norms,
      'start': jnp.asarray(starts, jnp.int32),
      'one_step': gradients.one_step_norms(
        parts.step_fn, parts.initial, parts.inputs
      ),
    }
    if parts.forget_fn is not None:

      def step(state, x):
        return parts.step_fn(state, x), parts.forget_fn(state, x).mean()

      result['forget'] = jax.lax.scan(step, parts.initial, parts.inputs)[1]
    return result

  def fn(variables, rows):
    return jax.vmap(functools.partial(follow, variables))(
      rows['audio'], randomness.stream(rows['key'], 'jacobian')
    )

  return map_clips(fn, recurrent.variables, split, 'state Jacobians')
