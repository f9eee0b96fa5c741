"""How a change of loss grows with epsilon and the samples moved (eqs. 3-5)."""

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, checkpoint, gradients, input_pipeline, randomness
from advspeech.models import wavernn
from advspeech.studies.gradients import precision
from advspeech.studies.gradients.analysis import (
  Tree,
  cast,
  in_precision,
  loss_fn,
  map_clips,
)

# Radii at which growth with n is measured: within the linear range, and beyond.
GROWTH_EPSILONS = (1e-6, 1e-4)
EPSILONS = tuple(10.0 ** np.linspace(-7, -1.5, 12))
# How loss grows with the number of samples moved, and what is varied for it.
GROWTHS = ('samples', 'length_masked', 'length_cut', 'rate')


def accumulation(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
) -> Tree:
  """Returns predicted and measured changes of loss under FGSM, in float64.

  Predicted is epsilon times the L1 norm of the gradient over the samples moved
  (eqs. 3-5). Of clips with dither, as for `precision.fidelity`: where silence
  ties in a maximum the gradient is that of one sample, and all that are moved
  change the loss by less than it says, however small epsilon is. What is
  varied, each with `n`, `predicted` and `measured`:

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
    keys = randomness.stream(rows['key'], 'dither')
    clips = cast(precision.dithered(rows['audio'], keys), jnp.float64)
    variables = cast(variables, jnp.float64)
    loss = loss_fn(model, variables, rows['label'])
    gradient = gradients.input_gradient(loss, clips)
    direction = jnp.sign(gradient)
    ones = jnp.ones((len(EPSILONS), 1, 1))
    along = {
      'predicted': _points_last(
        jnp.asarray(EPSILONS)[:, None]
        * gradients.predicted_change(gradient)[None]
      ),
      'measured': _points_last(
        gradients.loss_changes(
          loss, clips, ones * direction[None], jnp.asarray(EPSILONS)
        )
      ),
    }
    subsets = gradients.nested_subsets(
      randomness.stream(rows['key'], 'subsets'), time, jnp.asarray(sizes)
    )
    before = jnp.arange(time)[None] < lengths[:, None]
    result = {
      'epsilon': along,
      'samples': _grown(loss, clips, gradient, subsets),
      'length_masked': _grown(loss, clips, gradient, before[:, None]),
    }
    if isinstance(model, wavernn.WaveRNN):
      result['length_cut'] = _stacked(
        [_grown_whole(loss, clips[:, :length]) for length in lengths]
      )
    low = gradients.half_rate(clips - audio.SILENCE)

    def loss_at_half_rate(x):
      return loss(audio.SILENCE + gradients.from_half_rate(x))

    result['rate'] = _stacked(
      [_grown_whole(loss_at_half_rate, low), _grown_whole(loss, clips)]
    )
    return result

  with jax.enable_x64(True):
    result = map_clips(fn, classifier.variables, split, 'accumulation')
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
