"""The kinds of hold-out that a config names."""

from collections.abc import Sequence

import numpy as np

from advspeech import errors
from advspeech.holdout.dealing import (
  FRACTIONS,
  SPLITS,
  cut,
  hash_of,
  join,
  whole_groups,
)

KINDS = (
  'stratified',
  'speaker_disjoint',
  'leave_one_session_out',
  'manifest',
  'group',
)
# They keep the speakers of the test clips out of training.
DISJOINT_KINDS = ('speaker_disjoint', 'leave_one_session_out')


def stratified(
  ids: Sequence[str], labels: Sequence[int], seed: int
) -> dict[str, np.ndarray]:
  """Returns indices of a 75/5/20 hold-out, stratified by label.

  A pure function of the set of (id, label) and the seed: a clip's place does
  not depend on the order of the others or on the machine.

  Args:
    ids: [num_clips] unique utterance ids.
    labels: [num_clips] labels to stratify by.
    seed: Another seed gives another split.

  Returns:
    Ascending indices for each of `SPLITS`, disjoint, together everything.

  Raises:
    errors.InputError: If an id occurs twice or a split would stay empty.
  """
  ids, labels = np.asarray(ids), np.asarray(labels)
  if len(np.unique(ids)) != len(ids):
    raise errors.InputError(
      'utterance ids must be unique to be split; some occur twice'
    )
  parts = {name: [] for name in SPLITS}
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    for name, part in cut(members, ids[members], seed).items():
      parts[name].append(part)
  return join(parts)


def speaker_disjoint(
  ids: Sequence[str],
  labels: Sequence[int],
  speaker: Sequence[str],
  seed: int,
) -> dict[str, np.ndarray]:
  """Returns indices of a hold-out in which no speaker is in two splits.

  Whole speakers are dealt out, at least one for each split; speakers are
  stratified by the labels they have, so that both sexes are tested in gender.
  Those who share their labels with fewer than two others join the largest
  stratum, and all are dealt again until each label is in each split.

  Args:
    ids: [num_clips] unique utterance ids.
    labels: [num_clips] labels.
    speaker: [num_clips] speaker names.
    seed: Another seed gives another split.

  Raises:
    errors.InputError: If a clip has no speaker, or a label too few to be in
      every split, as in speaker recognition, which this split contradicts.
  """
  ids, labels, speaker = map(np.asarray, (ids, labels, speaker))
  _check_named(ids, speaker, 'speaker')
  for label, num_speakers in _num_groups(labels, speaker).items():
    if num_speakers < len(SPLITS):
      raise errors.InputError(
        'a speaker-disjoint split needs at least three speakers for every '
        f'class, class {label} has {num_speakers}; use '
        '--config.split.kind=stratified (speaker recognition always must)'
      )
  return whole_groups(labels, speaker, seed, 'speakers')


def by_group(
  ids: Sequence[str],
  labels: Sequence[int],
  group: Sequence[str],
  by: str,
  seed: int,
) -> dict[str, np.ndarray]:
  """Returns indices of a hold-out whose test clips share no group with others.

  Whole groups are dealt out, as speakers are by `speaker_disjoint`. Where
  a class has two of them, as there are two statements in RAVDESS, one is tested
  on, and validation is of the other.

  Args:
    ids: [num_clips] unique utterance ids.
    labels: [num_clips] labels.
    group: [num_clips] what clips of a group share.
    by: Which of `tasks.GROUPS` that is.
    seed: Another seed gives another split.

  Raises:
    errors.InputError: If a clip has no group, or a label too few to be trained
      on and tested.
  """
  ids, labels, group = map(np.asarray, (ids, labels, group))
  _check_named(ids, group, by)
  counts = _num_groups(labels, group)
  fewest = min(counts, key=counts.__getitem__)
  if counts[fewest] < 2:
    raise errors.InputError(
      f'a split by {by} needs at least two of them for every class, class '
      f'{fewest} has {counts[fewest]}; use another config.split.by'
    )
  if counts[fewest] >= len(SPLITS):
    return whole_groups(labels, group, seed, f'groups by {by}')
  names = np.unique(group)
  digests = [hash_of(seed, name) for name in names]
  for i in sorted(range(len(names)), key=digests.__getitem__):
    is_tested = group == names[i]
    if set(labels[is_tested]) == set(labels[~is_tested]) == set(labels):
      return leave_one_session_out(ids, labels, group, names[i], seed)
  raise errors.InputError(
    f'no {by} has clips of every class beside others that do; use another '
    'config.split.by'
  )


def _check_named(ids, group, what):
  nameless = ids[group == '']
  if len(nameless):
    raise errors.InputError(
      f'a {what}-disjoint split needs the {what} of every clip, '
      f'{nameless[0]} and {len(nameless) - 1} more have none; name them in the '
      'manifest or use --config.split.kind=stratified'
    )


def _num_groups(labels, group):
  """Returns how many groups each label has."""
  return {
    label: len(np.unique(group[labels == label])) for label in np.unique(labels)
  }


def leave_one_session_out(
  ids: Sequence[str],
  labels: Sequence[int],
  session: Sequence[str],
  held_out: str,
  seed: int,
) -> dict[str, np.ndarray]:
  """Returns indices of a hold-out that tests on one session, and on it alone.

  Of the other sessions as many clips are for validation as in a 75/5/20 split,
  stratified by label.

  Args:
    ids: [num_clips] unique utterance ids.
    labels: [num_clips] labels.
    session: [num_clips] sessions.
    held_out: The session of the test clips.
    seed: Another seed gives other clips for validation.

  Raises:
    errors.InputError: If there is no such session, or no other.
  """
  ids, labels, session = map(np.asarray, (ids, labels, session))
  there = sorted(set(session.tolist()) - {''})
  if held_out not in there or len(there) < 2:
    raise errors.InputError(
      'config.split.session must be one of at least two sessions of the '
      f'corpus, which has {", ".join(there) or "none"}, got {held_out!r}'
    )
  parts = {name: [] for name in SPLITS}
  parts['test'].append(np.flatnonzero(session == held_out))
  train, validation, _ = FRACTIONS
  shares = (validation / (train + validation), 0.0)
  for label in np.unique(labels):
    members = np.flatnonzero((labels == label) & (session != held_out))
    for name, part in cut(members, ids[members], seed, shares=shares).items():
      parts[name].append(part)
  joined = join(parts)
  _check_trained(labels, joined)
  return joined


def given(
  ids: Sequence[str], labels: Sequence[int], names: Sequence[str]
) -> dict[str, np.ndarray]:
  """Returns indices of the splits that a manifest names.

  Args:
    ids: [num_clips] unique utterance ids.
    labels: [num_clips] labels.
    names: [num_clips] one of `SPLITS` each.

  Raises:
    errors.InputError: If a clip has no split or one of another name, a split is
      empty, or a class has no clip to train on.
  """
  ids, labels, names = map(np.asarray, (ids, labels, names))
  other = np.flatnonzero(~np.isin(names, SPLITS))
  if len(other):
    raise errors.InputError(
      f'the split of every clip must be one of {", ".join(SPLITS)}, got '
      f'{str(names[other[0]])!r} for {ids[other[0]]} and {len(other) - 1} more'
      '; correct the manifest or use another --config.split.kind'
    )
  parts = {name: np.flatnonzero(names == name) for name in SPLITS}
  empty = [name for name, rows in parts.items() if not len(rows)]
  if empty:
    raise errors.InputError(
      f'the manifest gives no clip of this task to {", ".join(empty)}; every '
      'split needs some'
    )
  _check_trained(labels, parts)
  return parts


def _check_trained(labels, parts):
  untrained = np.setdiff1d(labels, labels[parts['train']])
  if len(untrained):
    raise errors.InputError(
      f'class {untrained[0]} and {len(untrained) - 1} more have no clip to '
      'train on in this split; use another --config.split.kind'
    )


def num_shared(
  columns: Sequence[Sequence[str]], tested: np.ndarray, trained: np.ndarray
) -> int | None:
  """Returns how many clips of one split have a like one in another.

  Args:
    columns: [num_columns][num_clips] all of what they must share, '' where a
      corpus does not say it.
    tested: Indices of clips.
    trained: Indices of those they are held against.

  Returns:
    The number; None if nothing is known of any of them.
  """
  keys = list(zip(*columns, strict=True))
  known = [keys[i] for i in tested if all(keys[i])]
  if not known:
    return None
  there = {keys[i] for i in trained}
  return sum(key in there for key in known)
