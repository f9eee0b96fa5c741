"""Sound in the air, simulated: rooms, devices, and what they do to clips.

`image_source` computes echoes, `simulation` draws rooms and makes their
responses, `recorded` reads the user's own, `bank` keeps both, and `chain` sends
clips through them.
"""

from advspeech.rooms.bank import SIDES, TRAINING, UNSEEN, Bank, load
from advspeech.rooms.chain import PARTS, Draws, Parts, carry, draw
from advspeech.rooms.chain import recipe as chain_recipe

__all__ = [
  'PARTS',
  'SIDES',
  'TRAINING',
  'UNSEEN',
  'Bank',
  'Draws',
  'Parts',
  'carry',
  'chain_recipe',
  'draw',
  'load',
]
