"""Labelled clips: those trained on, those tested, and where they lie."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import sharding

from advspeech import holdout, parallel, randomness, tasks

if TYPE_CHECKING:  # at run time it would bring TFDS
  from advspeech import corpora
  from advspeech.corpora import stored


@dataclasses.dataclass(frozen=True)
class Split:
  """Labelled clips.

  Attributes:
    ids: [num_clips] utterance ids.
    pcm: [num_clips, time] int16: an array in memory, one on all devices
      (`place`), or clips that are read from disk when they are needed.
    num_samples: [num_clips] recorded samples, at most `time`.
    labels: [num_clips] int32.
    starts: [num_clips] first recorded sample; all 0 if None.
    speakers: [num_clips] who speaks, '' where unknown; unknown if None.
  """

  ids: np.ndarray
  pcm: 'np.ndarray | jax.Array | stored.StoredClips'
  num_samples: np.ndarray
  labels: np.ndarray
  starts: np.ndarray | None = None
  speakers: np.ndarray | None = None

  def __post_init__(self):
    """Sets `starts` and `speakers` where they were not given."""
    if self.starts is None:
      object.__setattr__(self, 'starts', np.zeros(len(self.ids), np.int32))
    if self.speakers is None:
      object.__setattr__(self, 'speakers', np.full(len(self.ids), ''))

  def __len__(self) -> int:
    """Returns the number of clips."""
    return len(self.ids)

  @property
  def spans(self) -> np.ndarray:
    """[num_clips, 2] where recordings begin in their clips, and end."""
    return np.stack([self.starts, self.starts + self.num_samples], 1)

  @functools.cached_property
  def id_words(self) -> np.ndarray:
    """[num_clips, 2] uint32 of each id; see `randomness.id_words`."""
    return randomness.id_words(self.ids)

  def ids_sha256(self) -> str:
    """Returns the digest of the ids, in their order."""
    return hashlib.sha256('\n'.join(map(str, self.ids)).encode()).hexdigest()


def spread(split: Split, num: int) -> Split:
  """Returns `num` clips evenly spread over a split; all if -1 or too many.

  Neighbours by id are much alike: of one emotion in RAVDESS, of one dialogue in
  IEMOCAP.

  Args:
    split: The clips.
    num: How many are wanted.
  """
  if not 0 <= num < len(split):
    return split
  return subset(split, spread_rows(len(split), num))


def spread_rows(num_clips: int, num: int) -> np.ndarray:
  """Returns rows of `num` of so many clips, ascending; all if -1."""
  num = num_clips if num < 0 else min(num, num_clips)
  return np.linspace(0, num_clips - 1, num).round().astype(int)


def subset(split: Split, rows: np.ndarray) -> Split:
  """Returns some clips of a split."""
  return Split(
    split.ids[rows],
    split.pcm[rows],
    split.num_samples[rows],
    split.labels[rows],
    split.starts[rows],
    split.speakers[rows],
  )


def make_splits(
  corpus: 'corpora.Corpus',
  task: tasks.Task,
  kind: str,
  seed: int,
  session: str = '',
  by: str = 'speaker',
) -> dict[str, Split]:
  """Returns the task's training, validation and test clips, on disk.

  Args:
    corpus: The clips.
    task: Which of them, and their labels.
    kind: One of `holdout.KINDS`.
    seed: Of the split.
    session: Held out, where the kind is 'leave_one_session_out'.
    by: What no test clip shares with others, where the kind is 'group': one of
      `tasks.GROUPS`.
  """
  rows, labels = task.rows, task.labels
  ids = corpus.ids[rows]
  names = np.array(task.classes)[labels]  # errors name classes
  if kind == 'speaker_disjoint':
    parts = holdout.speaker_disjoint(ids, names, corpus.speaker[rows], seed)
  elif kind == 'leave_one_session_out':
    parts = holdout.leave_one_session_out(
      ids, names, corpus.session[rows], session, seed
    )
  elif kind == 'group':
    group = getattr(corpus, by)[rows]
    parts = holdout.by_group(ids, names, group, by, seed)
  elif kind == 'manifest':
    parts = holdout.given(ids, names, corpus.split[rows])
  else:
    parts = holdout.stratified(ids, names, seed)
  return {
    name: Split(
      ids=ids[part],
      pcm=corpus.pcm.subset(rows[part]),
      num_samples=corpus.num_samples[rows[part]],
      labels=labels[part],
      starts=corpus.starts[rows[part]],
      speakers=corpus.speaker[rows[part]],
    )
    for name, part in parts.items()
  }


def read(splits: Mapping[str, Split], budget_bytes: float) -> dict[str, Split]:
  """Returns the splits with their clips in memory, unless that is too much.

  Args:
    splits: Clips on disk.
    budget_bytes: What all of them together may take; if they need more all are
      left on disk, to be read when they are needed.
  """
  if sum(split.pcm.nbytes for split in splits.values()) > budget_bytes:
    return dict(splits)
  return {
    name: dataclasses.replace(split, pcm=split.pcm[:])
    for name, split in splits.items()
  }


def place(
  splits: Mapping[str, Split], mesh: sharding.Mesh, budget_bytes: float
) -> dict[str, Split]:
  """Returns the splits with their clips on every device, those that fit there.

  Batches are then gathered where they are needed; no clip crosses from the host
  again. Where the devices are the host's own processors nothing would be
  gained, and the splits come back as they are.

  Args:
    splits: The clips, those that are to be placed before others first.
    mesh: Devices that get a copy each.
    budget_bytes: What all clips together may take on one of them.
  """
  placed = dict(splits)
  if parallel.is_host(mesh):
    return placed
  for name, split in splits.items():
    if split.pcm.nbytes <= budget_bytes:
      budget_bytes -= split.pcm.nbytes
      placed[name] = put_on_devices(split, mesh)
  return placed


def put_on_devices(split: Split, mesh: sharding.Mesh) -> Split:
  """Returns the split with a copy of its clips on every device."""
  pcm = parallel.replicate(np.asarray(split.pcm[:]), mesh)
  return dataclasses.replace(split, pcm=pcm)
