"""An attack's problem on some clips: what a sweep, an example and a fit share.

Whatever is random comes from the source's seed and the clip's id alone.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

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


def row_ids(ids: Sequence[str]) -> np.ndarray:
  """Returns numbers of clips, [num_clips] uint32, from their ids alone."""
  digests = [hashlib.sha256(str(x).encode()).digest() for x in ids]
  return np.array([int.from_bytes(d[:4], 'little') for d in digests], np.uint32)


def decode(pcm: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns clips in model range and 1 on recorded samples, both [batch, time].

  Args:
    pcm: [batch, time] int16.
    span: [batch, 2] where recordings begin in their clips, and end.
  """
  time = jnp.arange(pcm.shape[1])[None]
  recorded = (span[:, :1] <= time) & (time < span[:, 1:])
  return audio.from_pcm(pcm), recorded.astype(jnp.float32)


def keys_of(seed: jax.Array, row_ids: jax.Array) -> jax.Array:
  """Returns a typed key a clip, [batch], from its number [batch]."""
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), row_ids)


def keys_for(keys: jax.Array, purpose: int) -> jax.Array:
  """Returns [batch] keys for one purpose: attack, a control, a transform."""
  return jax.vmap(jax.random.fold_in, (0, None))(keys, purpose)


def pose(
  model: nn.Module,
  variables: dict[str, Any],
  clips: jax.Array,
  recorded: jax.Array,
  goal: jax.Array,
  keys: jax.Array,
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
    keys: [batch] as `keys_of` makes them.
    attack: Which one.
    mask: What it may touch.
    known: Transform that it reckons with.
    bounds: Smallest and largest legal sample.
  """

  def logits_fn(x):
    if known:
      # It draws noise of its own where the transform is noise.
      x = known.straight_through(x, keys_for(keys, 2), recorded)
    return model.apply(variables, x, train=False)

  return attacks.Problem(
    audio=clips,
    logits_fn=logits_fn,
    goal=goal,
    targeted=attack.targeted,
    keys=keys_for(keys, 0),
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
