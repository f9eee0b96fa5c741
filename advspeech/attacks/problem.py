"""What an attack is given, and what an attack is: the user's own too."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from advspeech.attacks.ceiling import Ceiling
from advspeech.attacks.constraints import add, masked
from advspeech.attacks.losses import (
  cross_entropy,
  margin,
  targeted_cross_entropy,
  targeted_margin,
)


class Problem(NamedTuple):
  """What an attack is given, for the clips of a batch.

  Attributes:
    audio: [batch, time] clean clips.
    logits_fn: Maps audio [batch, time] to logits [batch, num_classes].
    goal: [batch] classes to leave, or to reach if targeted.
    targeted: Which of the two.
    keys: [batch] typed PRNG keys, one a clip.
    mask: [batch, time] or None; samples with 0 are not touched.
    band: [time // 2 + 1] weights of rfft bins, or None.
    bounds: Smallest and largest legal sample.
    drawn_logits_fn: For something random that comes between audio and model,
      such as a room: maps audio and the number of a draw to logits; None where
      there is one draw, that of `logits_fn`.
    num_draws: From 0, over which loss and margin are averaged: the expectation
      over transformations of Athalye et al. (2018).
    ceiling: Of the clips, if radii are multiples of it and no norms; None else.
  """

  audio: jax.Array
  logits_fn: Callable[[jax.Array], jax.Array]
  goal: jax.Array
  targeted: bool
  keys: jax.Array
  mask: jax.Array | None
  band: jax.Array | None
  bounds: tuple[float, float]
  drawn_logits_fn: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  num_draws: int = 1
  ceiling: Ceiling | None = None

  def loss_fn(self, audio: jax.Array) -> jax.Array:
    """Returns the cross entropy to ascend, [batch]."""
    return self.loss_and_margin(audio)[0]

  def margin_fn(self, audio: jax.Array) -> jax.Array:
    """Returns margins, [batch], positive where the goal is reached."""
    return self.loss_and_margin(audio)[1]

  def perturbed(self, change: jax.Array) -> jax.Array:
    """Returns the clips with a change added, within mask and bounds."""
    return add(self.audio, masked(change, self.mask), bounds=self.bounds)

  def loss_and_margin(self, audio: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both, from one pass through the model a draw."""
    if self.drawn_logits_fn is None:
      return self._loss_and_margin(self.logits_fn(audio))

    # A draw's maps are computed anew for its gradient: in memory are those of
    # one.
    @jax.checkpoint
    def of_draw(draw, x):
      return self._loss_and_margin(self.drawn_logits_fn(x, draw))

    drawn = jax.lax.map(
      lambda draw: of_draw(draw, audio), jnp.arange(self.num_draws)
    )
    return jax.tree.map(lambda values: values.mean(0), drawn)

  def _loss_and_margin(self, logits):
    if self.targeted:
      return (
        targeted_cross_entropy(logits, self.goal),
        targeted_margin(logits, self.goal),
      )
    return cross_entropy(logits, self.goal), margin(logits, self.goal)


class Attack(NamedTuple):
  """An attack in two halves.

  Attributes:
    norm: 'linf' or 'l2': what bounds its perturbations.
    unit: Of its radii; '' for that of the audio. Any other is that of the
      features it moves: such an attack rebuilds the clip from them, and at
      radius 0 leaves it with the conversion loss.
    iterative: Whether it takes many gradients or queries an epsilon.
    targeted: Whether the problem is to ask for a chosen class.
    in_band: Whether it can stay in a frequency band.
    fitted: Whether `apply` takes numbers, [time] or [num_learnt], that were
      learnt before on other clips, as its auxiliary.
    prepare: Maps a `Problem` to arrays with a row a clip.
    apply: Maps (problem, those arrays, radii [batch]) to adversarial audio
      [batch, time]; for 'l2' radii are L2 norms, for attacks on features
      max-norms of the change of these.
    counts: Steps, restarts and queries, of an iterative attack: what else tells
      it from others of its name.
    title: What figures call it; '' for its name.
    under_ceiling: Whether it keeps to `Problem.ceiling` where there is one.
    learn: Of a fitted attack, one step towards what it learns; called as
      `universal_step` is.
    num_learnt: Numbers that it learns; 0 for one a sample of a clip.
  """

  norm: str
  unit: str
  iterative: bool
  targeted: bool
  in_band: bool
  fitted: bool
  prepare: Callable[[Problem], Any]
  apply: Callable[[Problem, Any, jax.Array], jax.Array]
  counts: tuple[int, ...] = ()
  title: str = ''
  under_ceiling: bool = False
  learn: Callable[..., jax.Array] | None = None
  num_learnt: int = 0

  def length_learnt(self, num_samples: int) -> int:
    """Returns how many numbers are learnt for clips of a length."""
    return self.num_learnt or num_samples


def from_function(
  attack_fn: Callable[[Problem, jax.Array], jax.Array],
  *,
  norm: str = 'linf',
  iterative: bool = False,
  in_band: bool = False,
  title: str = '',
  under_ceiling: bool = False,
) -> Attack:
  """Returns an attack of the user's own.

  Args:
    attack_fn: Maps (problem, radii [batch]) to adversarial audio [batch, time],
      clip by clip, to be compiled.
    norm: 'linf' or 'l2': what radii bound.
    iterative: Whether it takes many gradients or queries, and so is made at
      fewer epsilons.
    in_band: Whether it keeps to `problem.band`.
    title: What figures call it.
    under_ceiling: Whether it keeps to `problem.ceiling` where that is not None.
  """

  def apply(problem, prepared, radii):
    del prepared
    return attack_fn(problem, radii)

  return Attack(
    norm,
    '',
    iterative,
    False,
    in_band,
    False,
    prepare_nothing,
    apply,
    title=title or getattr(attack_fn, 'title', ''),
    under_ceiling=under_ceiling,
  )


def prepare_nothing(problem: Problem) -> tuple[()]:
  """Prepares nothing: for attacks that begin anew at every epsilon."""
  del problem
  return ()
