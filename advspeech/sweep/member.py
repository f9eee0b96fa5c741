"""A classifier that takes part in a sweep."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from advspeech import attacks, checkpoint
from advspeech.sweep import victims


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
  """A classifier that takes part, as source, target or both.

  Attributes:
    name: Of its model, or what the user calls it.
    seed: Its training's.
    classifier: The trained model.
    labels: [num_clips] int32 classes in its own task; -1 where it has none,
      and only whether the model's answer changed can be judged.
    wanted: [num_clips] classes that targeted attacks on it ask for; None for
      the one after the label.
  """

  name: str
  seed: int
  classifier: checkpoint.Classifier
  labels: np.ndarray
  wanted: np.ndarray | None = None

  @classmethod
  def from_function(
    cls,
    name: str,
    logits_fn: victims.LogitsFn,
    classes: Sequence[str],
    labels: np.ndarray,
    *,
    seed: int = 0,
  ) -> 'Member':
    """Returns a victim that is no module, as source and target.

    Args:
      name: What the user calls it.
      logits_fn: Maps audio [batch, time] in [0, 1] to logits [batch, classes],
        clip by clip; JAX must be able to trace and to differentiate it.
      classes: Names of the logits.
      labels: [num_clips] int32 classes of the clips, -1 for none.
      seed: That random draws come from.
    """
    classifier = victims.classifier_of(name, logits_fn, classes, seed=seed)
    return cls(name, seed, classifier, np.asarray(labels, np.int32))

  @property
  def num_classes(self) -> int:
    """Returns the width of its logits."""
    return self.classifier.model.num_classes

  def goal(self, attack: attacks.Attack) -> np.ndarray:
    """Returns classes to leave, or to reach if targeted, [num_clips] int32."""
    if not attack.targeted:
      return self.labels
    if self.wanted is not None:
      return self.wanted
    return (self.labels + 1) % self.num_classes
