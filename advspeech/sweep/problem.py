"""An attack's problem on some clips: what a sweep, an example and a fit share.

Whatever is random comes from the source's seed and the clip's id alone; see
`randomness`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, audio, input_pipeline, randomness, transforms
from advspeech.sweep import masks

# Clips whose level is taken at a time.
_DECODED = 64
# The same for what they mask, whose spectra are four times their size.
_ANALYSED = 8


class Levels(NamedTuple):
  """What radii of epsilons that are each clip's own are taken from.

  Attributes:
    signal_rms: [num_clips] of the recorded samples.
    masking_rms: [num_clips] of noise as loud as the clip masks; None where no
      epsilon asks for it.
  """

  signal_rms: np.ndarray
  masking_rms: np.ndarray | None


def levels(
  pcm: np.ndarray, spans: np.ndarray, epsilons: Iterable[audio.Epsilon]
) -> Levels:
  """Returns the levels that epsilons need of clips.

  Args:
    pcm: As for `signal_rms`.
    spans: As for `signal_rms`.
    epsilons: Whose radii are wanted.
  """
  masked = any(epsilon.of_masking for epsilon in epsilons)
  return Levels(
    signal_rms(pcm, spans), masking_rms(pcm, spans) if masked else None
  )


def signal_rms(pcm: np.ndarray, spans: np.ndarray) -> np.ndarray:
  """Returns the level of each clip's recorded samples, [num_clips] float32.

  Args:
    pcm: [num_clips, time] int16, or clips on disk.
    spans: [num_clips, 2] where recordings begin in their clips, and end.
  """
  return _of_clips(audio.signal_rms, pcm, spans, _DECODED)


def masking_rms(pcm: np.ndarray, spans: np.ndarray) -> np.ndarray:
  """Returns the RMS of noise as loud as each clip masks, [num_clips] float32.

  Args:
    pcm: As for `signal_rms`.
    spans: As for `signal_rms`.
  """

  def rms(clips, mask):
    del mask
    threshold = audio.masking_threshold(clips)
    return audio.masking_rms(threshold, clips.shape[1])

  return _of_clips(rms, pcm, spans, _ANALYSED)


def _of_clips(measure_fn, pcm, spans, num_at_once):
  """Returns measure_fn(clips, mask), a few clips at a time, [num_clips]."""
  parts = [
    np.asarray(
      measure_fn(
        *input_pipeline.decode(
          pcm[i : i + num_at_once], spans[i : i + num_at_once]
        )
      )
    )
    for i in range(0, len(spans), num_at_once)
  ]
  return np.concatenate([np.zeros(0, np.float32), *parts])


def pose(
  model: nn.Module,
  variables: dict[str, Any],
  rows: dict[str, jax.Array],
  attack: attacks.Attack,
  mask: masks.Mask,
  known: transforms.Transform | None,
  bounds: tuple[float, float],
  num_draws: int = 1,
  *,
  masked: bool = False,
) -> attacks.Problem:
  """Returns the problem of an attack on some clips.

  Args:
    model: The source.
    variables: Its own.
    rows: The clips, as `over_clips.map_clips` describes them, with the column
      `goal` [batch]: classes to leave, or to reach if the attack is targeted.
    attack: Which one.
    mask: What it may touch.
    known: Transform that it reckons with.
    bounds: Smallest and largest legal sample.
    num_draws: Of that transform, over which loss and margin are averaged, the
      same in every step.
    masked: Whether radii are those of masking thresholds.
  """
  clips, recorded, keys = rows['audio'], rows['mask'], rows['key']

  def logits_fn(x):
    if known:
      x = known.straight_through(x, known_keys(keys), recorded)
    return model.apply(variables, x, train=False)

  def drawn_logits_fn(x, draw):
    x = known.straight_through(x, known_keys(keys, draw), recorded)
    return model.apply(variables, x, train=False)

  averages = known is not None and num_draws > 1

  return attacks.Problem(
    audio=clips,
    logits_fn=logits_fn,
    goal=rows['goal'],
    targeted=attack.targeted,
    keys=randomness.stream(keys, 'attack'),
    mask=mask.samples(recorded),
    band=mask.band(clips.shape[1]),
    bounds=bounds,
    drawn_logits_fn=drawn_logits_fn if averages else None,
    num_draws=num_draws if averages else 1,
    ceiling=audio.Masking.of(clips) if masked else None,
  )


def known_keys(keys: jax.Array, draw: jax.Array | int = 0) -> jax.Array:
  """Returns keys of what an attack draws for a transform it knows, [batch].

  Args:
    keys: [batch] the clips' own.
    draw: Number of the draw; more draws begin with the same.
  """
  first = randomness.stream(keys, 'known_transform')
  further = jax.vmap(jax.random.fold_in, (0, None))(
    randomness.stream(keys, 'more_transforms'), draw
  )
  return jax.random.wrap_key_data(
    jnp.where(
      draw == 0, jax.random.key_data(first), jax.random.key_data(further)
    ),
    impl=jax.random.key_impl(first),
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
    prepared: What `attack.prepare` returned for it.
    fitted: [numbers] learnt before, for an attack that wants them.
    radii: [batch] max-norms, or RMS in L2 and under masking thresholds, in the
      model's unit; max-norms in that of the features for an attack on these.
  """
  auxiliary = fitted if attack.fitted else prepared
  radii = norms(attack, radii, problem.mask, problem.audio.shape[1])
  return attack.apply(problem, auxiliary, radii)


def norms(
  attack: attacks.Attack,
  radii: jax.Array,
  mask: jax.Array | None,
  num_samples: int,
) -> jax.Array:
  """Returns radii in an attack's norm, [..., batch].

  Args:
    attack: Which one.
    radii: [..., batch] max-norms, or RMS in L2.
    mask: [batch, time] or None; 1 on samples that may change.
    num_samples: Length of a clip.
  """
  if attack.norm != 'l2':
    return radii
  num = jnp.float32(num_samples) if mask is None else mask.sum(-1)
  return radii * jnp.sqrt(jnp.broadcast_to(num, radii.shape))
