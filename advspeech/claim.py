"""A claim of the paper and what a run says of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

CONFIRMED, REFUTED, IN_PART = 'confirmed', 'refuted', 'in part'
NOT_SHOWN, NOT_TESTED = 'not shown', 'not tested'


class Claim(NamedTuple):
  """A claim and what was found.

  Attributes:
    text: What the paper says, and where.
    verdict: 'confirmed', 'refuted', 'in part', 'not shown' (these clips cannot
      tell it from chance) or 'not tested'.
    found: The numbers, a sentence each; or how it can be tested.
    rule: When it counts as confirmed.
  """

  text: str
  verdict: str
  found: Sequence[str]
  rule: str


def how_to_test(study: str) -> list[str]:
  """Returns, in place of what was found, how a study is run."""
  return [
    f'Run python -m launch.study {study} with the same --config and --workdir.'
  ]


# Of a statistic that no clip has, such as where a gradient of zeros lies.
_UNDEFINED = 'not defined for any clip'


def verdict(answers: Iterable[bool | None]) -> str:
  """Returns what answers, one a seed and model, come to together.

  Args:
    answers: True where the claim holds, False where its opposite was shown,
      None where these clips show neither.
  """
  answers = [None if a is None else bool(a) for a in answers]
  if not answers:
    return NOT_TESTED
  if all(answers):
    return CONFIRMED
  if any(answers):
    return IN_PART
  return REFUTED if False in answers else NOT_SHOWN


def within(row: Mapping[str, Any], low: float, high: float) -> bool | None:
  """Returns whether an estimate lies in a range; None if its interval is both.

  By speaker, where it has such an interval.

  Args:
    row: With `ci_low` and `ci_high`, perhaps not numbers, and `ci_speaker_...`.
    low: The range's lower end.
    high: Its upper end.
  """
  least, most = widest(row, 'ci')
  if low <= least and most <= high:
    return True
  return False if least > high or most < low else None


def percent(rate: float) -> str:
  """Returns a rate in %."""
  return f'{100 * rate:.1f} %'


def points(row: Mapping[str, Any], key: str) -> str:
  """Returns a difference of rates with its intervals, in points."""
  inner = f'{row[f"{key}_low"] * 100:.1f}, {row[f"{key}_high"] * 100:.1f}'
  return f'{100 * row[key]:+.1f} points [{inner}]' + by_speaker(row, key)


def by_speaker(row: Mapping[str, Any], key: str) -> str:
  """Returns ', by speaker [low, high]' in %, '' where that is not known."""
  low, high = (row[f'{key}_speaker_{end}'] for end in ('low', 'high'))
  if low == '':
    return ''
  return f', by speaker [{100 * low:.1f}, {100 * high:.1f}]'


def widest(row: Mapping[str, Any], key: str) -> tuple[float, float]:
  """Returns the interval of a difference by speaker, by clip if that is all."""
  low, high = (row[f'{key}_speaker_{end}'] for end in ('low', 'high'))
  return (row[f'{key}_low'], row[f'{key}_high']) if low == '' else (low, high)


def estimate(row: Mapping[str, Any]) -> str:
  """Returns an estimate with its intervals."""
  if math.isnan(row['estimate']):
    return _UNDEFINED
  if math.isnan(row['ci_low']):
    return f'{row["estimate"]:.2f} [of too few clips for an interval]'
  return f'{row["estimate"]:.2f} ' + _ends(row, 1, 2)


def share(row: Mapping[str, Any]) -> str:
  """Returns an estimated share with its intervals, in %."""
  if math.isnan(row['estimate']):
    return _UNDEFINED
  return f'{100 * row["estimate"]:.1f} % ' + _ends(row, 100, 1)


def _ends(row, scale, digits):
  """Returns '[low, high]', and by speaker behind it, if that is known."""

  def ends(key):
    low, high = (scale * row[f'{key}_{end}'] for end in ('low', 'high'))
    return f'[{low:.{digits}f}, {high:.{digits}f}]'

  if row['ci_speaker_low'] == '':
    return ends('ci')
  return f'{ends("ci")}, by speaker {ends("ci_speaker")}'
