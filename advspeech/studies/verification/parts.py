"""The study of verification on disk: embeddings and attacks, part by part."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import (
  audio,
  embedders,
  errors,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  sweep,
)
from advspeech.statistics import verification
from advspeech.studies import folder as folder_lib
from advspeech.studies import listening, named_embedders
from advspeech.studies.verification import attacking, examples, scoring
from advspeech.studies.verification import trials as trials_lib

logger = logging.getLogger(__name__)

EQUAL, FAR = 'eer', 'far'
OPERATING = (EQUAL, FAR)
# Who may take a side: everybody, or those whom no model of the run has heard.
ALL, UNHEARD = 'all', 'unheard'
# Clips of which some gradient must not be zero: a layer may be dead for one.
_CHECKED = 4


@dataclasses.dataclass(frozen=True)
class Clean:
  """What an embedder says of clean trials.

  Attributes:
    embedder: Which one.
    validation: [num_validation] scores of the trials that set thresholds.
    test: [num_trials] of those that are judged.
    thresholds: By `OPERATING`.
    known: [num_trials, dimension] embeddings of what attacks see.
    enrolled: [num_trials, dimension] of what they are judged by.
    num_heard: Speakers judged that it was trained on, as far as is known.
  """

  embedder: embedders.Embedder
  validation: np.ndarray
  test: np.ndarray
  thresholds: Mapping[str, float]
  known: np.ndarray
  enrolled: np.ndarray
  num_heard: int

  @property
  def attack_threshold(self) -> float:
    """Returns the threshold that attacks go by, that at a small FAR.

    Infinite where many impostors score alike: 1, which next to nothing reaches.
    """
    threshold = self.thresholds[FAR]
    return float(threshold) if np.isfinite(threshold) else 1.0


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    validation: Trials that set thresholds.
    test: Trials that are judged.
    corpus: That their rows are of.
    clean: What each embedder says of them, as they are.
    epsilons: Tried.
    signal_rms: [num_trials] levels of the clips tested.
    norms: In which each attack is bounded, by its name.
    attacked: By (number of the source, attack), an `attacking.Found`.
  """

  validation: Sequence[trials_lib.Trial]
  test: Sequence[trials_lib.Trial]
  corpus: Any
  clean: Sequence[Clean]
  epsilons: Sequence[audio.Epsilon]
  signal_rms: np.ndarray
  norms: Mapping[str, str]
  attacked: Mapping[tuple[int, str], attacking.Found]


def make(run: Any, folder: str) -> Results:
  """Returns what was found; parts that are there are read.

  Args:
    run: An `experiment.Run`.
    folder: Of the study.

  Raises:
    errors.InputError: If trials, embedders or the folder do not fit.
    preemption.Stopped: If a signal asked for it.
  """
  settings, corpus = run.config.verification, run.data.corpus
  named = named_embedders.load(run, settings.embedders)
  used = [each.embedder for each in named]
  validation, test = choose_trials(
    settings,
    corpus,
    run.config.split.seed,
    named_embedders.heard(run).union(*(each.heard for each in named)),
  )
  _claim(run, folder, named, validation, test)
  mesh = parallel.make_mesh()
  clean = [
    _clean(run, folder, number, each, validation, test, mesh)
    for number, each in enumerate(named)
  ]
  split = scoring.split_of(
    corpus,
    np.array([t.row for t in test]),
    [trials_lib.trial_id(t, corpus) for t in test],
    [t.kind == trials_lib.TARGET for t in test],
  )
  for embedder in used:
    embedders.check_gradients(
      embedder,
      *input_pipeline.decode(split.pcm[:_CHECKED], split.spans[:_CHECKED]),
    )
  epsilons = sweep.parse_epsilons(settings.epsilons)
  rms = sweep.signal_rms(split.pcm, split.spans)
  radii = np.array([e.radii(rms) for e in epsilons], np.float32)
  attacked = {
    (number, name): attacking.Found(
      **folder_lib.cached(
        os.path.join(
          folder, f'attack-{number}-{registry.short_name(name)}.npz'
        ),
        lambda number=number, name=name: _attack(
          run, clean, number, name, split, radii, mesh
        )._asdict(),
      )
    )
    for number in range(len(used))
    for name in settings.attacks
  }
  norms = {
    name: sweep.make_attack(run.config, name).norm for name in settings.attacks
  }
  listening.write_once(
    folder,
    settings.num_examples,
    lambda: examples.examples(
      *(run, clean[0], test, split, radii),
      attacked[0, settings.attacks[-1]],
    ),
  )
  return Results(
    validation, test, corpus, clean, epsilons, rms, norms, attacked
  )


def choose_trials(
  settings: Any, corpus: Any, seed: int, known: Collection[str]
) -> tuple[list[trials_lib.Trial], list[trials_lib.Trial]]:
  """Returns trials that set thresholds, and those that are judged.

  Args:
    settings: `config.verification`.
    corpus: A `corpora.Corpus`.
    seed: Of who and what is drawn.
    known: Speakers whom the run's models or the embedders have heard; they take
      no side where only 'unheard' ones may.

  Raises:
    errors.InputError: If there are not enough speakers or clips, or the list
      does not fit the corpus or names speakers who may not take a side.
  """
  without = sorted(known) if settings.speakers == UNHEARD else []
  others, judged = trials_lib.halves(corpus, seed, without)
  if without and min(len(others), len(judged)) < 2:
    raise errors.InputError(
      "config.verification.speakers='unheard' needs four speakers or more of "
      'whom no clip is in training or validation, two on each side, got '
      f'{len(others) + len(judged)}; train on fewer speakers '
      '(--config.classes of the speaker task, --config.split.kind='
      "speaker_disjoint), or use 'all'"
    )
  many = {'num_enrolled': settings.num_enrolled, 'seed': seed}
  if settings.trials:
    test = trials_lib.read(
      settings.trials, corpus, num_known=settings.num_enrolled, seed=seed
    )
    listed = {x for t in test for x in (t.speaker, t.enrolment.speaker)}
    if listed & set(without):
      raise errors.InputError(
        f'{settings.trials} names {min(listed & set(without))}, of whom clips '
        'are in training or validation, and config.verification.speakers is '
        "'unheard'; leave those trials out, or use 'all'"
      )
    others = [s for s in (*others, *judged) if s not in listed]
    many['num_enrolled'] = 1  # as in the list
    short = []
  else:
    test, short = trials_lib.draw(
      corpus, judged, num_trials=settings.num_trials, **many
    )
  validation, also_short = trials_lib.draw(
    corpus, others, num_trials=settings.num_validation, **many
  )
  if short or also_short:
    logger.warning(
      'verification: %d speakers have too few clips and are left out (%s)',
      len(short) + len(also_short),
      ', '.join((*short, *also_short)[:5]),
    )
  _check_kinds(validation, settings.far)
  return validation, test


def _check_kinds(validation, far):
  """Raises errors.InputError where trials cannot show a FAR so small."""
  num = sum(t.kind != trials_lib.TARGET for t in validation)
  if num * far < 1:
    raise errors.InputError(
      f'config.verification.far={far:g} needs {round(1 / far)} impostor trials '
      f'that set the threshold, got {num}; raise '
      'config.verification.num_validation or far'
    )


def _claim(run, folder, named, validation, test):
  """Writes whose the folder is, or checks that it is of this study."""
  settings = run.config.verification
  digest = hashlib.sha256()
  for trial in (*validation, *test):
    rows = (*trial.enrolment.enrolled, *trial.enrolment.known, trial.row)
    digest.update(' '.join(str(run.data.corpus.ids[i]) for i in rows).encode())
  what = {
    'embedders': [each.identity for each in named],
    'trials': digest.hexdigest(),
    'attacks': list(settings.attacks),
    'iterative': run.config.sweep.iterative.to_dict(),
    'epsilons': [e.text for e in sweep.parse_epsilons(settings.epsilons)],
    'clip_to_range': run.config.sweep.clip_to_range,
    'far': settings.far,
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} belongs to this study'
  )


def _clean(run, folder, number, named, validation, test, mesh):
  """Returns a `Clean`."""
  embedder = named.embedder
  corpus = run.data.corpus
  rows = trials_lib.rows_used((*validation, *test))
  found = folder_lib.cached(
    os.path.join(folder, f'embeddings-{number}.npz'),
    lambda: {'vectors': scoring.embed(embedder, corpus, rows, mesh)},
  )
  embedded = scoring.Embedded(rows, found['vectors'])
  scores = embedded.scores(validation)
  is_target = [t.kind == trials_lib.TARGET for t in validation]
  points = verification.points(scores, is_target)
  _, at_equal = verification.equal_error_rate(points)
  return Clean(
    embedder,
    scores,
    embedded.scores(test),
    {
      EQUAL: at_equal,
      FAR: verification.threshold_at_far(points, run.config.verification.far),
    },
    trials_lib.columns(test, embedded.mean_of, 'known'),
    trials_lib.columns(test, embedded.mean_of, 'enrolled'),
    len(
      named.heard & {x for t in test for x in (t.speaker, t.enrolment.speaker)}
    ),
  )


def _attack(run, clean, number, name, split, radii, mesh):
  """Returns an `attacking.Found` of all trials, of NumPy arrays."""
  source = clean[number]
  judges = tuple(c.embedder for c in clean)
  return over_clips.map_clips(
    attacking.Attacking(
      source.embedder,
      judges,
      sweep.make_attack(run.config, name),
      sweep.make_settings(run.config).bounds,
    ),
    split,
    mesh,
    over_clips.chunk_size(mesh, **scoring.CHUNK),
    shared=(
      source.embedder.variables,
      tuple(j.variables for j in judges),
      np.float32(source.attack_threshold),
    ),
    columns={
      'known': source.known.astype(np.float32),
      'radii': radii.T,
      **{
        f'enrolled{j}': c.enrolled.astype(np.float32)
        for j, c in enumerate(clean)
      },
    },
    seed=run.config.seeds[0],
    name=f'{name} on {source.embedder.title}',
  )
