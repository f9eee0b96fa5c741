"""Responses that clips are put through: training rooms, and unseen ones."""

import dataclasses
import functools
import hashlib
import json
import logging
import os

import numpy as np

from advspeech import errors, storage
from advspeech.rooms import recorded, simulation
from advspeech.rooms.image_source import Rooms

logger = logging.getLogger(__name__)

# What attacks and trainings may know, and what they are judged in.
TRAINING, UNSEEN = 'training', 'unseen'
SIDES = (TRAINING, UNSEEN)
NUM_ROOMS = {TRAINING: 1000, UNSEEN: 100}
SEED = 0
# Raised where the same recipe makes other responses.
_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
  """Responses of rooms, simulated or recorded.

  Attributes:
    responses: [num_rooms, time] float32; the direct path has a gain of about 1
      and is heard at the sample `image_source.LEAD`.
    names: [num_rooms] of each: its number, or its file.
    t60_s: [num_rooms] in which sound decays by 60 dB, as simulated, or as
      measured on what was recorded.
    distance_m: [num_rooms] between source and microphone; nan if unknown.
  """

  responses: np.ndarray
  names: tuple[str, ...]
  t60_s: np.ndarray
  distance_m: np.ndarray

  @functools.cached_property
  def digest(self) -> str:
    """Returns what tells these responses from others."""
    return _digest(self.responses)


@functools.lru_cache
def load(side: str, folder: str = '') -> Bank:
  """Returns training rooms, or unseen ones.

  Simulated ones are computed once a machine and lie below XDG_CACHE_HOME
  (`~/.cache` if that is not set), with a digest.

  Args:
    side: One of `SIDES`.
    folder: Of the user's own responses, WAV files in a folder a side; '' for
      simulated ones.

  Raises:
    errors.InputError: If one of the user's files cannot be used.
  """
  if folder:
    responses, names = recorded.read(os.path.join(folder, side))
    return Bank(
      responses,
      names,
      np.array([simulation.t60_of(x) for x in responses]),
      np.full(len(names), np.nan),
    )
  rooms = simulation.draw(SEED, SIDES.index(side), NUM_ROOMS[side])
  return Bank(
    _stored(side, rooms),
    tuple(f'{number:04d}' for number in range(NUM_ROOMS[side])),
    rooms.t60_s,
    rooms.distance_m,
  )


def recipe(side: str) -> str:
  """Returns what decides about the simulated rooms of a side, as JSON."""
  return json.dumps(
    {
      'version': _VERSION,
      'seed': SEED,
      'side': side,
      'num_rooms': NUM_ROOMS[side],
      'dimensions_m': simulation.DIMENSIONS_M,
      't60_s': simulation.T60_S,
      'wall_m': simulation.WALL_M,
      'max_order': simulation.MAX_ORDER,
      'fade_from': simulation.FADE_FROM,
      'num_samples': simulation.NUM_SAMPLES,
      'high_pass_hz': simulation.HIGH_PASS_HZ,
    }
  )


def path(side: str) -> str:
  """Returns where the simulated responses of a side lie."""
  name = hashlib.sha256(recipe(side).encode()).hexdigest()[:16]
  return os.path.join(storage.cache_folder('rooms'), f'{side}-{name}.npz')


def _stored(side: str, rooms: Rooms) -> np.ndarray:
  """Returns responses from disk; computes and writes them where they lack."""
  file = path(side)
  if storage.exists(file):
    try:
      found = storage.read_arrays(file)
      if _digest(found['responses']) == str(found['digest']):
        return found['responses']
      problem = 'its digest is another'
    except (errors.InputError, KeyError) as e:
      problem = str(e)
    logger.warning('%s is computed again: %s', file, problem)
  logger.info('simulating %d %s rooms: %s', len(rooms.t60_s), side, file)
  responses = simulation.responses(rooms, SEED + SIDES.index(side))
  storage.make_folder(os.path.dirname(file))
  storage.write_arrays(
    file,
    {
      'responses': responses,
      'digest': np.array(_digest(responses)),
      'recipe': np.array(recipe(side)),
      **{name: np.asarray(x) for name, x in rooms._asdict().items()},
    },
  )
  return responses


def _digest(responses):
  return hashlib.sha256(np.ascontiguousarray(responses).tobytes()).hexdigest()
