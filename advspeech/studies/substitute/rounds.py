"""The study on disk: queries, substitutes and verdicts, round by round.

What was asked is stored before anything is trained on it, and a substitute
before its examples are tried: a study that is stopped or killed asks nothing
twice, and goes on to the same bits.
"""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import sharding

from advspeech import (
  audio,
  checkpoint,
  errors,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  sweep,
  training,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies.substitute import augmenting, clips, fitting, trying
from advspeech.sweep import masks
from advspeech.sweep import settings as settings_lib

logger = logging.getLogger(__name__)

NATURAL, TRUE_LABELS = 'natural', 'true_labels'
# How an attacker comes by more clips; the last one knows their true labels, and
# asks nothing.
ARMS = (augmenting.JACOBIAN, NATURAL, *augmenting.KINDS[1:], TRUE_LABELS)
# The victim's own gradient, for comparison.
WHITE_BOX = 'white_box'


class Point(NamedTuple):
  """What was reached by whom.

  Attributes:
    victim: Name of its model.
    regime: One of `clips.REGIMES`; '' of the white box.
    arm: One of `ARMS`, or `WHITE_BOX`.
    number: Of the round, 0 of the seeds alone.
  """

  victim: str
  regime: str
  arm: str
  number: int


class Reached(NamedTuple):
  """An attacker after one round.

  Attributes:
    num_seeds: Clips asked about at first.
    num_queries: Labels asked of the victim so far, these among them.
    num_trained: Clips that the substitute was trained on.
    tried: By attack, what its examples do to the victim.
  """

  num_seeds: int
  num_queries: int
  num_trained: int
  tried: Mapping[str, trying.Tried]


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    labels: [num_clips] classes of the clips that are judged.
    speakers: [num_clips] who speaks, '' where unknown.
    signal_rms: [num_clips] levels.
    seed: Of victims and substitutes.
    epsilons: By attack.
    substitutes: By victim, what was trained in its place.
    reached: By point.
  """

  labels: np.ndarray
  speakers: np.ndarray
  signal_rms: np.ndarray
  seed: int
  epsilons: Mapping[str, tuple[audio.Epsilon, ...]]
  substitutes: Mapping[str, str]
  reached: Mapping[Point, Reached]


def pairs(config: Any) -> dict[str, str]:
  """Returns by victim the architecture that is trained in its place.

  That of the config, or else the next of the run's models.
  """
  names, settings = list(config.models), config.substitute
  return {
    victim: settings.model
    or training.base_name(names[(names.index(victim) + 1) % len(names)])
    for victim in settings.victims or names
  }


def epsilons_of(config: Any, name: str) -> tuple[audio.Epsilon, ...]:
  """Returns the epsilons that an attack is tried at, 0 not among them.

  Args:
    config: See configs/paper.py.
    name: Of the attack.
  """
  values = config.substitute.epsilons or config.sweep.epsilons
  if (
    not config.substitute.epsilons and sweep.make_attack(config, name).iterative
  ):
    values = config.sweep.iterative.epsilons or values
  return tuple(
    epsilon
    for epsilon in sweep.parse_epsilons(values)
    if epsilon.unit == 'dbsnr' or float(epsilon.radii(np.float32(0)))
  )


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
    for regime in clips.REGIMES
    if regime in settings.regimes
    and (regime != clips.CORPUS or settings.corpus)
  }
  seed, mesh = config.seeds[0], parallel.make_mesh()
  substitutes = pairs(config)
  victims = {name: run.classifier(name, seed) for name in substitutes}
  _claim(folder, run, judged, pools, victims)
  levels = sweep.signal_rms(judged.pcm, judged.spans)
  reached: dict[Point, Reached] = {}
  for name, victim in victims.items():
    attacker = Attacker(
      run,
      os.path.join(folder, registry.short_name(name)),
      victim,
      fitting.Fitting(run, substitutes[name], judged.pcm.shape[1], mesh),
      judged,
      levels,
      mesh,
    )
    tried = attacker.tried(WHITE_BOX, victim.model, victim.variables)
    reached[Point(name, '', WHITE_BOX, 0)] = Reached(0, 0, 0, tried)
    for regime, pool in pools.items():
      for arm in settings.arms:
        for number, found in enumerate(attacker.rounds(regime, arm, pool)):
          reached[Point(name, regime, arm, number)] = found
  return Results(
    judged.labels,
    judged.speakers,
    levels,
    seed,
    {name: epsilons_of(config, name) for name in settings.attacks},
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
  for where in ('folder', 'manifest', 'data_dir'):  # of this machine
    del settings[where]
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
      name: [epsilon.text for epsilon in epsilons_of(config, name)]
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


@dataclasses.dataclass(frozen=True)
class Attacker:
  """Who asks one victim, and what all ways to do it share.

  Attributes:
    run: An `experiment.Run`.
    stem: That names of its parts begin with.
    victim: Of which labels alone are asked, but by the white box.
    fitting: Of the substitute.
    judged: Clips that are never asked about to train on.
    levels: [num_clips] of them.
    mesh: The devices.
  """

  run: Any
  stem: str
  victim: checkpoint.Classifier
  fitting: fitting.Fitting
  judged: input_pipeline.Split
  levels: np.ndarray
  mesh: sharding.Mesh

  @property
  def settings(self) -> Any:
    """Returns `config.substitute`."""
    return self.run.config.substitute

  @property
  def chunk(self) -> int:
    """Returns how many clips a device computes together."""
    return settings_lib.chunks(
      (self.victim.model, self.fitting.model),
      self.judged.pcm.shape[1],
      1,
      1,
      sweep.make_settings(self.run.config),
    ).clips

  def rounds(
    self, regime: str, arm: str, pool: input_pipeline.Split
  ) -> Iterator[Reached]:
    """Yields what is reached with the seeds alone, and after each round.

    Natural clips may come to an end before the rounds do.

    Args:
      regime: Whose clips are asked about.
      arm: One of `ARMS`.
      pool: Clips to ask about, the seeds first.
    """
    settings = self.settings
    seeds = input_pipeline.subset(pool, np.arange(settings.num_seeds))
    # The seeds are the same for all who ask, and so is what they are worth.
    first = f'{regime}-{arm if arm == TRUE_LABELS else "seeds"}-0'
    found = self._asked(first, arm, lambda: seeds)
    known, variables = dataclasses.replace(seeds, **found), None
    for number in range(settings.num_rounds + 1):
      name = f'{regime}-{arm}-{number}' if number else first
      if number:
        more = min(len(known), settings.num_new)
        if arm in (NATURAL, TRUE_LABELS) and len(known) + more > len(pool):
          logger.info('%s: no more clips to ask about', f'{self.stem}-{name}')
          return
        known = self._grown(name, arm, number, known, variables, pool)
      variables = self._fitted(name, known, variables, number)
      yield Reached(
        len(seeds),
        0 if arm == TRUE_LABELS else len(known),
        len(known),
        self.tried(
          name, self.fitting.model, parallel.bring(variables, self.mesh)
        ),
      )

  def _grown(self, name, arm, number, known, variables, pool):
    """Returns all clips asked about after another round of queries."""
    more = min(len(known), self.settings.num_new)
    seed = self.run.config.seeds[0]
    if arm in augmenting.KINDS:
      source, rows = known, clips.order(known.ids, seed, number)[:more]
    else:
      source, rows = pool, np.arange(len(known), len(known) + more)
    chosen = input_pipeline.subset(source, rows)

    def augmented():
      return augmenting.augmented(
        arm,
        chosen,
        self.fitting.model,
        parallel.bring(variables, self.mesh),
        self.settings,
        self.mesh,
        self.chunk,
        seed=seed,
        number=number,
      )

    new = chosen
    if arm in augmenting.KINDS:
      ids = np.array([f'{x}+{arm}{number}' for x in chosen.ids])
      new = dataclasses.replace(chosen, ids=ids)
    found = self._asked(
      name,
      arm,
      lambda: (
        dataclasses.replace(new, pcm=augmented())
        if arm in augmenting.KINDS
        else new
      ),
    )
    return clips.joined(known, dataclasses.replace(new, **found))

  def _asked(self, name, arm, new):
    """Returns clips and the labels they are trained with, asked for once."""

    def ask():
      split = new()
      if arm != TRUE_LABELS:
        split = clips.labelled(
          split,
          self.victim.model,
          self.victim.variables,
          self.mesh,
          self.chunk,
        )
      return {'pcm': np.asarray(split.pcm[:]), 'labels': split.labels}

    return folder_lib.cached(f'{self.stem}-{name}-queries.npz', ask)

  def _fitted(self, name, known, variables, number):
    """Returns the substitute's variables after a round."""

    def fit():
      logger.info('%s: %d clips', f'{self.stem}-{name}', len(known))
      return self.fitting.fit(known, variables, number)

    return folder_lib.cached(f'{self.stem}-{name}-substitute.npz', fit)

  def tried(
    self, name: str, model: Any, variables: Any
  ) -> dict[str, trying.Tried]:
    """Returns by attack what examples made on a network do to the victim.

    Args:
      name: Of their parts.
      model: The network.
      variables: Its own, on the mesh.
    """
    return {
      attack: trying.Tried(
        **folder_lib.cached(
          f'{self.stem}-{name}-{registry.short_name(attack)}.npz',
          lambda attack=attack: self._try(attack, model, variables)._asdict(),
        )
      )
      for attack in self.settings.attacks
    }

  def _try(self, name, model, variables):
    """Returns a `trying.Tried` of all clips, of NumPy arrays."""
    config = self.run.config
    radii = [x.radii(self.levels) for x in epsilons_of(config, name)]
    return over_clips.map_clips(
      trying.Trying(
        model,
        self.victim.model,
        sweep.make_attack(config, name),
        masks.parse(config.sweep.masks[0]),
        sweep.make_settings(config).bounds,
      ),
      self.judged,
      self.mesh,
      self.chunk,
      shared=(variables, self.victim.variables),
      columns={
        'goal': self.judged.labels,
        'radii': np.stack(radii, 1).astype(np.float32),
      },
      seed=config.seeds[0],
    )
