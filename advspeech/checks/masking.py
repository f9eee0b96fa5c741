"""Whether gradients lead where the loss rises, or an attack without them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

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


def not_converged(
  wrong: npt.ArrayLike,
  doubled_wrong: npt.ArrayLike,
  attack: str,
  epsilon: float | str,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds an attack that breaks more with twice the steps and starts.

  What more of the same search finds shows that it had not ended: the error is
  too low, and a defence may live on the search's being hard alone (Carlini et
  al. 2019). By McNemar's exact test.

  Args:
    wrong: [num_clips] whether each clip is judged wrong under the attack.
    doubled_wrong: The same with twice of all that it counts.
    attack: Its name, for the sentence.
    epsilon: The point, for the sentence.
    confidence: One less the level of the test.
  """
  test = statistics.mcnemar(doubled_wrong, wrong)
  if test.p_value > 1 - confidence or test.only_a <= test.only_b:
    return []
  values = {
    'epsilon': epsilon,
    'error': float(np.mean(np.asarray(wrong, bool))),
    'doubled_error': float(np.mean(np.asarray(doubled_wrong, bool))),
    'p_value': test.p_value,
  }
  return [
    Finding(
      'not_converged',
      'warning',
      f'at epsilon {epsilon} {attack} errs on {values["error"]:.1%} and on '
      f'{values["doubled_error"]:.1%} with twice the steps and starts (McNemar '
      f'p = {test.p_value:.2g}): it had not ended, so give it more steps '
      'before calling the model robust',
      values,
    )
  ]


def unbroken_clips(
  broken: npt.ArrayLike, held: npt.ArrayLike, snr_db: float, norm: str
) -> list[Finding]:
  """Finds clips that withstand what could make any other clip of them.

  In so large a ball there are clips of every class: an attack that does not
  find them is too weak, or led astray by masked gradients (Carlini et al.
  2019).

  Args:
    broken: [num_clips] whether any attack by the model's own gradient broke
      each clip, at any epsilon.
    held: [num_clips] whether the largest ball tried holds other clips.
    snr_db: From which on a ball counts as that large, for the sentence.
    norm: Of the balls, for the sentence.
  """
  held = np.asarray(held, bool)
  num_left = int(np.sum(held & ~np.asarray(broken, bool)))
  if not num_left:
    return []
  return [
    Finding(
      'unbroken_clips',
      'warning',
      f'{num_left} of {held.sum()} clips withstand every attack of many steps '
      f'in {norm} by the gradient of this model, up to perturbations that '
      f'could make any other clip of them ({snr_db:g} dB SNR): the search is '
      'too weak or gradients are masked, so do not call it robust by these',
      {'num_unbroken': num_left, 'num_clips': int(held.sum())},
    )
  ]
