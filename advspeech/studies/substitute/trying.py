"""What is compiled: examples made on a substitute, tried on the victim."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import attacks, audio, sweep
from advspeech.sweep import masks, program
from advspeech.sweep import problem as problem_lib

# What is sent: the attack, and noise as large as that.
SENT = ('', *sweep.CONTROLS)


class Tried(NamedTuple):
  """What became of clips, clips first.

  Attributes:
    clean: [num_clips] the victim's answers to the clips as they are.
    own: [num_clips] the substitute's.
    answers: [num_clips, num_epsilons, num_sent] the victim's to what is sent.
    snr_db: [num_clips, num_epsilons, num_sent] of it.
  """

  clean: jax.Array
  own: jax.Array
  answers: jax.Array
  snr_db: jax.Array


class Trying(NamedTuple):
  """An attack and its judgement; a function for `over_clips.map_clips`.

  Attributes:
    substitute: What the attack is made on.
    victim: Who judges it.
    attack: What is done.
    mask: What it may touch.
    bounds: Smallest and largest legal sample.
  """

  substitute: nn.Module
  victim: nn.Module
  attack: attacks.Attack
  mask: masks.Mask
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Tried:
    """Returns answers for a chunk: all is sent as 16-bit files.

    Args:
      shared: The substitute's variables, and the victim's.
      rows: Clips, with the columns `goal` [chunk] and `radii` [chunk,
        num_epsilons].
    """
    source, target = shared
    clips, recorded = rows['audio'], rows['mask']
    made = self.making(source, rows)

    def answer(model, variables, x):
      logits = model.apply(variables, x, train=False)
      return jnp.argmax(logits, -1).astype(jnp.int32)

    def at(radii):
      sent = audio.from_pcm(made(radii))
      ratios = jnp.stack([audio.snr_db(clips, x, recorded) for x in sent])
      return (
        jax.lax.map(lambda x: answer(self.victim, target, x), sent),
        ratios,
      )

    answers, ratios = jax.lax.map(at, rows['radii'].T)
    return Tried(
      answer(self.victim, target, clips),
      answer(self.substitute, source, clips),
      jnp.moveaxis(answers, -1, 0),
      jnp.moveaxis(ratios, -1, 0),
    )

  def making(
    self, source: Any, rows: dict[str, jax.Array]
  ) -> Callable[[jax.Array], jax.Array]:
    """Returns a function of radii [chunk] to what is sent.

    That is [num_sent, chunk, time] int16.

    Args:
      source: The substitute's variables.
      rows: As for a call.
    """
    problem = problem_lib.pose(
      self.substitute, source, rows, self.attack, self.mask, None, self.bounds
    )
    prepared = self.attack.prepare(problem)

    def made(radii):
      perturbed = problem_lib.carry_out(
        self.attack, problem, prepared, None, radii
      )
      noisy = program.controls(rows['key'], perturbed, problem)
      return audio.to_pcm(jnp.stack([perturbed, *noisy]))

    return made
