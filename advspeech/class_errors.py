"""Errors and answers by class.

A model that gives one answer to all clips errs as often as one that guesses:
only errors by class tell the two apart.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

# What `columns` makes.
COLUMNS = {
  'balanced_error': float,
  'errors_by_class': str,
  'answers_by_class': str,
}


def count(
  answers: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
  """Returns of the clips of each true class how many got each answer.

  Args:
    answers: [num_clips] classes that were answered.
    labels: [num_clips] classes that are true.
    num_classes: How many there are.

  Returns:
    [num_classes, num_classes], by the true class and the answer.
  """
  counts = np.zeros((num_classes, num_classes), np.int64)
  np.add.at(counts, (labels, answers), 1)
  return counts


def summary(counts: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
  """Returns whom a model errs on, and what it answers, by the names of classes.

  `balanced_error` is the mean of the classes' error rates; `errors_by_class`
  has, of each class with clips, the number judged wrong and of all of them;
  `answers_by_class`, of each class, how many clips it is the answer to.

  Args:
    counts: As `count` returns.
    classes: Their names.
  """
  num, right = counts.sum(1), np.diagonal(counts)
  errors = {
    name: [int(n - r), int(n)]
    for name, n, r in zip(classes, num, right, strict=True)
    if n
  }
  rates = [wrong / n for wrong, n in errors.values()]
  return {
    'balanced_error': float(np.mean(rates)) if rates else float('nan'),
    'errors_by_class': errors,
    'answers_by_class': dict(zip(classes, counts.sum(0).tolist(), strict=True)),
  }


def of_wrong(
  wrong: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
  """Returns columns of whom a model errs on, where its answers are not known.

  Those of `COLUMNS` that need none.

  Args:
    wrong: [num_clips] whether each clip is judged wrong.
    labels: [num_clips] as of `count`.
    classes: Their names.
  """
  # Whichever other class was answered, it is an error of the true one.
  answers = np.where(wrong, (labels + 1) % len(classes), labels)
  found = columns(answers, labels, classes)
  del found['answers_by_class']
  return found


def columns(
  answers: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
  """Returns `summary` as columns of a table: what is by class is JSON.

  Args:
    answers: [num_clips] as of `count`.
    labels: [num_clips] as of `count`.
    classes: Their names.
  """
  found = summary(count(answers, labels, len(classes)), classes)
  return {
    key: json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict)
    else value
    for key, value in found.items()
  }
