"""Input gradients of trained models over a split, reduced on the device.

Every clip is computed by itself, in a fixed unit, so that its numbers depend on
neither the batch, nor the order, nor the number of devices; of a gradient only
what `gradients.summarise` tells leaves the device.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  audio,
  checkpoint,
  gradients,
  input_pipeline,
  models,
  parallel,
  preemption,
  progress,
  storage,
)
from advspeech.models import frontend, wavernn
from advspeech.sweep import problem

Tree = dict[str, Any]
REGIONS = ('all', 'recorded')
# Where a recording shorter than the clip lies in it; 'start' is the paper's.
ALIGNMENTS = ('start', 'end')
ARITHMETICS = ('float64', 'float32', 'bfloat16', 'float16')
# Radii at which growth with n is measured: within the linear range, and beyond.
GROWTH_EPSILONS = (1e-6, 1e-4)
EPSILONS = tuple(10.0 ** np.linspace(-7, -1.5, 12))
# How loss grows with the number of samples moved, and what is varied for it.
GROWTHS = ('samples', 'length_masked', 'length_cut', 'rate')
NUM_ITERATIONS = 40
# What profiles are of, whatever frames a model itself has.
FRAME_SAMPLES = audio.SAMPLE_RATE_HZ * frontend.FRAME_MS // 1000
# Clips in one unit of work on an accelerator; a CPU takes one.
_ACCELERATOR_CHUNK = 8


def map_clips(
  fn: Callable[[Any, Tree], Tree],
  shared: Any,
  split: input_pipeline.Split,
  *,
  batch_size: int,
  description: str,
) -> Tree:
  """Returns a function of every clip, [num_clips, ...], from all devices.

  Args:
    fn: Maps (shared, rows) to a tree of [n, ...], row by row, where rows are
      `audio` [n, time], `label` [n], `mask` [n, time] and `key` [n], the last
      from the clip's id.
    shared: What all clips need, such as parameters, on the whole mesh.
    split: The clips.
    batch_size: Clips at a time, a multiple of the device count.
    description: For the progress bar.

  Raises:
    errors.InputError: If the devices cannot share a batch evenly.
    preemption.Stopped: If a signal asked for it.
  """
  mesh = parallel.make_mesh()
  parallel.check_batch_size('config.sweep.batch_size', batch_size, mesh)
  step = clip_step(fn, mesh)
  parts = []
  for batch in progress.track(
    input_pipeline.batches(split, batch_size, mesh),
    description,
    input_pipeline.num_batches(split, batch_size),
    'batch',
    shown=parallel.is_lead(),
  ):
    preemption.check()
    num_rows = len(batch['id'])
    words = np.zeros((batch_size, 2), np.uint32)
    words[:num_rows] = input_pipeline.id_words(batch['id'])
    rows = {name: batch[name] for name in ('audio', 'label', 'mask')}
    rows['id_words'] = parallel.shard_batch(words, mesh)
    out = parallel.fetch(step(shared, rows))
    parts.append(jax.tree.map(lambda x, n=num_rows: x[:n], out))
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def clip_step(
  fn: Callable[[Any, Tree], Tree], mesh: jax.sharding.Mesh
) -> Callable[[Any, Tree], Tree]:
  """Returns the compiled function behind `map_clips`, for one batch."""

  def unit(shared, rows):
    return fn(shared, {**rows, 'key': problem.clip_keys(0, rows['id_words'])})

  def step(shared, rows):
    num_rows = rows['label'].shape[0]
    chunk = 1 if parallel.is_host(mesh) else _ACCELERATOR_CHUNK

    def split(x):
      if num_rows % chunk:
        fill = [(0, -num_rows % chunk), *[(0, 0)] * (x.ndim - 1)]
        x = jnp.pad(x, fill, mode='edge')
      return x.reshape(-1, chunk, *x.shape[1:])

    out = jax.lax.map(
      functools.partial(unit, shared), jax.tree.map(split, rows)
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_rows], out)

  copies, rows = PartitionSpec(), PartitionSpec('data')
  return jax.jit(
    jax.shard_map(
      step,
      mesh=mesh,
      in_specs=(copies, rows),
      out_specs=rows,
      check_vma=False,
    )
  )


def abstract_rows(
  batch_size: int, num_samples: int, mesh: jax.sharding.Mesh
) -> Tree:
  """Returns shapes, types and placement of the rows of `clip_step`, unmade."""
  arrays = {
    'audio': ((batch_size, num_samples), np.float32),
    'label': ((batch_size,), np.int32),
    'mask': ((batch_size, num_samples), np.float32),
    'id_words': ((batch_size, 2), np.uint32),
  }
  return parallel.abstract_sharded(arrays, mesh)


def _logits(model, variables, clips):
  return model.apply(variables, clips, train=False)


def _loss_fn(model, variables, label):
  return lambda x: attacks.cross_entropy(_logits(model, variables, x), label)


def _aligned(rows, alignment):
  """Returns the rows with their recordings at the clips' start or end.

  Wherever `config.clip.pad` has put them.
  """
  time = rows['mask'].shape[1]
  shift = -jnp.argmax(rows['mask'], -1)
  if alignment == 'end':
    shift += time - rows['mask'].sum(-1).astype(shift.dtype)
  roll = jax.vmap(jnp.roll)
  return {
    **rows,
    'audio': roll(rows['audio'], shift),
    'mask': roll(rows['mask'], shift),
  }


def clip_statistics(
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
  *,
  batch_size: int,
  alignment: str = 'start',
) -> Tree:
  """Returns what is kept of every model's gradient of every clip.

  Args:
    classifiers: Models by name.
    split: The clips.
    batch_size: See `map_clips`.
    alignment: One of `ALIGNMENTS`.

  Returns:
    `all` and `recorded`: by statistic of `gradients.summarise` [clips, models],
    over all samples (`outside_energy` then is that on padding) and over
    recorded ones; `profile` [clips, models, frames]; `pairs`: by statistic of
    `gradients.compare` [clips, pairs], in the order of `pairs`.
  """
  fn = statistics_fn(tuple(c.model for c in classifiers.values()), alignment)
  variables = tuple(c.variables for c in classifiers.values())
  return map_clips(
    fn, variables, split, batch_size=batch_size, description='gradients'
  )


def statistics_fn(
  model_list: Sequence[nn.Module], alignment: str
) -> Callable[[Any, Tree], Tree]:
  """Returns the function of one unit of clips behind `clip_statistics`."""

  def fn(variables, rows):
    rows = _aligned(rows, alignment)
    grads = [
      gradients.input_gradient(_loss_fn(m, v, rows['label']), rows['audio'])
      for m, v in zip(model_list, variables, strict=True)
    ]
    result = reduce_gradients(grads, rows['mask'], FRAME_SAMPLES)
    between = [
      gradients.compare(grads[a], grads[b], frame_samples=FRAME_SAMPLES)
      for a, b in pairs(range(len(grads)))
    ]
    if between:
      result['pairs'] = _side_by_side(between)
    return result

  return fn


def reduce_gradients(
  grads: Sequence[jax.Array], mask: jax.Array, frame_samples: int
) -> Tree:
  """Returns the part of `clip_statistics` that is each model's own."""
  summarise = functools.partial(
    gradients.summarise,
    frame_samples=frame_samples,
    frame_ms=frontend.FRAME_MS,
  )
  everywhere = [summarise(g, jnp.ones_like(mask)) for g in grads]
  recorded = [summarise(g, mask) for g in grads]
  # Of all samples, what lies outside of the recorded ones.
  for whole, part in zip(everywhere, recorded, strict=True):
    whole['outside_energy'] = part['outside_energy']
  profile = [gradients.frame_profile(g, frame_samples) for g in grads]
  return {
    'all': _side_by_side(everywhere),
    'recorded': _side_by_side(recorded),
    'profile': jnp.stack(profile, 1),
  }


def pairs(names: Sequence[Any]) -> list[tuple[Any, Any]]:
  """Returns all pairs, in the order of the names."""
  names = list(names)
  return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def _side_by_side(dicts):
  """Returns a dict of [rows, n] for n dicts of [rows]."""
  return {key: jnp.stack([d[key] for d in dicts], -1) for key in dicts[0]}


def whole_gradients(
  classifiers: Mapping[str, checkpoint.Classifier],
  split: input_pipeline.Split,
  *,
  batch_size: int,
) -> np.ndarray:
  """Returns every sample's gradient, [clips, models, time]: for few clips."""
  model_list = tuple(c.model for c in classifiers.values())

  def fn(variables, rows):
    return jnp.stack(
      [
        gradients.input_gradient(_loss_fn(m, v, rows['label']), rows['audio'])
        for m, v in zip(model_list, variables, strict=True)
      ],
      1,
    )

  variables = tuple(c.variables for c in classifiers.values())
  return map_clips(
    fn, variables, split, batch_size=batch_size, description='whole gradients'
  )


def in_precision(
  classifier: checkpoint.Classifier, precision: str
) -> nn.Module:
  """Returns the classifier's module computing in another arithmetic.

  Its own module if that has no field for it: its layers go by the type of what
  they are given.
  """
  if not models.takes_precision(classifier.model):
    return classifier.model
  return models.create_model(
    **classifier.metadata['model'], precision=precision
  )


def _wide(tree):
  return _cast(tree, jnp.float64)


def _cast(tree, dtype):
  return jax.tree.map(
    lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
    tree,
  )


def fidelity(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  epsilons: Sequence[float],
  *,
  batch_size: int,
  clip_to_range: bool = True,
) -> Tree:
  """Returns what each arithmetic leaves of the signs, and what FGSM then does.

  Gradients are taken in all of `ARITHMETICS`; the clips FGSM makes of them, and
  of random signs, are judged in float32.

  Args:
    classifier: A model, of any precision.
    split: The clips.
    epsilons: Radii of FGSM.
    batch_size: See `map_clips`.
    clip_to_range: Clip perturbed samples to [0, 1].

  Returns:
    `signs`: by statistic of `gradients.sign_fidelity` [clips, arithmetics];
    `clean` [clips] and `predictions` [clips, arithmetics + 1, epsilons], random
    signs last.
  """
  modules = {name: in_precision(classifier, name) for name in ARITHMETICS}
  judge = modules['float32']
  bounds = (0.0, 1.0) if clip_to_range else (-np.inf, np.inf)

  def gradient(name, variables, rows):
    clips = rows['audio']
    if name == 'float64' or not models.takes_precision(judge):
      dtype, _ = models.ALL_PRECISIONS[name]
      variables, clips = _cast(variables, dtype), _cast(clips, dtype)
    loss_fn = _loss_fn(modules[name], variables, rows['label'])
    return gradients.input_gradient(loss_fn, clips)

  def fn(variables, rows):
    grads = {name: gradient(name, variables, rows) for name in ARITHMETICS}
    signs = [
      gradients.sign_fidelity(grads[name], grads['float64'])
      for name in ARITHMETICS
    ]
    random = attacks.random_sign_like(rows['key'], jnp.ones_like(rows['audio']))
    directions = jnp.stack(
      [jnp.sign(g).astype(jnp.int8) for g in grads.values()]
      + [random.astype(jnp.int8)]
    )

    def predict(clips):
      answers = jnp.argmax(_logits(judge, variables, clips), -1)
      return answers.astype(jnp.int32)

    def predict_all(direction):
      return jax.lax.map(
        lambda epsilon: predict(
          attacks.perturb(
            rows['audio'], direction, epsilon[None], bounds=bounds
          )[0]
        ),
        jnp.asarray(epsilons, jnp.float32),
      )

    return {
      'signs': _side_by_side(signs),
      'clean': predict(rows['audio']),
      'predictions': jnp.moveaxis(jax.lax.map(predict_all, directions), -1, 0),
    }

  with jax.enable_x64(True):
    return map_clips(
      fn,
      classifier.variables,
      split,
      batch_size=batch_size,
      description='arithmetics',
    )


class Recurrent(NamedTuple):
  """A recurrent model whose state is followed.

  Attributes:
    cell: 'lstm' or 'tanh'.
    training: 'trained' or 'untrained'.
    forget_bias: That it began with; None for a tanh cell.
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
      bias = model.forget_bias if model.cell == 'lstm' else None
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
    changes = {'name': name} | ({} if bias is None else {'forget_bias': bias})
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
  batch_size: int,
  num_starts: int = 50,
) -> Tree:
  """Returns how far a model's state reaches (eqs. 8-12), clip by clip.

  Args:
    recurrent: The model.
    split: The clips.
    batch_size: See `map_clips`.
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
      rows['audio'], rows['key']
    )

  return map_clips(
    fn,
    recurrent.variables,
    split,
    batch_size=batch_size,
    description='state Jacobians',
  )


def accumulation(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  *,
  batch_size: int,
) -> Tree:
  """Returns predicted and measured changes of loss under FGSM, in float64.

  Predicted is epsilon times the L1 norm of the gradient over the samples moved
  (eqs. 3-5). What is varied, each with `n`, `predicted` and `measured`:

  - `epsilon`: all samples moved, over `EPSILONS`, which are its `n`;
  - `samples`: k random ones moved, each set within the next;
  - `length_masked`: those of the first so many whole seconds moved, and all;
  - `length_cut`: the clip itself cut there, for models that take any length,
    which WaveCNN, whose dense layer sees all frames, does not;
  - `rate`: the clip at 8 kHz, interpolated to 16 in front of the model, and at
    16; the samples moved are those before the interpolation.

  Args:
    classifier: A model.
    split: The clips.
    batch_size: See `map_clips`.

  Returns:
    By what is varied: `n` [clips, points], `predicted` and `measured`
    [clips, points] (`epsilon`) or [clips, points, growth epsilons].
  """
  model = in_precision(classifier, 'float64')
  time = split.pcm.shape[1]
  sizes = np.unique(np.geomspace(time / 1000, time, 9).round().astype(int))
  whole_seconds = range(audio.SAMPLE_RATE_HZ, time, audio.SAMPLE_RATE_HZ)
  lengths = np.array([*whole_seconds, time])

  def fn(variables, rows):
    clips, variables = _wide(rows['audio']), _wide(variables)
    loss_fn = _loss_fn(model, variables, rows['label'])
    gradient = gradients.input_gradient(loss_fn, clips)
    direction = jnp.sign(gradient)
    ones = jnp.ones((len(EPSILONS), 1, 1))
    along = {
      'predicted': _points_last(
        jnp.asarray(EPSILONS)[:, None]
        * gradients.predicted_change(gradient)[None]
      ),
      'measured': _points_last(
        gradients.loss_changes(
          loss_fn, clips, ones * direction[None], jnp.asarray(EPSILONS)
        )
      ),
    }
    subsets = gradients.nested_subsets(rows['key'], time, jnp.asarray(sizes))
    before = jnp.arange(time)[None] < lengths[:, None]
    result = {
      'epsilon': along,
      'samples': _grown(loss_fn, clips, gradient, subsets),
      'length_masked': _grown(loss_fn, clips, gradient, before[:, None]),
    }
    if isinstance(model, wavernn.WaveRNN):
      result['length_cut'] = _stacked(
        [_grown_whole(loss_fn, clips[:, :length]) for length in lengths]
      )
    low = gradients.half_rate(clips - audio.SILENCE)

    def loss_at_half_rate(x):
      return loss_fn(audio.SILENCE + gradients.from_half_rate(x))

    result['rate'] = _stacked(
      [_grown_whole(loss_at_half_rate, low), _grown_whole(loss_fn, clips)]
    )
    return result

  with jax.enable_x64(True):
    result = map_clips(
      fn,
      classifier.variables,
      split,
      batch_size=batch_size,
      description='accumulation',
    )
  n = {
    'epsilon': np.array(EPSILONS),
    'samples': sizes,
    'length_masked': lengths,
    'length_cut': lengths,
    'rate': np.array([time // 2, time]),
  }
  return {
    what: {'n': np.tile(n[what], (len(split), 1)), **values}
    for what, values in result.items()
  }


def _points_last(x):
  return jnp.moveaxis(x, 0, -1)


def _grown(loss_fn, clips, gradient, masks):
  """Returns changes by growing masks, each [rows, points, growth epsilons]."""
  direction = jnp.sign(gradient)
  predicted, measured = [], []
  for epsilon in GROWTH_EPSILONS:
    predicted.append(
      jax.vmap(
        lambda mask, epsilon=epsilon: (
          epsilon * gradients.predicted_change(gradient, mask)
        )
      )(masks)
    )
    # Masks one at a time: each is as large as the clips.
    measured.append(
      gradients.loss_changes(
        loss_fn,
        clips,
        masks * direction[None],
        jnp.full(len(masks), epsilon),
      )
    )
  return {
    'predicted': jnp.moveaxis(jnp.stack(predicted, -1), 0, 1),
    'measured': jnp.moveaxis(jnp.stack(measured, -1), 0, 1),
  }


def _grown_whole(loss_fn, clips):
  """Returns changes with all samples moved, [rows, growth epsilons] each."""
  gradient = gradients.input_gradient(loss_fn, clips)
  epsilons = jnp.asarray(GROWTH_EPSILONS)
  directions = jnp.broadcast_to(
    jnp.sign(gradient), (len(GROWTH_EPSILONS), *clips.shape)
  )
  change = gradients.predicted_change(gradient)
  return {
    'predicted': change[:, None] * epsilons[None],
    'measured': _points_last(
      gradients.loss_changes(loss_fn, clips, directions, epsilons)
    ),
  }


def _stacked(points):
  return {
    key: jnp.stack([point[key] for point in points], 1) for key in points[0]
  }


def kept(path: str, make: Callable[[], Tree]) -> Tree:
  """Returns a tree of arrays from an .npz file, made and written if missing."""
  if not parallel.agree(lambda: storage.exists(path)):
    tree = make()
    parallel.on_lead(
      lambda: storage.write_arrays(
        path, traverse_util.flatten_dict(tree, sep='/')
      ),
      f'{path} is written',
    )
  return traverse_util.unflatten_dict(storage.read_arrays(path), sep='/')
