"""What arithmetics leave of a gradient's signs, and what FGSM does with it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  gradients,
  input_pipeline,
  models,
  randomness,
)
from advspeech.studies.gradients.analysis import (
  Tree,
  cast,
  in_precision,
  logits,
  loss_fn,
  map_clips,
  side_by_side,
)

ARITHMETICS = ('float64', 'float32', 'bfloat16', 'float16')


def fidelity(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  epsilons: Sequence[float],
  *,
  clip_to_range: bool = True,
) -> Tree:
  """Returns what each arithmetic leaves of the signs, and what FGSM then does.

  Gradients are taken in all of `ARITHMETICS`; the clips FGSM makes of them, and
  of random signs, are judged in float32.

  Of clips with dither, noise of up to one step of 16 bit: in digital silence
  all samples tie in every maximum, which of them takes the gradient is then for
  rounding to say, and what is compared would be ties and not arithmetics.

  Args:
    classifier: A model, of any precision.
    split: The clips.
    epsilons: Radii of FGSM.
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
      variables, clips = cast(variables, dtype), cast(clips, dtype)
    loss = loss_fn(modules[name], variables, rows['label'])
    return gradients.input_gradient(loss, clips)

  def fn(variables, rows):
    keys = randomness.stream(rows['key'], 'dither')
    rows = {**rows, 'audio': dithered(rows['audio'], keys)}
    grads = {name: gradient(name, variables, rows) for name in ARITHMETICS}
    signs = [
      gradients.sign_fidelity(grads[name], grads['float64'])
      for name in ARITHMETICS
    ]
    random = attacks.random_sign_like(
      randomness.stream(rows['key'], 'random_sign'),
      jnp.ones_like(rows['audio']),
    )
    directions = jnp.stack(
      [jnp.sign(g).astype(jnp.int8) for g in grads.values()]
      + [random.astype(jnp.int8)]
    )

    def predict(clips):
      answers = jnp.argmax(logits(judge, variables, clips), -1)
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
      'signs': side_by_side(signs),
      'clean': predict(rows['audio']),
      'predictions': jnp.moveaxis(jax.lax.map(predict_all, directions), -1, 0),
    }

  with jax.enable_x64(True):
    return map_clips(fn, classifier.variables, split, 'arithmetics')


def dithered(clips: jax.Array, keys: jax.Array) -> jax.Array:
  """Returns clips with triangular noise of one step of 16 bit, [batch, time].

  Args:
    clips: [batch, time] in model range.
    keys: [batch] typed.
  """

  def noise(key):
    halves = jax.random.uniform(key, (2, clips.shape[1]), jnp.float32)
    return halves[0] - halves[1]

  return clips + jax.vmap(noise)(keys) / audio.LSB_PER_UNIT
