"""Whether a curve of errors is what it looks like: controls, and falls."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from advspeech import statistics
from advspeech.checks.answers import ONE_ANSWER, most_given
from advspeech.checks.finding import Finding


def control_as_strong(
  attack_wrong: Sequence[bool],
  control_wrong: Sequence[bool],
  clean_wrong: Sequence[bool],
  epsilon: float | str,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds an attack that harms the model, and no more than noise does.

  Silent where the attack does no significant harm: there is nothing to explain.
  Both comparisons are McNemar's exact test.

  Args:
    attack_wrong: [num_clips] whether each attacked clip is judged wrong.
    control_wrong: [num_clips] the same clips under the noise control.
    clean_wrong: [num_clips] the same clips untouched.
    epsilon: The point, for the sentence.
    confidence: One less the level of the tests.
  """
  against_clean = statistics.mcnemar(attack_wrong, clean_wrong)
  against_control = statistics.mcnemar(attack_wrong, control_wrong)
  if not _more_errors(against_clean, 1 - confidence) or _more_errors(
    against_control, 1 - confidence
  ):
    return []
  values = {
    'epsilon': epsilon,
    'clean_error': float(np.mean(clean_wrong)),
    'attack_error': float(np.mean(attack_wrong)),
    'control_error': float(np.mean(control_wrong)),
    'p_value': against_control.p_value,
  }
  return [
    Finding(
      'control_as_strong',
      'warning',
      f'at epsilon {epsilon} the attack errs on {values["attack_error"]:.1%} '
      f'and its noise control on {values["control_error"]:.1%} of '
      f'{len(attack_wrong)} clips (clean {values["clean_error"]:.1%}, McNemar '
      f'p = {against_control.p_value:.2g}): do not credit the direction of the '
      'gradient with what noise does too, or judge more clips',
      values,
    )
  ]


def non_monotone_curve(
  answers: np.ndarray,
  labels: np.ndarray,
  epsilons: npt.ArrayLike,
  classes: Sequence[str],
  *,
  own_gradient: bool = True,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds the clearest fall of a curve that ought to rise, and what it is.

  Only one larger than sampling explains counts: every epsilon is held against
  the smaller one with the most errors, by McNemar's exact test at a level
  shared among all pairs (Bonferroni). A larger ball holds the smaller, so a
  stronger search would not fall.

  Gradients are masked only where all classes recover. Where one does and
  another breaks, answers flip from one class to the other; and where one class
  had nearly all answers, it is no longer given to all.

  Args:
    answers: [num_epsilons, num_clips] classes given to the same clips.
    labels: [num_clips] classes that are true.
    epsilons: [num_epsilons] radii in any order, in one unit.
    classes: Names.
    own_gradient: Whether the attack was made on the model that is judged.
    confidence: One less the level of the test on the whole curve.

  Raises:
    ValueError: If there is not one row an epsilon.
  """
  answers, epsilons = np.asarray(answers), np.asarray(epsilons)
  if answers.ndim != 2 or epsilons.shape != answers.shape[:1]:
    raise ValueError(
      'answers must be [num_epsilons, num_clips], epsilons [num_epsilons], got '
      f'{answers.shape} and {epsilons.shape}'
    )
  labels = np.asarray(labels)
  order = np.argsort(epsilons, kind='stable')
  answers, epsilons = answers[order], epsilons[order]
  wrong = answers != labels
  num_errors = wrong.sum(1)
  num_pairs = len(epsilons) * (len(epsilons) - 1) / 2
  level = (1 - confidence) / max(num_pairs, 1)
  falls = []
  for i in range(1, len(epsilons)):
    top = int(np.argmax(num_errors[:i]))
    test = statistics.mcnemar(wrong[top], wrong[i])
    if _more_errors(test, level):
      falls.append((test.p_value, top, i))
  if not falls:
    return []
  p_value, top, i = min(falls)
  kind, reading = _reading_of_fall(
    answers[[top, *range(i, len(epsilons))]],
    labels,
    epsilons[i:],
    classes,
    level,
    own_gradient,
  )
  values = {
    'kind': kind,
    'epsilon_high': float(epsilons[top]),
    'epsilon_low': float(epsilons[i]),
    'error_high': float(wrong[top].mean()),
    'error_low': float(wrong[i].mean()),
    'num_falls': len(falls),
    'p_value': p_value,
  }
  return [
    Finding(
      'non_monotone_curve',
      'warning',
      f'the error falls from {values["error_high"]:.1%} at epsilon '
      f'{values["epsilon_high"]:g} to {values["error_low"]:.1%} at '
      f'{values["epsilon_low"]:g} (McNemar p = {p_value:.2g}): {reading}',
      values,
    )
  ]


def _reading_of_fall(answers, labels, epsilons, classes, level, own_gradient):
  """Returns what kind of fall it is, and what to make of it.

  Args:
    answers: [1 + num_later, num_clips] at the epsilon from which the curve
      falls, at that to which it does, and at all that are larger still.
    labels: [num_clips].
    epsilons: [num_later].
    classes: Names.
    level: Of the tests that a class breaks, and that one recovers.
    own_gradient: As in `non_monotone_curve`.
  """
  wrong = answers != labels
  there = np.unique(labels)

  def more(first, second):
    """Returns the classes that err more at the first of two epsilons."""
    return [
      int(c)
      for c in there
      if _more_errors(
        statistics.mcnemar(*wrong[[first, second]][:, labels == c]), level
      )
    ]

  for j, epsilon in enumerate(epsilons, 1):
    broken, recovered = more(j, 0), more(0, j)
    if not (broken and recovered):
      continue
    names = [classes[c] for c in (broken[0], recovered[0])]
    judged = [_then(classes[c], wrong[[0, j]][:, labels == c]) for c in there]
    given = [
      _then(classes[c], answers[[0, j]] == c) for c in (broken[0], recovered[0])
    ]
    return 'flip', (
      f'by epsilon {epsilon:g} one class recovers and another breaks (judged '
      f'wrong: {", ".join(judged)}), as answers flip from {" to ".join(names)} '
      f'(given to: {", ".join(given)} of clips), which is no sign of masked '
      'gradients: tell errors by class'
    )
  given, share = most_given(answers[0], classes)
  if share >= ONE_ANSWER:
    left = np.mean(answers[1] == classes.index(given))
    return 'one_answer', (
      f'{given} was the answer to {share:.0%} of clips and is to {left:.0%}, '
      'an answer to all that is given up and no sign of masked gradients: tell '
      'errors by class'
    )
  if not own_gradient:
    return 'transfer', (
      'the gradient is of another model, whose direction need not hurt this '
      'one the more the further it is followed: attack this model itself '
      'before calling it robust'
    )
  return 'masked', (
    'one step overshoots there or gradients are masked, so take smaller and '
    'more steps (PGD) before calling the model robust'
  )


def _then(name, pair):
  """Returns 'a 0%, then 20%', of two points' verdicts, [2, num_clips]."""
  return f'{name} {pair[0].mean():.0%}, then {pair[1].mean():.0%}'


def _more_errors(test, level):
  """Returns whether A errs significantly more often than B."""
  return test.p_value <= level and test.only_a > test.only_b
