"""Clips to listen to: clean, attacked, noisy, at the source and in a room."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import input_pipeline, over_clips, parallel, rooms
from advspeech.studies import listening
from advspeech.studies.air import sending

# What is played of what is sent.
_PLAYED = (sending.CLEAN, sending.ATTACK, 'random_sign')
_ROWS = [sending.SENT.index(name) for name in _PLAYED]
SOURCE, ROOM = 'source', 'room'


class Sounding(NamedTuple):
  """What is sent and what is heard of it, for `over_clips.map_clips`.

  Attributes:
    sent: What is done to clips.
    number: Of the room.
  """

  sent: sending.Sending
  number: int

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns clips, [chunk, 2, num_played, time], at the source first.

    Args:
      shared: As for `sending.Sending`.
      rows: The same.
    """
    variables, known, unseen = shared
    sent = self.sent.made(variables, known, rows)[jnp.array(_ROWS)]
    heard = self.sent.in_room(unseen, sent, self.number, rows)
    return jnp.moveaxis(jnp.stack([sent, heard]), 2, 0)


def examples(
  sent: sending.Sending,
  shared: Any,
  split: input_pipeline.Split,
  columns: dict[str, np.ndarray],
  found: sending.Found,
  bank: rooms.Bank,
  classes: tuple[str, ...],
  what: dict[str, Any],
  num: int,
  seed: int,
) -> Iterator[listening.Example]:
  """Yields clips as they are sent, and as one of the rooms makes of them.

  The room is that of the median T60. On one process alone.

  Args:
    sent: What is done to clips.
    shared: As it takes it.
    split: All clips.
    columns: Of them.
    found: What is answered to them.
    bank: The rooms that judge.
    classes: Names of the answers.
    what: Further entries of each example.
    num: How many; those that the attack breaks in most rooms.
    seed: Of everything random.
  """
  mesh, number = parallel.own_mesh(), len(bank.names) // 2
  wrong = found.unseen != split.labels[:, None, None]
  gained = wrong[:, sending.SENT.index(sending.ATTACK)].mean(-1) - (
    wrong[:, sending.SENT.index(sending.CLEAN)].mean(-1)
  )
  rows = listening.telling_rows(gained, num)
  made = over_clips.map_clips(
    Sounding(sent, number),
    input_pipeline.subset(split, rows),
    mesh,
    1,
    shared=parallel.bring(shared, mesh),
    columns={name: column[rows] for name, column in columns.items()},
    seed=seed,
    name='sounds',
  )
  for row, places in zip(rows, made, strict=True):
    sounds = places[:, :, slice(*split.spans[row])]
    for place, at_place in zip((SOURCE, ROOM), sounds, strict=True):
      for s, name, sound in zip(_ROWS, _PLAYED, at_place, strict=True):
        answer = (
          found.direct[row, s]
          if place == SOURCE
          else found.unseen[row, s, number]
        )
        yield listening.Example(
          str(split.ids[row]),
          sound,
          at_place[0],
          {
            **what,
            'sent': name,
            'place': place,
            't60_s': float(bank.t60_s[number]),
            'answer': classes[int(answer)],
          },
        )
