"""What is compiled: an attack on a chunk of trials, judged by all embedders."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from advspeech import attacks, audio, embedders, randomness, sweep
from advspeech.studies.verification import scoring
from advspeech.sweep import problem as problem_lib
from advspeech.sweep import program

# What is judged at each epsilon: the attack in memory and as a 16-bit file, and
# noise of its size.
VARIANTS = ('', 'int16', *sweep.CONTROLS)


class Found(NamedTuple):
  """What an attack does to trials, trials first.

  Attributes:
    scores: [num_trials, num_epsilons, num_variants, num_judges] cosines to the
      enrolled clips.
    known_scores: [num_trials, num_epsilons] by the source, to the clips that
      the attack saw.
    snr_db: [num_trials, num_epsilons] of the attack.
  """

  scores: jax.Array
  known_scores: jax.Array
  snr_db: jax.Array


def pose(
  source: embedders.Embedder,
  variables: Any,
  threshold: jax.Array,
  rows: dict[str, jax.Array],
  bounds: tuple[float, float],
) -> tuple[attacks.Problem, Callable[[jax.Array], jax.Array]]:
  """Returns the problem of an attack on trials, and the score that it sees.

  Args:
    source: Embedder that is attacked.
    variables: Its own.
    threshold: Its score from which on trials are accepted.
    rows: Clips, with the column `known` [batch, dimension]. A label is 1 where
      the trial is a target's.
    bounds: Smallest and largest legal sample.
  """
  recorded = rows['mask']

  def known_score(x):
    return scoring.cosine(source.apply(variables, x, recorded), rows['known'])

  # Two classes, rejected and accepted: every attack that leaves a label then
  # raises an impostor's score and lowers a target's.
  def logits_fn(x):
    above = known_score(x) - threshold
    return jnp.stack([-above, above], -1)

  problem = attacks.Problem(
    audio=rows['audio'],
    logits_fn=logits_fn,
    goal=rows['label'],
    targeted=False,
    keys=randomness.stream(rows['key'], 'attack'),
    mask=recorded,
    band=None,
    bounds=bounds,
  )
  return problem, known_score


class Perturbing(NamedTuple):
  """An attack and its controls; a function for `over_clips.map_clips`.

  Attributes:
    source: Embedder that is attacked.
    attack: What is done.
    bounds: Smallest and largest legal sample.
  """

  source: embedders.Embedder
  attack: attacks.Attack
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns clips, [chunk, num_epsilons, 1 + num_controls, time].

    Args:
      shared: Variables of the source, and its threshold.
      rows: Clips as `pose` takes them, with `radii` [chunk, num_epsilons].
    """
    problem, _ = pose(self.source, *shared, rows, self.bounds)
    prepared = self.attack.prepare(problem)

    def at_epsilon(radii):
      found = problem_lib.carry_out(self.attack, problem, prepared, None, radii)
      noisy = program.controls(rows['key'], found, problem)
      return jnp.stack([found, *noisy])

    return jax.lax.map(at_epsilon, rows['radii'].T).transpose(2, 0, 1, 3)


class Attacking(NamedTuple):
  """One attack from one source; a function for `over_clips.map_clips`.

  Attributes:
    source: Embedder that is attacked.
    judges: Embedders that judge.
    attack: What is done.
    bounds: Smallest and largest legal sample.
  """

  source: embedders.Embedder
  judges: tuple[embedders.Embedder, ...]
  attack: attacks.Attack
  bounds: tuple[float, float]

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Found:
    """Returns scores of a chunk.

    Args:
      shared: Variables of the source and of the judges, and the source's
        threshold.
      rows: Clips, with the columns `known` [chunk, dimension], `radii` [chunk,
        num_epsilons] and, for each judge, `enrolled<number>`. A label is 1
        where the trial is a target's.
    """
    of_source, of_judges, threshold = shared
    clips, recorded = rows['audio'], rows['mask']
    problem, known_score = pose(
      self.source, of_source, threshold, rows, self.bounds
    )
    prepared = self.attack.prepare(problem)

    def judge(x):
      return jnp.stack(
        [
          scoring.cosine(
            judge.apply(variables, x, recorded), rows[f'enrolled{j}']
          )
          for j, (judge, variables) in enumerate(
            zip(self.judges, of_judges, strict=True)
          )
        ],
        -1,
      )

    def at_epsilon(radii):
      found = problem_lib.carry_out(self.attack, problem, prepared, None, radii)
      # Optimisation must not cancel the conversion against its inverse.
      pcm = jax.lax.optimization_barrier(audio.to_pcm(found))
      variants = jnp.stack(
        [
          found,
          audio.from_pcm(pcm),
          *program.controls(rows['key'], found, problem),
        ]
      )
      return Found(
        jax.lax.map(judge, variants).transpose(1, 0, 2),
        known_score(found),
        audio.snr_db(clips, found, recorded),
      )

    found = jax.lax.map(at_epsilon, rows['radii'].T)
    return jax.tree.map(lambda x: x.swapaxes(0, 1), found)
