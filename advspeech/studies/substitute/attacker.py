"""An attacker on disk: what one asks, trains and tries, round by round.

What was asked is stored before anything is trained on it, and a substitute
before its examples are tried: a study that is stopped or killed asks nothing
twice, and goes on to the same bits.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import sharding

from advspeech import (
  audio,
  checkpoint,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  sweep,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import listening
from advspeech.studies.substitute import (
  augmenting,
  clips,
  examples,
  fitting,
  trying,
)
from advspeech.sweep import masks
from advspeech.sweep import settings as settings_lib

logger = logging.getLogger(__name__)

NATURAL, TRUE_LABELS = 'natural', 'true_labels'
# How an attacker comes by more clips; the last one knows their true labels, and
# asks nothing.
ARMS = (augmenting.JACOBIAN, NATURAL, *augmenting.KINDS[1:], TRUE_LABELS)


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


def epsilons_of(config: Any, name: str) -> tuple[audio.Epsilon, ...]:
  """Returns the epsilons that an attack is tried at, 0 not among them.

  Nor are a sweep's masking thresholds, which bound no norm.

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
    for epsilon in sweep.parse_epsilons(values, masking=True)
    if not epsilon.of_masking
    and (epsilon.of_clip or float(epsilon.radii(np.float32(0))))
  )


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

    if arm in augmenting.KINDS:
      ids = np.array([f'{x}+{arm}{number}' for x in chosen.ids])
      new = dataclasses.replace(chosen, ids=ids)
      found = self._asked(
        name, arm, lambda: dataclasses.replace(new, pcm=augmented())
      )
    else:
      new, found = chosen, self._asked(name, arm, lambda: chosen)
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

  def examples(
    self, victim: str, regime: str, tried: Mapping[str, trying.Tried]
  ) -> Iterator[listening.Example]:
    """Yields clips to listen to, attacked on the last substitute.

    That of the clips along the gradient, by the last attack.

    Args:
      victim: Its name.
      regime: Whose clips were asked about.
      tried: What it answers, by attack.
    """
    settings, config = self.settings, self.run.config
    name = settings.attacks[-1]
    part = f'{regime}-{augmenting.JACOBIAN}-{settings.num_rounds}-substitute'
    return examples.examples(
      self._trying(name, self.fitting.model),
      folder_lib.read(f'{self.stem}-{part}.npz'),
      self.judged,
      self._radii(name),
      tried[name],
      self.run.classes,
      {'attack': name, 'victim': victim},
      settings.num_examples,
      config.seeds[0],
    )

  def _radii(self, name):
    """Returns an attack's radii, [num_clips, num_epsilons]."""
    radii = [x.radii(self.levels) for x in epsilons_of(self.run.config, name)]
    return np.stack(radii, 1).astype(np.float32)

  def _trying(self, name, model):
    """Returns what is compiled of an attack on a network."""
    config = self.run.config
    return trying.Trying(
      model,
      self.victim.model,
      sweep.make_attack(config, name),
      masks.parse(config.sweep.masks[0]),
      sweep.make_settings(config).bounds,
    )

  def _try(self, name, model, variables):
    """Returns a `trying.Tried` of all clips, of NumPy arrays."""
    return over_clips.map_clips(
      self._trying(name, model),
      self.judged,
      self.mesh,
      self.chunk,
      shared=(variables, self.victim.variables),
      columns={'goal': self.judged.labels, 'radii': self._radii(name)},
      seed=self.run.config.seeds[0],
    )
