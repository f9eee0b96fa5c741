"""Trials to listen to: the claimed speaker, the clip, the attack, and noise."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from advspeech import (
  input_pipeline,
  over_clips,
  parallel,
  sweep,
)
from advspeech.studies import listening
from advspeech.studies.verification import attacking, scoring, trials

ENROLLED, CLEAN, ATTACK, NOISE = 'enrolled', 'clean', 'attack', 'random_sign'


def rows_of(
  found: Sequence[trials.Trial], scores: np.ndarray, num: int
) -> np.ndarray:
  """Returns the impostors that an attack brings nearest, nearest first.

  Args:
    found: Trials.
    scores: [num_trials] under the attack.
    num: How many; fewer where there are not so many impostors.
  """
  nearest = listening.telling_rows(scores, len(scores))
  is_impostor = np.array([t.kind != trials.TARGET for t in found], bool)
  return nearest[is_impostor[nearest]][:num]


def examples(
  run: Any,
  source: Any,
  found: Sequence[trials.Trial],
  split: input_pipeline.Split,
  radii: np.ndarray,
  attacked: attacking.Found,
) -> Iterator[listening.Example]:
  """Yields an enrolled clip of whom impostors claim to be, and theirs.

  Under the last attack at the loudest epsilon; on one process alone.

  Args:
    run: An `experiment.Run`.
    source: The first embedder's `parts.Clean`.
    found: [num_trials] trials.
    split: Their clips.
    radii: [num_epsilons, num_trials].
    attacked: What the last attack does to them.
  """
  config, corpus, mesh = run.config, run.data.corpus, parallel.own_mesh()
  settings = config.verification
  loudest = int(np.argmax(radii.mean(-1)))
  variants = np.asarray(attacked.scores)[:, loudest, :, 0]
  scores = {
    CLEAN: source.test,
    ATTACK: variants[:, attacking.VARIANTS.index('int16')],
    NOISE: variants[:, attacking.VARIANTS.index(NOISE)],
  }
  what = {
    'attack': settings.attacks[-1],
    'epsilon': settings.epsilons[loudest],
    'threshold': source.attack_threshold,
  }
  rows = rows_of(found, scores[ATTACK], settings.num_examples)
  if not len(rows):
    return
  made = over_clips.map_clips(
    attacking.Perturbing(
      source.embedder,
      sweep.make_attack(config, settings.attacks[-1]),
      sweep.make_settings(config).bounds,
    ),
    input_pipeline.subset(split, rows),
    mesh,
    1,
    shared=parallel.bring(
      (source.embedder.variables, np.float32(source.attack_threshold)), mesh
    ),
    columns={
      'known': source.known[rows].astype(np.float32),
      'radii': radii[[loudest]][:, rows].T,
    },
    seed=config.seeds[0],
    name='sounds',
  )
  noise = 1 + sweep.CONTROLS.index(NOISE)
  for row, (perturbed,) in zip(rows, made, strict=True):
    trial = found[row]
    claim = f'{corpus.ids[trial.row]} as {trial.enrolment.speaker}'
    enrolled = scoring.split_of(
      corpus, np.array(trial.enrolment.enrolled[:1]), [claim], np.zeros(1)
    )
    yield listening.Example(
      claim, listening.recorded(enrolled, 0), None, {**what, 'sent': ENROLLED}
    )
    clean = listening.recorded(split, row)
    recorded = slice(*split.spans[row])
    sounds = {
      CLEAN: clean,
      ATTACK: perturbed[0, recorded],
      NOISE: perturbed[noise, recorded],
    }
    for sent, sound in sounds.items():
      score = float(scores[sent][row])
      yield listening.Example(
        claim, sound, clean, {**what, 'sent': sent, 'score': score}
      )
