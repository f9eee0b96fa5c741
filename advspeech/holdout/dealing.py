"""Clips and groups dealt to splits in an order hashed from their names."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from advspeech import errors

SPLITS = ('train', 'validation', 'test')
FRACTIONS = (0.75, 0.05, 0.20)
# Orders in which speakers are dealt to splits before it is given up, and after
# how many of them validation and test get one speaker more of each stratum.
_DEALS, _DEALS_EACH = 150, 50


def whole_groups(
  labels: np.ndarray, speaker: np.ndarray, seed: int, what: str
) -> dict[str, np.ndarray]:
  """Returns indices of a hold-out to which whole groups are dealt."""
  classes = np.unique(labels)
  strata = _strata(labels, speaker)
  for deal in range(_DEALS):
    parts = _dealt(
      strata,
      speaker,
      f'{seed}.{deal}' if deal else seed,
      at_least=1 + deal // _DEALS_EACH,
    )
    if all(len(np.unique(labels[p])) == len(classes) for p in parts.values()):
      return parts
  raise errors.InputError(
    f'none of {_DEALS} ways to deal {len(np.unique(speaker))} {what} to the '
    'splits has every class in each; use another --config.split.kind'
  )


def _strata(labels, speaker):
  """Returns the speakers, three or more at a time, who have the same labels."""
  strata = {}
  for name in np.unique(speaker):
    key = tuple(np.unique(labels[speaker == name]).tolist())
    strata.setdefault(key, []).append(name)
  largest = max(strata, key=lambda key: len(strata[key]))
  merged = {}
  for key, names in strata.items():
    is_small = len(names) < len(SPLITS)
    merged.setdefault(largest if is_small else key, []).extend(names)
  return list(merged.values())


def _dealt(strata, speaker, seed, at_least):
  """Returns each split's clips, of speakers cut stratum by stratum."""
  parts = {name: [] for name in SPLITS}
  for names in map(np.array, strata):
    num_least = min(at_least, len(names) // len(SPLITS))
    dealt = cut(np.arange(len(names)), names, seed, num_least)
    for part, chosen in dealt.items():
      members = np.isin(speaker, names[chosen])
      parts[part].append(np.flatnonzero(members))
  return join(parts)


def cut(
  members: np.ndarray,
  names: np.ndarray,
  seed: int | str,
  at_least: int = 0,
  shares: Sequence[float] = FRACTIONS[1:],
) -> dict[str, np.ndarray]:
  """Returns `members` cut after an order hashed from their names.

  Args:
    members: [num] what is cut.
    names: [num] their names.
    seed: Hashed with each name.
    at_least: As many go to validation, and to test, at the least.
    shares: What share of them goes to validation and to test.
  """
  digest = [hash_of(seed, name) for name in names]
  order = sorted(range(len(names)), key=digest.__getitem__)
  num_validation, num_test = (
    max(at_least, round(len(names) * share)) for share in shares
  )
  shuffled = members[np.array(order, int)]
  return {
    'test': shuffled[:num_test],
    'validation': shuffled[num_test : num_test + num_validation],
    'train': shuffled[num_test + num_validation :],
  }


def hash_of(seed: int | str, name: str) -> bytes:
  """Returns what a name is ordered by."""
  return hashlib.sha256(f'{seed}:{name}'.encode()).digest()


def join(parts: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
  """Returns each split's indices, sorted.

  Raises:
    errors.InputError: If a split is empty.
  """
  joined = {
    name: np.sort(np.concatenate(parts[name])) if parts[name] else np.array([])
    for name in SPLITS
  }
  empty = [name for name, rows in joined.items() if not len(rows)]
  if empty:
    raise errors.InputError(
      f'too few clips for a 75/5/20 split: {", ".join(empty)} would be empty; '
      'a class needs at least 11 clips'
    )
  return joined
