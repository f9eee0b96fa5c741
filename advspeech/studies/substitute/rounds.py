"""The study: every victim, every source of clips, every way to ask."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  parallel,
  registry,
  sweep,
  training,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import listening
from advspeech.studies.substitute import attacker as attacker_lib
from advspeech.studies.substitute import augmenting, clips, fitting
from advspeech.studies.substitute import victims as victims_lib

# The victim's own gradient, for comparison.
WHITE_BOX = 'white_box'


class Point(NamedTuple):
  """What was reached by whom.

  Attributes:
    victim: Name of its model.
    regime: One of `clips.REGIMES`; '' of the white box.
    arm: One of `attacker.ARMS`, or `WHITE_BOX`.
    number: Of the round, 0 of the seeds alone.
  """

  victim: str
  regime: str
  arm: str
  number: int


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    labels: [num_clips] classes of the clips that are judged.
    classes: Their names.
    speakers: [num_clips] who speaks, '' where unknown.
    signal_rms: [num_clips] levels.
    seed: Of victims and substitutes.
    epsilons: By attack.
    substitutes: By victim, what was trained in its place.
    reached: By point.
  """

  labels: np.ndarray
  classes: Sequence[str]
  speakers: np.ndarray
  signal_rms: np.ndarray
  seed: int
  epsilons: Mapping[str, tuple[audio.Epsilon, ...]]
  substitutes: Mapping[str, str]
  reached: Mapping[Point, attacker_lib.Reached]


def pairs(config: Any) -> dict[str, str]:
  """Returns by victim the architecture that is trained in its place.

  That of the config, or else the next of the run's models, the first for an
  embedder.
  """
  names, settings = list(config.models), config.substitute
  following = dict(zip(names, (*names[1:], names[0]), strict=True))
  return {
    victim: settings.model
    or training.base_name(following.get(victim, names[0]))
    for victim in settings.victims or names
  }


def regimes(config: Any) -> list[str]:
  """Returns whose clips are asked about: another corpus where one is named."""
  settings = config.substitute
  return [
    regime
    for regime in settings.regimes
    if regime != clips.CORPUS or settings.corpus
  ]


def make(run: Any, folder: str) -> Results:
  """Returns what was found; parts that are there are read.

  Args:
    run: An `experiment.Run`.
    folder: Of the study.

  Raises:
    errors.InputError: If the folder does not fit, a model is not trained, or
      there are too few clips to ask about.
    preemption.Stopped: If a signal asked for it.
  """
  config, settings = run.config, run.config.substitute
  test = run.data.splits['test']
  judged = input_pipeline.spread(test, settings.num_clips)
  pools = {
    regime: _checked(clips.pool(run, regime, judged, _most(settings)), settings)
    for regime in regimes(config)
  }
  seed, mesh = config.seeds[0], parallel.make_mesh()
  substitutes = pairs(config)
  victims = {name: victims_lib.load(run, name, mesh) for name in substitutes}
  _claim(folder, run, judged, pools, victims)
  levels = sweep.signal_rms(judged.pcm, judged.spans)
  reached: dict[Point, attacker_lib.Reached] = {}
  attackers = {}
  for name, victim in victims.items():
    attackers[name] = attacker = attacker_lib.Attacker(
      run,
      os.path.join(folder, registry.short_name(name)),
      victim,
      fitting.Fitting(run, substitutes[name], judged.pcm.shape[1], mesh),
      judged,
      levels,
      mesh,
    )
    tried = attacker.tried(WHITE_BOX, victim.model, victim.variables)
    reached[Point(name, '', WHITE_BOX, 0)] = attacker_lib.Reached(
      0, 0, 0, tried
    )
    for regime, pool in pools.items():
      for arm in settings.arms:
        for number, found in enumerate(attacker.rounds(regime, arm, pool)):
          reached[Point(name, regime, arm, number)] = found
  if augmenting.JACOBIAN in settings.arms:
    name, regime = next(iter(victims)), next(iter(pools))
    last = Point(name, regime, augmenting.JACOBIAN, settings.num_rounds)
    listening.write_once(
      folder,
      settings.num_examples,
      lambda: attackers[name].examples(name, regime, reached[last].tried),
    )
  return Results(
    judged.labels,
    run.classes,
    judged.speakers,
    levels,
    seed,
    {name: attacker_lib.epsilons_of(config, name) for name in settings.attacks},
    substitutes,
    reached,
  )


def _most(settings):
  """Returns how many clips an arm has after its last round, at most."""
  num = settings.num_seeds
  for _ in range(settings.num_rounds):
    num += min(num, settings.num_new)
  return num


def _checked(pool, settings):
  """Returns a pool; refuses one with too few clips to begin with."""
  if len(pool) < settings.num_seeds:
    raise errors.InputError(
      'config.substitute.num_seeds must not be more than there are clips to '
      f'ask about, {len(pool)}, got {settings.num_seeds}; lower it, or leave '
      'out that regime'
    )
  return pool


def _claim(folder, run, judged, pools, victims):
  """Writes whose the folder is, or checks that it is of this study."""
  config, settings = run.config, run.config.substitute.to_dict()
  # Of this machine, or nothing that numbers depend on.
  for key in ('folder', 'manifest', 'data_dir', 'num_examples'):
    del settings[key]
  what = {
    'models': {
      name: checkpoint.variables_sha256(victim.variables)
      for name, victim in victims.items()
    },
    'substitutes': pairs(config),
    'judged': _digest(judged),
    'asked': {regime: _digest(pool) for regime, pool in pools.items()},
    **settings,
    'epsilons': {
      name: [epsilon.text for epsilon in attacker_lib.epsilons_of(config, name)]
      for name in config.substitute.attacks
    },
    'iterative': config.sweep.iterative.to_dict(),
    'mask': config.sweep.masks[0],
    'clip_to_range': config.sweep.clip_to_range,
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} belongs to this study'
  )


def _digest(split):
  digest = hashlib.sha256(split.ids_sha256().encode())
  digest.update(np.asarray(split.pcm[:]).tobytes())
  return digest.hexdigest()
