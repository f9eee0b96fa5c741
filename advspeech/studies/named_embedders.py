"""The embedders that a study's config names: from outside, or trained here."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from advspeech import checkpoint, embedders, errors, registry


class Named(NamedTuple):
  """An embedder and where it comes from.

  Attributes:
    embedder: Itself.
    heard: Speakers that it was trained or chosen on, as far as is known.
    identity: What tells it from others, JSON-like.
  """

  embedder: embedders.Embedder
  heard: frozenset[str]
  identity: Any


def check(config: Any, study: str, key: str = 'embedders') -> None:
  """Raises errors.InputError at a name that cannot be an embedder's.

  Args:
    config: See configs/paper.py.
    study: Whose they are.
    key: Its list of them.
  """
  for name in config[study][key]:
    if name in config.models or name in embedders.NAMES or _is_folder(name):
      continue
    if not registry.is_own(name):
      raise errors.InputError(
        f'config.{study}.{key} must be among '
        f'{", ".join((*embedders.NAMES, *config.models))}, a folder of a '
        'trained model, or your own as package.module:function, got '
        f'{name!r}'
      )


def load(run: Any, names: Sequence[str]) -> list[Named]:
  """Returns embedders by name; models of the run are of its first seed.

  Args:
    run: An `experiment.Run`.
    names: Of the run's models, of `embedders.NAMES`, folders of trained models,
      or one's own.

  Raises:
    errors.InputError: If there is none of a name, or a model is not trained or
      was trained on clips of another shape.
  """
  return [_load(run, name) for name in names]


def heard(run: Any) -> frozenset[str]:
  """Returns the speakers that a run's models were trained or chosen on."""
  splits = run.data.splits
  names = {str(s) for x in ('train', 'validation') for s in splits[x].speakers}
  return frozenset(names - {''})


def _is_folder(name):
  return os.sep in name


def _load(run, name):
  config = run.config
  if name in config.models:
    classifier = run.classifier(name, config.seeds[0])
    return _of_classifier(name, classifier, heard(run))
  if _is_folder(name):
    classifier = checkpoint.load_classifier(
      name, precision=config.sweep.precision
    )
    checkpoint.check_clips(
      name, classifier.metadata, clip_s=config.clip_s, clip=config.clip
    )
    # Of other tasks it is not known who was trained on.
    is_known = classifier.metadata['task'] == 'speaker'
    known = frozenset(classifier.metadata['classes'] if is_known else ())
    return _of_classifier(name, classifier, known)
  num_samples = run.data.corpus.pcm.shape[1]
  return Named(embedders.load(name, num_samples), frozenset(), name)


def _of_classifier(name, classifier, known):
  return Named(
    embedders.of_classifier(name, classifier),
    known,
    [name, checkpoint.variables_sha256(classifier.variables)],
  )
