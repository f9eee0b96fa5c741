"""The study on disk: each model asked by each attack, some clips a part."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from advspeech import (
  attacks,
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
from advspeech.studies.queries import asking, examples
from advspeech.sweep import masks
from advspeech.sweep import settings as settings_lib

# Clips of a part, about, and of the pool of clips to begin at.
_PART, _POOL = 16, 64


@dataclasses.dataclass(frozen=True)
class Results:
  """All that was found.

  Attributes:
    split: The clips.
    classes: Names.
    epsilon: Of attacks by scores.
    signal_rms: [num_clips] levels.
    counts: Numbers of queries.
    norm: That the attack by decisions keeps small.
    scores: By model and attack, the noise among them.
    distances: By model.
  """

  split: input_pipeline.Split
  classes: tuple[str, ...]
  epsilon: audio.Epsilon
  signal_rms: np.ndarray
  counts: tuple[int, ...]
  norm: str
  scores: Mapping[tuple[str, str], asking.Scores]
  distances: Mapping[str, asking.Distances]


def make(run: Any, folder: str) -> Results:
  """Returns what was found; parts that are there are read.

  Args:
    run: An `experiment.Run`.
    folder: Of the study.

  Raises:
    errors.InputError: If the folder does not fit, or a model is not trained.
    preemption.Stopped: If a signal asked for it.
  """
  config, settings = run.config, run.config.queries
  split = input_pipeline.spread(run.data.splits['test'], settings.num_clips)
  pool = input_pipeline.spread(run.data.splits['validation'], _POOL)
  seed = config.seeds[0]
  classifiers = {name: run.classifier(name, seed) for name in config.models}
  _claim(folder, config, (split, pool), classifiers)
  (epsilon,) = sweep.parse_epsilons([settings.epsilon])
  levels = sweep.signal_rms(split.pcm, split.spans)
  counts = attacks.milestones(settings.num_queries)
  scores, distances, ended = {}, {}, {}
  for number, (model, classifier) in enumerate(classifiers.items()):
    for name in names(settings.attacks):
      asked = _Asked(config, classifier, split, pool, counts, model)
      columns = {'radius': np.asarray(epsilon.radii(levels), np.float32)}
      parts = [
        folder_lib.cached(
          os.path.join(folder, f'{number}-{name}-{rows.start:06d}.npz'),
          lambda rows=rows, name=name, asked=asked, columns=columns: asked.some(
            name, columns, rows, seed
          ),
        )
        for rows in asked.parts()
      ]
      found = {
        key: np.concatenate([part['found'][key] for part in parts])
        for key in parts[0]['found']
      }
      ended[model, name] = np.concatenate([part['pcm'] for part in parts])
      if name == asking.NEAREST:
        distances[model] = asking.Distances(**found)
      else:
        scores[model, name] = asking.Scores(**found)
  results = Results(
    split,
    tuple(run.classes),
    epsilon,
    levels,
    counts,
    settings.norm,
    scores,
    distances,
  )
  listening.write_once(
    folder,
    settings.num_examples,
    lambda: examples.examples(results, ended, settings.num_examples),
  )
  return results


def names(chosen: tuple[str, ...]) -> tuple[str, ...]:
  """Returns what is asked, the control of attacks by scores among it."""
  has_scores = any(name in asking.SCORED for name in chosen)
  return (*chosen, *([asking.NOISE] if has_scores else []))


def _claim(folder, config, splits, classifiers):
  """Writes whose the folder is, or checks that it is of this study."""
  digest = hashlib.sha256()
  for split in splits:
    digest.update(' '.join(map(str, split.ids)).encode())
    digest.update(np.asarray(split.pcm).tobytes())
  settings = config.queries.to_dict()
  del settings['num_examples']
  what = {
    'models': {
      name: checkpoint.variables_sha256(classifier.variables)
      for name, classifier in classifiers.items()
    },
    'clips': digest.hexdigest(),
    'mask': config.sweep.masks[0],
    'clip_to_range': config.sweep.clip_to_range,
    **settings,
  }
  parallel.on_lead(
    lambda: folder_lib.claim(folder, what), f'{folder} belongs to this study'
  )


@dataclasses.dataclass(frozen=True)
class _Asked:
  """A model, and the clips that it is asked about."""

  config: Any
  classifier: checkpoint.Classifier
  split: input_pipeline.Split
  pool: input_pipeline.Split
  counts: tuple[int, ...]
  model_name: str

  @property
  def chunk(self) -> int:
    """Returns the clips that a device takes together."""
    settings = sweep.make_settings(self.config)
    model, num_samples = self.classifier.model, self.split.pcm.shape[1]
    return settings_lib.chunks((model,), num_samples, 1, 1, settings).clips

  def parts(self) -> Iterator[slice]:
    """Yields the clips of each part: whole chunks, whatever the devices."""
    size = -(-_PART // self.chunk) * self.chunk
    for start in range(0, len(self.split), size):
      yield slice(start, min(start + size, len(self.split)))

  def some(
    self, name: str, columns: dict[str, np.ndarray], rows: slice, seed: int
  ) -> dict[str, Any]:
    """Returns an `asking.Asked` of some clips, as dicts.

    Args:
      name: Of the attack, or the noise.
      columns: With `radius`.
      rows: Which clips.
      seed: Of everything random.
    """
    settings, mesh = self.config.queries, parallel.make_mesh()
    bounds = sweep.make_settings(self.config).bounds
    mask = masks.parse(self.config.sweep.masks[0])
    model = self.classifier.model
    shared = parallel.bring(self.classifier.variables, mesh)
    if name == asking.NEAREST:
      fn = asking.ByDecisions(
        model, settings.norm, settings.num_starts, self.counts, mask, bounds
      )
      clips, _ = input_pipeline.decode(self.pool.pcm[:], self.pool.spans)
      shared, columns = (shared, clips, self.pool.labels), None
    else:
      fn = asking.ByScores(model, name, self.counts, mask, bounds)
    asked = over_clips.map_clips(
      fn,
      self.split,
      mesh,
      self.chunk,
      shared=shared,
      columns=columns,
      seed=seed,
      rows=rows,
      name=f'{name} asks {registry.short_name(self.model_name)}, clip '
      f'{rows.start} on',
    )
    return {'found': asked.found._asdict(), 'pcm': asked.pcm}
