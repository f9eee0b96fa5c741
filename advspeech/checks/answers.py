"""Answers that make an error rate mean something else than it says."""

from collections.abc import Sequence

import numpy as np

from advspeech import statistics
from advspeech.checks.finding import Finding

# Share of clips with the same answer from which the rate says nothing else.
ONE_ANSWER = 0.95


def most_given(
  answers: np.ndarray, classes: Sequence[str]
) -> tuple[str, float]:
  """Returns the answer that most clips get, and their share."""
  counts = np.bincount(answers, minlength=len(classes))
  most = int(np.argmax(counts))
  return classes[most], float(counts[most] / len(answers))


def one_answer(
  answers: np.ndarray,
  labels: np.ndarray,
  clean: np.ndarray,
  epsilons: Sequence[float | str],
  classes: Sequence[str],
) -> list[Finding]:
  """Finds epsilons at which (nearly) all clips get one and the same answer.

  The error is then what the other classes' clips are of all, as a blind guess's
  may be: only errors by class tell the two apart.

  Args:
    answers: [num_epsilons, num_clips] classes given to the same clips.
    labels: [num_clips] classes that are true.
    clean: [num_clips] classes given to them untouched.
    epsilons: [num_epsilons] for the sentence.
    classes: Names.
  """
  if most_given(clean, classes)[1] >= ONE_ANSWER:
    return []
  at = [
    (epsilon, *most_given(given, classes), float(np.mean(given != labels)))
    for epsilon, given in zip(epsilons, answers, strict=True)
  ]
  at = [point for point in at if point[2] >= ONE_ANSWER]
  if not at:
    return []
  points = '; '.join(
    f'at epsilon {epsilon} {share:.0%} are called {name} (error {error:.1%})'
    for epsilon, name, share, error in at
  )
  return [
    Finding(
      'one_answer',
      'warning',
      f'one answer is given to nearly all of {len(labels)} clips: {points}, '
      'which is every other class and no guess: tell errors by class, not the '
      'rate',
      {
        'epsilons': [epsilon for epsilon, *_ in at],
        'answers': [name for _, name, *_ in at],
        'shares': [share for *_, share, _ in at],
      },
    )
  ]


def beyond_chance(
  num_errors: int, class_counts: Sequence[int], confidence: float = 0.95
) -> list[Finding]:
  """Finds an error rate that no guess blind to the clip would reach.

  A guess that ignores the clip errs on 1 - 1/K of them if drawn evenly from K
  classes, and at most on all but the rarest class's. Wilson's lower bound above
  both means that answers still follow the label, turned against it.

  Args:
    num_errors: Clips judged wrong.
    class_counts: [num_classes] clips of each class.
    confidence: Of the interval.
  """
  num_clips, num_classes = int(sum(class_counts)), len(class_counts)
  chance = max(1 - 1 / num_classes, 1 - min(class_counts) / num_clips)
  low, _ = statistics.wilson_interval(num_errors, num_clips, confidence)
  if low <= chance:
    return []
  error_rate = num_errors / num_clips
  return [
    Finding(
      'beyond_chance',
      'warning',
      f'the error of {error_rate:.1%} of {num_clips} clips is above the '
      f'{chance:.1%} of a blind guess among {num_classes} classes: the answers '
      'still tell the label, turned against it, so do not read them as '
      'information destroyed, as by a privacy filter',
      {
        'error_rate': error_rate,
        'num_clips': num_clips,
        'num_classes': num_classes,
        'chance_error': chance,
        'ci_low': low,
      },
    )
  ]
