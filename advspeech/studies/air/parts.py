"""The study on disk: answers of each model to each attack, part by part."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  rooms,
  sweep,
)
from advspeech.statistics import trainings
from advspeech.studies import folder as folder_lib
from advspeech.studies import listening
from advspeech.studies.air import examples, sending
from advspeech.sweep import masks
from advspeech.sweep import settings as settings_lib

# Of an interval over rooms.
FEWEST_ROOMS = trainings.FEWEST_TRAININGS


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    labels: [num_clips] classes.
    classes: Their names.
    speakers: [num_clips] who speaks, '' where unknown.
    rooms: That judge.
    epsilon: Of all attacks.
    signal_rms: [num_clips] levels.
    found: By (model, attack, number of draws; 0 knows nothing of the air).
  """

  labels: np.ndarray
  classes: Sequence[str]
  speakers: np.ndarray
  rooms: rooms.Bank
  epsilon: audio.Epsilon
  signal_rms: np.ndarray
  found: Mapping[tuple[str, str, int], sending.Found]


def chain_of(transform: str) -> tuple[rooms.Parts, str]:
  """Returns the parts of the chain, and the folder of responses or ''.

  Args:
    transform: 'air' or 'room', perhaps with @FOLDER.

  Raises:
    errors.InputError: If it is another, which has no rooms.
  """
  name, _, folder = transform.partition('@')
  if name not in rooms.PARTS or not rooms.PARTS[name].room:
    raise errors.InputError(
      "config.air.transform must be 'air', 'room', or one of these with "
      f'@FOLDER of your own responses, got {transform!r}'
    )
  return rooms.PARTS[name], folder


def judging_rooms(folder: str, num_rooms: int) -> rooms.Bank:
  """Returns unseen rooms, evenly spread over their T60.

  Args:
    folder: Of the user's responses; '' for simulated ones.
    num_rooms: How many; all if there are not so many.

  Raises:
    errors.InputError: If there are too few for an interval.
  """
  bank = rooms.load(rooms.UNSEEN, folder)
  order = np.argsort(bank.t60_s, kind='stable')
  chosen = order[input_pipeline.spread_rows(len(order), num_rooms)]
  if len(chosen) < FEWEST_ROOMS:
    raise errors.InputError(
      f'{folder}/unseen must hold {FEWEST_ROOMS} responses or more, for an '
      f'interval over rooms, got {len(chosen)}; add some'
    )
  return rooms.Bank(
    bank.responses[chosen],
    tuple(bank.names[i] for i in chosen),
    bank.t60_s[chosen],
    bank.distance_m[chosen],
  )


def make(run: Any, folder: str) -> Results:
  """Returns what was found; parts that are there are read.

  Args:
    run: An `experiment.Run`.
    folder: Of the study.

  Raises:
    errors.InputError: If the folder does not fit, or a model is not trained.
    preemption.Stopped: If a signal asked for it.
  """
  config, settings = run.config, run.config.air
  chain, own = chain_of(settings.transform)
  known = rooms.load(rooms.TRAINING, own)
  unseen = judging_rooms(own, settings.num_rooms)
  split = input_pipeline.spread(run.data.splits['test'], settings.num_clips)
  (epsilon,) = sweep.parse_epsilons([settings.epsilon])
  levels = sweep.signal_rms(split.pcm, split.spans)
  seed = config.seeds[0]
  classifiers = {name: run.classifier(name, seed) for name in config.models}
  _claim(folder, config, split, classifiers, (known, unseen))
  radius = np.asarray(epsilon.radii(levels), np.float32)
  responses = known.responses, unseen.responses
  found = {}
  for number, (name, classifier) in enumerate(classifiers.items()):
    member = sweep.Member(name, seed, classifier, split.labels)
    for attack in settings.attacks:
      for num_draws in (0, *settings.draws):
        part = f'{number}-{registry.short_name(attack)}-{num_draws}.npz'
        send = _send(config, member, attack, num_draws, chain)
        columns = _columns(config, member, attack, radius)
        found[name, attack, num_draws] = sending.Found(
          **folder_lib.cached(
            os.path.join(folder, part),
            functools.partial(
              _answers, config, attack, send, member, responses, split, columns
            ),
          )
        )
  first, attack = config.models[0], settings.attacks[-1]
  member = sweep.Member(first, seed, classifiers[first], split.labels)
  most = max(settings.draws)
  listening.write_once(
    folder,
    settings.num_examples,
    lambda: examples.examples(
      _send(config, member, attack, most, chain),
      (member.classifier.variables, *responses),
      split,
      _columns(config, member, attack, radius),
      found[first, attack, most],
      unseen,
      tuple(run.classes),
      {'model': first, 'attack': attack, 'draws': most},
      settings.num_examples,
      seed,
    ),
  )
  return Results(
    split.labels, run.classes, split.speakers, unseen, epsilon, levels, found
  )


def _claim(folder, config, split, classifiers, banks):
  """Writes whose the folder is, or checks that it is of this study."""
  settings = config.air
  digest = hashlib.sha256(' '.join(map(str, split.ids)).encode())
  digest.update(np.asarray(split.pcm).tobytes())
  what = {
    'models': {
      name: checkpoint.variables_sha256(classifier.variables)
      for name, classifier in classifiers.items()
    },
    'clips': digest.hexdigest(),
    'rooms': [bank.digest for bank in banks],
    'transform': settings.transform,
    'attacks': list(settings.attacks),
    'draws': list(settings.draws),
    'epsilon': settings.epsilon,
    'iterative': config.sweep.iterative.to_dict(),
    'mask': config.sweep.masks[0],
    'clip_to_range': config.sweep.clip_to_range,
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} belongs to this study'
  )


def _send(
  config: Any,
  member: sweep.Member,
  name: str,
  num_draws: int,
  chain: rooms.Parts,
) -> sending.Sending:
  """Returns what is done to clips by an attack that knows of some rooms."""
  return sending.Sending(
    member.classifier.model,
    sweep.make_attack(config, name),
    num_draws,
    chain,
    masks.parse(config.sweep.masks[0]),
    sweep.make_settings(config).bounds,
  )


def _columns(config, member, name, radius):
  """Returns what an attack needs of every clip."""
  return {
    'goal': member.goal(sweep.make_attack(config, name)),
    'radius': radius,
  }


def _answers(
  config: Any,
  name: str,
  send: sending.Sending,
  member: sweep.Member,
  responses: Sequence[np.ndarray],
  split: input_pipeline.Split,
  columns: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """Returns a `sending.Found` of all clips, by field."""
  settings = sweep.make_settings(config)
  at_once = settings_lib.chunks(
    (send.model,), split.pcm.shape[1], 1, 1, settings
  )
  found = over_clips.map_clips(
    send,
    split,
    parallel.make_mesh(),
    at_once.clips,
    shared=(member.classifier.variables, *responses),
    columns=columns,
    seed=member.seed,
    name=f'{name} on {member.name}, {send.num_draws or "no"} rooms known',
  )
  return found._asdict()
