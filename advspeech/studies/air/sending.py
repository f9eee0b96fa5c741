"""What is compiled: an attack on a chunk of clips, heard in many rooms."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import attacks, audio, randomness, rooms, sweep, transforms
from advspeech.sweep import masks, program
from advspeech.sweep import problem as problem_lib

CLEAN, ATTACK = 'clean', 'attack'
# What is sent: the clip, the attack on it, and noise as large as that.
SENT = (CLEAN, ATTACK, *sweep.CONTROLS)
# Numbers of unseen rooms lie below; from here on are those of draws.
_SEEN = 1 << 16


class Found(NamedTuple):
  """What a model answers, clips first.

  Attributes:
    direct: [num_clips, num_sent] classes without any air between.
    seen: [num_clips, num_sent, num_draws] in the rooms that the attack was made
      in, with other noise and offsets; one training room for a blind attack.
    unseen: [num_clips, num_sent, num_rooms] in rooms that no attack knows.
    snr_db: [num_clips, num_sent] at the source.
    heard_snr_db: [num_clips, num_sent, num_rooms] at the microphone, against
      the clean clip in the same room.
  """

  direct: jax.Array
  seen: jax.Array
  unseen: jax.Array
  snr_db: jax.Array
  heard_snr_db: jax.Array


class Sending(NamedTuple):
  """An attack and its judgement; a function for `over_clips.map_clips`.

  Attributes:
    model: Attacked, and judge.
    attack: What is done.
    num_draws: Training rooms that it averages over; 0 for one that knows
      nothing of the air.
    parts: Of the chain that clips are sent through.
    mask: What the attack may touch.
    bounds: Smallest and largest legal sample.
  """

  model: nn.Module
  attack: attacks.Attack
  num_draws: int
  parts: rooms.Parts
  mask: masks.Mask
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Found:
    """Returns answers for a chunk.

    Args:
      shared: The model's variables, responses of the training rooms, and those
        of the rooms that judge.
      rows: Clips, with the columns `goal` and `radius` [chunk].
    """
    variables, known, unseen = shared
    clips, recorded, keys = rows['audio'], rows['mask'], rows['key']
    sent = self.made(variables, known, rows)

    def answers(heard):
      return jax.lax.map(
        lambda x: jnp.argmax(
          self.model.apply(variables, x, train=False), -1
        ).astype(jnp.int32),
        heard,
      )

    def in_room(number):
      heard = self.in_room(unseen, sent, number, rows)
      ratios = [audio.snr_db(heard[0], x, recorded) for x in heard]
      return answers(heard), jnp.stack(ratios)

    def in_draw(draw):
      made_in = rooms.draw(problem_lib.known_keys(keys, draw), len(known))
      draws = _fresh(keys, _SEEN + draw, len(known))._replace(room=made_in.room)
      return answers(self._hear(known, sent, draws, recorded))

    unseen_answers, ratios = jax.lax.map(in_room, jnp.arange(len(unseen)))
    seen_answers = jax.lax.map(in_draw, jnp.arange(max(1, self.num_draws)))
    return Found(
      answers(sent).T,
      jnp.moveaxis(seen_answers, -1, 0).swapaxes(1, 2),
      jnp.moveaxis(unseen_answers, -1, 0).swapaxes(1, 2),
      jnp.stack([audio.snr_db(clips, x, recorded) for x in sent], -1),
      jnp.moveaxis(ratios, -1, 0).swapaxes(1, 2),
    )

  def made(
    self, variables: Any, known: jax.Array, rows: dict[str, jax.Array]
  ) -> jax.Array:
    """Returns what is sent, [num_sent, chunk, time].

    Args:
      variables: The model's.
      known: Responses of the training rooms.
      rows: As for a call.
    """
    problem = problem_lib.pose(
      self.model,
      variables,
      rows,
      self.attack,
      self.mask,
      self._transform(known) if self.num_draws else None,
      self.bounds,
      max(1, self.num_draws),
    )
    perturbed = problem_lib.carry_out(
      self.attack, problem, self.attack.prepare(problem), None, rows['radius']
    )
    noisy = program.controls(rows['key'], perturbed, problem)
    return jnp.stack([rows['audio'], perturbed, *noisy])

  def in_room(
    self,
    unseen: jax.Array,
    sent: jax.Array,
    number: jax.Array | int,
    rows: dict[str, jax.Array],
  ) -> jax.Array:
    """Returns what is heard in a room that judges, [num_sent, chunk, time].

    Args:
      unseen: Responses of these rooms.
      sent: [num_sent, chunk, time].
      number: Of the room.
      rows: As for a call.
    """
    draws = _fresh(rows['key'], number, len(unseen))
    draws = draws._replace(room=jnp.full(sent.shape[1], number))
    return self._hear(unseen, sent, draws, rows['mask'])

  def _hear(self, responses, sent, draws, recorded):
    return jax.lax.map(
      lambda x: rooms.carry(self.parts, responses, x, draws, recorded), sent
    )

  def _transform(self, known):
    """Returns the air as the attack knows it."""

    def apply(x, keys, mask):
      draws = rooms.draw(keys, len(known))
      return rooms.carry(self.parts, known, x, draws, mask)

    return transforms.Transform('air', apply, apply, is_simulated=True)


def _fresh(keys, number, num_rooms):
  """Returns draws of the chain that no attack has seen, one a clip."""
  return rooms.draw(
    jax.vmap(jax.random.fold_in, (0, None))(
      randomness.stream(keys, 'transform'), number
    ),
    num_rooms,
  )
