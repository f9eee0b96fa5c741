"""Perturbed clips to train on: adversarial training, and its baseline, noise.

The attack is made inside the training step, on the network as it then is, in
inference mode: running statistics, no dropout, nothing sent between devices.
What it draws for a clip comes from seed, utterance id and step.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from advspeech import attacks, audio, registry

# A perturbed clip may be no louder than full scale.
_BOUNDS = (0.0, 1.0)
# Of the attack that epochs are judged by (`evaluate_attacked`).
JUDGING_STEPS = 5
_STEP = 2.5  # of all steps together, in radii

Perturb = Callable[[attacks.Problem, jax.Array], jax.Array]


class Defence(NamedTuple):
  """How training clips are perturbed.

  Attributes:
    perturb: Maps a problem and radii [batch] to audio [batch, time].
    epsilon: Radius.
    clean_share: Of the clips, left as they are.
    growth: Maps the number of steps done to the share of the radius.
    beta: Weight of the divergence between answers to clean and to perturbed
      clips, which is added to the loss of the clean ones (TRADES); 0 where the
      loss is that of the perturbed ones.
  """

  perturb: Perturb
  epsilon: audio.Epsilon
  clean_share: float
  growth: optax.Schedule
  beta: float


def make(settings: Mapping[str, Any], num_steps: int) -> Defence | None:
  """Returns the defence of a config, None for none.

  Args:
    settings: `config.training.defence`.
    num_steps: Of the training, of which a share is a warm-up.

  Raises:
    errors.InputError: If the name or the epsilon is not one.
  """
  name = settings['name']
  perturb = registry.resolve('a defence', name, _named(settings['num_steps']))
  if perturb is None:
    return None
  return Defence(
    perturb,
    audio.parse_epsilon(settings['epsilon']),
    settings['clean_share'],
    optax.linear_schedule(
      0.0, 1.0, max(1, round(settings['warmup_share'] * num_steps))
    ),
    settings['trades_beta'] if name == 'trades' else 0.0,
  )


def _named(num_steps):
  """Returns the defences by name."""
  return {
    'none': None,
    'noise': _noise,
    'gaussian': _gaussian,
    'fgsm_rs': functools.partial(_pgd, num_steps=1, relative_step=1.25),
    'n_fgsm': _n_fgsm,
    'pgd': functools.partial(
      _pgd, num_steps=num_steps, relative_step=_STEP / num_steps
    ),
    'trades': functools.partial(_trades, num_steps=num_steps),
  }


def _noise(problem, radii):
  """Random signs: what no defence against a direction has to be given for."""
  size = jnp.broadcast_to(radii[:, None], problem.audio.shape)
  return problem.perturbed(attacks.random_sign_like(problem.keys, size))


def _gaussian(problem, radii):
  """Gaussian noise of the RMS that random signs have."""
  size = jnp.broadcast_to(radii[:, None], problem.audio.shape)
  return problem.perturbed(attacks.gaussian_like(problem.keys, size))


def _pgd(problem, radii, *, num_steps, relative_step):
  """PGD (Madry et al. 2018); in one step FGSM from a random start.

  With a step of 1.25 radii that is the FGSM-RS of Wong et al. (2020).
  """
  return attacks.pgd(
    problem.loss_fn,
    problem.audio,
    radii[None],
    problem.keys,
    num_steps=num_steps,
    relative_step=relative_step,
    mask=problem.mask,
    bounds=problem.bounds,
  )[0]


def _n_fgsm(problem, radii):
  """FGSM on top of noise twice as large, not projected (de Jorge et al. 2022).

  The noise keeps single-step training from catastrophic overfitting.
  """
  draw = functools.partial(
    jax.random.uniform, shape=problem.audio.shape[1:], minval=-2.0, maxval=2.0
  )
  noise = radii[:, None] * jax.vmap(draw)(problem.keys)
  noisy = problem.audio + noise
  sign = attacks.gradient_sign(problem.loss_fn, noisy, mask=problem.mask)
  return problem.perturbed(noise + radii[:, None] * sign)


def _trades(problem, radii, *, num_steps):
  """PGD that draws answers away from those to the clean clips.

  Zhang et al. (2019), with a start anywhere in the ball where theirs is near
  the clean clip, at which the divergence has no gradient.
  """
  clean = jax.lax.stop_gradient(problem.logits_fn(problem.audio))

  def divergence_fn(x):
    return divergence(clean, problem.logits_fn(x))

  return attacks.pgd(
    divergence_fn,
    problem.audio,
    radii[None],
    problem.keys,
    num_steps=num_steps,
    relative_step=_STEP / num_steps,
    mask=problem.mask,
    bounds=problem.bounds,
  )[0]


def divergence(clean_logits: jax.Array, logits: jax.Array) -> jax.Array:
  """Returns KL(clean || perturbed) of the answers to each clip, [batch].

  Args:
    clean_logits: [batch, num_classes].
    logits: [batch, num_classes] of the perturbed clips.
  """
  clean, perturbed = (
    jax.nn.log_softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    for x in (clean_logits, logits)
  )
  return jnp.sum(jnp.exp(clean) * (clean - perturbed), -1)


NAMES = tuple(_named(1))


def pose(
  logits_fn: Callable[[jax.Array], jax.Array],
  batch: Mapping[str, jax.Array],
  keys: jax.Array,
) -> attacks.Problem:
  """Returns what is asked of an attack on training clips.

  Args:
    logits_fn: Of the network, in inference mode.
    batch: As a training step takes it, augmented perhaps.
    keys: [batch] one a clip.
  """
  return attacks.Problem(
    audio=batch['audio'],
    logits_fn=logits_fn,
    goal=batch['label'],
    targeted=False,
    keys=keys,
    mask=None,
    band=None,
    bounds=_BOUNDS,
  )


def perturbed(
  defence: Defence,
  problem: attacks.Problem,
  mask: jax.Array,
  step: jax.Array,
) -> jax.Array:
  """Returns the clips that are trained on, [batch, time].

  Args:
    defence: How they are perturbed.
    problem: As `pose` returns.
    mask: [batch, time], 1 on recorded samples, for a radius in dB SNR.
    step: Steps done, by which the radius grows.
  """
  share = defence.growth(step + 1)
  radii = share * defence.epsilon.radii(audio.signal_rms(problem.audio, mask))
  found = jax.lax.stop_gradient(defence.perturb(problem, radii))
  if not defence.clean_share:
    return found
  choices = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1)))
  is_clean = choices(problem.keys) < defence.clean_share
  return jnp.where(is_clean[:, None], problem.audio, found)


def attacked(
  defence: Defence, problem: attacks.Problem, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns clips under the attack that epochs are judged by, and alignment.

  PGD of `JUDGING_STEPS` steps at the defence's full radius. Alignment, [batch],
  is the cosine between a clip's input gradients at itself and at a random point
  of the ball (Andriushchenko & Flammarion 2020): near 0 a single step no longer
  points where the loss rises. 0 where there is no gradient.

  Args:
    defence: Whose radius it is.
    problem: As `pose` returns.
    mask: As of `perturbed`.
  """
  clips = problem.audio
  radii = defence.epsilon.radii(audio.signal_rms(clips, mask))
  found = _pgd(
    problem,
    radii,
    num_steps=JUDGING_STEPS,
    relative_step=_STEP / JUDGING_STEPS,
  )
  gradient_fn = jax.grad(lambda x: problem.loss_fn(x).sum())
  draw = functools.partial(
    jax.random.uniform, shape=clips.shape[1:], minval=-1.0
  )
  near = problem.perturbed(radii[:, None] * jax.vmap(draw)(problem.keys))
  here, there = gradient_fn(clips), gradient_fn(near)
  norms = [jnp.linalg.norm(x, axis=-1) for x in (here, there)]
  product = norms[0] * norms[1]
  cosine = jnp.sum(here * there, -1) / jnp.where(product > 0, product, 1)
  return found, cosine
