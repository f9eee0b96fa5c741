"""The exceptions whose message is written for the user."""

from collections.abc import Callable, Iterable
from typing import Any


class InputError(ValueError):
  """Input that the user can correct: says what was expected, came, and to do.

  Launchers print it as one sentence; every other exception is a defect and
  keeps its traceback.
  """


class NonFiniteLossError(InputError):
  """The loss of a training became infinite or not a number."""


def check_distinct(
  key: str,
  values: Iterable[Any],
  meaning: Callable[[Any], Any] = lambda value: value,
) -> None:
  """Refuses a list that names something twice.

  Args:
    key: What the user calls the list.
    values: What it names.
    meaning: Maps a value to what is the same for all ways to write it.

  Raises:
    InputError: If two values mean the same.
  """
  seen = {}
  for value in values:
    same = meaning(value)
    if same in seen:
      raise InputError(
        f'{key} must name everything once, got {seen[same]!r} and {value!r}, '
        'which are the same; leave one of them out'
      )
    seen[same] = value
