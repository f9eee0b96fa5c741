"""The study of privacy on disk: what is heard of protected clips."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  embedders,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  sweep,
  transforms,
)
from advspeech.studies import folder as folder_lib
from advspeech.studies import listening, named_embedders
from advspeech.studies.privacy import design as design_lib
from advspeech.studies.privacy import examples as examples_lib
from advspeech.studies.privacy import (
  informed,
  protecting,
  retraining,
)
from advspeech.studies.verification import scoring

logger = logging.getLogger(__name__)

CLEAN = 'none'
# Clips of which some gradient must not be zero: a layer may be dead for one.
_CHECKED = 4


class Model(NamedTuple):
  """A model of the run, which says the emotion.

  Attributes:
    name: One of `config.models`.
    seed: One of `config.seeds`.
  """

  name: str
  seed: int


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    design: Who is enrolled, tested and fitted to.
    ids: [num_rows] of the corpus.
    named: Embedders; the first is attacked.
    embedded: What each says of clean clips.
    models: That say the emotion; the first is spared.
    clips: (what for, clip) of all that are protected, in their order.
    labels: [num_clips] emotions; read of those tested alone.
    signal_rms: [num_clips] levels.
    epsilons: Tried.
    weights: Of the weighted sum.
    heard: What is heard under each protection by name, trees of [num_clips,
      num_epsilons, num_weights, ...]; see `protecting`.
    largest: Number of the largest epsilon.
    informed: What attackers hear who answer protections there; see
      `informed.make`.
    filters: Transforms that one of them puts before an embedder.
  """

  design: design_lib.Design
  ids: np.ndarray
  named: Sequence[named_embedders.Named]
  embedded: Sequence[scoring.Embedded]
  models: Sequence[Model]
  clips: Sequence[tuple[str, design_lib.Clip]]
  labels: np.ndarray
  signal_rms: np.ndarray
  epsilons: Sequence[audio.Epsilon]
  weights: Sequence[float]
  heard: Mapping[str, Mapping[str, Any]]
  largest: int
  informed: informed.Heard
  filters: Sequence[str]

  def of(self, what: str) -> np.ndarray:
    """Returns the numbers of the clips that are for one thing."""
    return np.array([i for i, (x, _) in enumerate(self.clips) if x == what])


def make(run: Any, folder: str) -> Results:
  """Returns what was found; parts that are there are read.

  Args:
    run: An `experiment.Run`.
    folder: Of the study.

  Raises:
    errors.InputError: If speakers, embedders or the folder do not fit, or a
      model is not trained.
    preemption.Stopped: If a signal asked for it.
  """
  config, corpus = run.config, run.data.corpus
  settings, test = config.privacy, run.data.splits['test']
  named = named_embedders.load(run, settings.embedders)
  models = _models(config)
  design = design_lib.choose(corpus, test.ids, settings, config.split.seed)
  if design.short:
    logger.warning(
      'privacy: %d speakers have too few statements or clips and are left out '
      '(%s)',
      len(design.short),
      ', '.join(design.short[:5]),
    )
  classifiers = [run.classifier(*model) for model in models]
  clips = [
    *((design_lib.TESTED, c) for c in design.tested),
    *((design_lib.ENROLLED, c) for c in design.enrolled()),
    *((design_lib.FITTED, c) for c in design.fitted),
  ]
  split = _split(corpus, test, clips)
  epsilons = sweep.parse_epsilons(settings.epsilons)
  rms = sweep.signal_rms(split.pcm, split.spans)
  _claim(folder, run, named, classifiers, split)
  mesh = parallel.make_mesh()
  embedded = _embed(folder, corpus, design, named, mesh)
  embedders.check_gradients(
    named[0].embedder,
    *input_pipeline.decode(split.pcm[:_CHECKED], split.spans[:_CHECKED]),
  )
  judges = protecting.Judges(
    tuple(each.embedder for each in named), tuple(c.model for c in classifiers)
  )
  shared = (
    tuple(each.embedder.variables for each in named),
    tuple(c.variables for c in classifiers),
  )
  columns = {
    'known': np.stack(
      [
        embedded[0].mean_of(design.sides[c.speaker, c.against].known)
        for _, c in clips
      ]
    ).astype(np.float32),
    'radii': np.array([e.radii(rms) for e in epsilons], np.float32).T,
  }
  protections = list(_protections(config, judges))
  heard = {
    name: folder_lib.cached(
      os.path.join(folder, f'heard-{registry.short_name(name)}.npz'),
      lambda fn=fn, weights=weights, name=name: over_clips.map_clips(
        fn,
        split,
        mesh,
        over_clips.chunk_size(mesh, **scoring.CHUNK),
        shared=(*shared, np.array(weights, np.float32)),
        columns=columns,
        seed=config.seeds[0],
        name=f'clips under {name}',
      ),
    )
    for name, fn, weights in protections
  }
  of_tested = [what == design_lib.TESTED for what, _ in clips]
  largest = int(np.argmax(columns['radii'][of_tested].mean(0)))
  again = informed.Protected(
    split,
    np.flatnonzero([what == design_lib.FITTED for what, _ in clips]),
    shared,
    {**columns, 'radii': columns['radii'][:, [largest]]},
    config.seeds[0],
    mesh,
  )
  rows = input_pipeline.spread_rows(len(design.tested), settings.num_examples)
  loudest = np.argmax(columns['radii'].mean(0))
  listening.write_once(
    folder,
    settings.num_examples,
    lambda: examples_lib.examples(
      input_pipeline.subset(split, rows),
      protections,
      shared,
      {
        'known': columns['known'][rows],
        'radii': columns['radii'][rows][:, [loudest]],
      },
      config.seeds[0],
    ),
  )
  return Results(
    design,
    corpus.ids,
    named,
    embedded,
    models,
    clips,
    split.labels,
    rms,
    epsilons,
    settings.weights,
    heard,
    largest,
    informed.make(
      folder,
      protections,
      again,
      named,
      retraining.Settings(**settings.retraining, seed=config.seeds[0]),
      settings.filters,
    ),
    settings.filters,
  )


def _models(config):
  """Returns the run's models, that which is spared first."""
  names = [config.source, *(m for m in config.models if m != config.source)]
  return [Model(name, seed) for name in names for seed in config.seeds]


def _protections(config, judges):
  """Yields names of protections, what is compiled, and weights."""
  settings = config.privacy
  bounds = (0.0, 1.0) if config.sweep.clip_to_range else (-np.inf, np.inf)
  yield CLEAN, protecting.Transforming(None, judges), (1.0,)
  for name in settings.transforms:
    transform = transforms.make(name)
    yield name, protecting.Transforming(transform, judges), (1.0,)
  for name in (protecting.NOISE, *settings.solvers):
    weights = settings.weights if name == attacks.SOLVERS[0] else (1.0,)
    yield (
      name,
      protecting.Protecting(name, judges, settings.num_steps, bounds),
      tuple(weights),
    )


def _split(corpus, test, clips):
  """Returns clips as a split; one enrolled draws otherwise than one tested."""
  emotion_of = dict(zip(map(str, test.ids), test.labels, strict=True))
  rows = np.array([c.row for _, c in clips])
  ids = [f'{corpus.ids[c.row]}/{what}' for what, c in clips]
  labels = [emotion_of.get(str(corpus.ids[row]), -1) for row in rows]
  return scoring.split_of(corpus, rows, ids, labels)


def _embed(folder, corpus, design, named, mesh):
  """Returns what each embedder says of the clean clips."""
  rows = design.rows()
  return [
    scoring.Embedded(
      rows,
      folder_lib.cached(
        os.path.join(folder, f'embeddings-{number}.npz'),
        lambda each=each: {
          'vectors': scoring.embed(each.embedder, corpus, rows, mesh)
        },
      )['vectors'],
    )
    for number, each in enumerate(named)
  ]


def _claim(folder, run, named, classifiers, split):
  """Writes whose the folder is, or checks that it is of this study."""
  settings = run.config.privacy
  digest = hashlib.sha256('\n'.join(map(str, split.ids)).encode())
  what = {
    'embedders': [each.identity for each in named],
    'emotion': [checkpoint.variables_sha256(c.variables) for c in classifiers],
    'clips': digest.hexdigest(),
    **{
      key: list(settings[key]) for key in ('solvers', 'weights', 'transforms')
    },
    'epsilons': [e.text for e in sweep.parse_epsilons(settings.epsilons)],
    'num_steps': settings.num_steps,
    'num_enrolled': settings.num_enrolled,
    'clip_to_range': run.config.sweep.clip_to_range,
  }
  if settings.retraining.num_steps:
    what['retraining'] = settings.retraining.to_dict()
  if settings.filters:
    what['filters'] = list(settings.filters)
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} belongs to this study'
  )
