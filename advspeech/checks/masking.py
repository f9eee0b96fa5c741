"""Whether gradients lead where the loss rises, or an attack without them."""

from collections.abc import Mapping, Sequence

import numpy as np

from advspeech import statistics
from advspeech.checks.finding import Finding


def masked_gradients(
  by_gradient: Mapping[str, Sequence[bool]],
  without: Mapping[str, Sequence[bool]],
  epsilon: float | str,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds an attack that needs no gradient of a model and breaks more of it.

  Queries alone, or the gradient of another model, can do no more than the
  model's own gradient if that leads where the loss rises: where they do, it is
  masked, or a single step along it goes too far (Athalye et al. 2018; Carlini
  et al. 2019). The strongest of both kinds are compared by McNemar's exact
  test, at a level shared among all of the second kind (Bonferroni), from which
  it was chosen.

  Args:
    by_gradient: What attacks by the model's own gradient broke, [num_clips] a
      name: whether each clip is judged wrong.
    without: The same of attacks that ask for none, on the same clips at the
      same epsilon.
    epsilon: The point, for the sentence.
    confidence: One less the level of the test.
  """
  if not (by_gradient and without):
    return []
  own, other = (
    max(found, key=lambda name: np.sum(found[name]))
    for found in (by_gradient, without)
  )
  test = statistics.mcnemar(without[other], by_gradient[own])
  level = (1 - confidence) / len(without)
  if test.p_value > level or test.only_a <= test.only_b:
    return []
  values = {
    'epsilon': epsilon,
    'own': own,
    'other': other,
    'own_error': float(np.mean(by_gradient[own])),
    'other_error': float(np.mean(without[other])),
    'p_value': test.p_value,
  }
  return [
    Finding(
      'masked_gradients',
      'warning',
      f'at epsilon {epsilon} {other}, which does not ask for the gradient of '
      f'this model, errs on {values["other_error"]:.1%} and {own}, which goes '
      f'by it, on {values["own_error"]:.1%} (McNemar p = {test.p_value:.2g}): '
      'its gradients do not lead where its loss rises, or one step goes too '
      'far, so do not call it robust by that; count the strongest of all '
      'attacks',
      values,
    )
  ]
