"""An attack's problem on some clips: what a sweep, an example and a fit share.

Whatever is random comes from the source's seed and the clip's id alone, and
each purpose draws from a stream of its own.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, audio, transforms
from advspeech.sweep import masks

# Clips whose level is taken at a time.
_DECODED = 64


def signal_rms(pcm: np.ndarray, spans: np.ndarray) -> np.ndarray:
  """Returns the level of each clip's recorded samples, [num_clips] float32.

  Args:
    pcm: [num_clips, time] int16, or clips on disk.
    spans: [num_clips, 2] where recordings begin in their clips, and end.
  """
  parts = [
    np.asarray(
      audio.signal_rms(*decode(pcm[i : i + _DECODED], spans[i : i + _DECODED]))
    )
    for i in range(0, len(spans), _DECODED)
  ]
  return np.concatenate([np.zeros(0, np.float32), *parts])


def decode(pcm: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns clips in model range and 1 on recorded samples, both [batch, time].

  Args:
    pcm: [batch, time] int16.
    span: [batch, 2] where recordings begin in their clips, and end.
  """
  time = jnp.arange(pcm.shape[1])[None]
  recorded = (span[:, :1] <= time) & (time < span[:, 1:])
  return audio.from_pcm(pcm), recorded.astype(jnp.float32)


class Streams(NamedTuple):
  """Typed PRNG keys of some clips, [batch] each, one stream a purpose.

  Attributes:
    attack: What an attack draws, its random starts above all.
    transform: What the transform draws between attack and judgement.
    known_transform: What an adaptive attack draws for that transform.
    random_sign: The control of that name, as the two that follow.
    gaussian: The same.
    shuffled: The same.
  """

  attack: jax.Array
  transform: jax.Array
  known_transform: jax.Array
  random_sign: jax.Array
  gaussian: jax.Array
  shuffled: jax.Array


def streams(seed: jax.Array, id_words: jax.Array) -> Streams:
  """Returns the keys of clips, from a seed and their ids.

  All are folded from a clip's own key side by side: one folded from another's
  would be what that other's owner gets when it folds the same number.

  Args:
    seed: Of all clips.
    id_words: [batch, 2] as `input_pipeline.id_words` returns.
  """

  def of_clip(key):
    return [jax.random.fold_in(key, i) for i in range(len(Streams._fields))]

  return Streams(*jax.vmap(of_clip)(clip_keys(seed, id_words)))


def clip_keys(seed: jax.Array, id_words: jax.Array) -> jax.Array:
  """Returns a typed key a clip, [batch]; arguments as `streams`'s."""

  def of_clip(words):
    key = jax.random.fold_in(jax.random.key(seed), words[0])
    return jax.random.fold_in(key, words[1])

  return jax.vmap(of_clip)(id_words)


def pose(
  model: nn.Module,
  variables: dict[str, Any],
  clips: jax.Array,
  recorded: jax.Array,
  goal: jax.Array,
  keys: Streams,
  attack: attacks.Attack,
  mask: masks.Mask,
  known: transforms.Transform | None,
  bounds: tuple[float, float],
) -> attacks.Problem:
  """Returns the problem of an attack on some clips.

  Args:
    model: The source.
    variables: Its own.
    clips: [batch, time] clean, in model range.
    recorded: [batch, time], 1 on recorded samples.
    goal: [batch] classes to leave, or to reach if the attack is targeted.
    keys: As `streams` makes them.
    attack: Which one.
    mask: What it may touch.
    known: Transform that it reckons with.
    bounds: Smallest and largest legal sample.
  """

  def logits_fn(x):
    if known:
      x = known.straight_through(x, keys.known_transform, recorded)
    return model.apply(variables, x, train=False)

  return attacks.Problem(
    audio=clips,
    logits_fn=logits_fn,
    goal=goal,
    targeted=attack.targeted,
    keys=keys.attack,
    mask=mask.samples(recorded),
    band=mask.band(clips.shape[1]),
    bounds=bounds,
  )


def carry_out(
  attack: attacks.Attack,
  problem: attacks.Problem,
  prepared: Any,
  fitted: jax.Array | None,
  radii: jax.Array,
) -> jax.Array:
  """Returns adversarial clips, [batch, time].

  An L2 radius is that of a perturbation whose every attacked sample moves by
  epsilon, so that one epsilon means one SNR in both norms.

  Args:
    attack: Which one.
    problem: As posed.
    prepared: What `attack.prepare` made of it.
    fitted: [time] direction learnt before, for an attack that wants it.
    radii: [batch] max-norms, or RMS in L2, in the model's unit; max-norms in
      that of the features for an attack on these.
  """
  if attack.norm == 'l2':
    if problem.mask is None:
      num = jnp.float32(problem.audio.shape[1])
    else:
      num = problem.mask.sum(-1)
    radii = radii * jnp.sqrt(num)
  auxiliary = fitted if attack.fitted else prepared
  return attack.apply(problem, auxiliary, radii)
