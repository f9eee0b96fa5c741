"""What may spoil an experiment on a corpus: silence, clipping, copies."""

import collections
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from advspeech import audio
from advspeech.corpora import records

# A stratified split gives validation none of a class with fewer.
_FEW_CLIPS = 11
# How many of what goes wrong in the same way are named.
NAMED = 5


class Clip(NamedTuple):
  """What is remembered of a clip once it is written."""

  id: str
  columns: dict[str, str]
  seconds: float
  digest: str
  is_silent: bool
  share_at_full_scale: float

  @classmethod
  def of(cls, utterance: records.Utterance) -> 'Clip':
    """Returns what to remember of an utterance."""
    return cls(
      utterance.id,
      {column: getattr(utterance, column) for column in records.COLUMNS},
      len(utterance.pcm) / audio.SAMPLE_RATE_HZ,
      hashlib.sha256(utterance.pcm).hexdigest(),
      audio.is_silent(utterance.pcm),
      audio.share_at_full_scale(utterance.pcm),
    )

  @property
  def is_clipped(self) -> bool:
    """Whether too many of its samples are what saturation leaves."""
    return not self.is_silent and self.share_at_full_scale >= audio.CLIPPED

  @property
  def speaker(self) -> str:
    """Who speaks."""
    return self.columns['speaker']


def warnings(clips: Iterable[Clip]) -> list[str]:
  """Returns what may spoil an experiment on these clips, by name."""
  same, labels = collections.defaultdict(list), collections.Counter()
  splits = collections.defaultdict(set)
  silent, clipped = [], []
  for clip in clips:
    same[clip.digest].append(clip)
    labels[clip.columns['label']] += 1
    splits[clip.speaker].add(clip.columns['split'])
    if clip.is_silent:
      silent.append(clip.id)
    if clip.is_clipped:
      clipped.append(f'{clip.id} ({clip.share_at_full_scale:.1%})')
  found = []
  if silent:
    found.append(
      f'silent from end to end: {_named(silent)}; leave them out, or their '
      'class is learnt from nothing'
    )
  if clipped:
    found.append(
      f'clipped, with that share of their samples at full scale: '
      f'{_named(clipped)}; leave them out, or scale float files into [-1, 1]'
    )
  found += _copies([group for group in same.values() if len(group) > 1])
  found += _first(
    [
      f'class {label} has only {number} clips; a stratified split needs '
      f'{_FEW_CLIPS} or more to have some of it everywhere'
      for label, number in sorted(labels.items())
      if label and number < _FEW_CLIPS
    ],
    'classes have too few clips',
  )
  return found + _first(
    [
      f'speaker {speaker} is in several splits, {", ".join(sorted(names))}'
      for speaker, names in sorted(splits.items())
      if speaker and len(names) > 1
    ],
    'speakers are in several splits',
  )


def _copies(groups):
  """Returns what to say of clips with the same samples, by group.

  A folder that repeats what lies beside it is reported once.
  """
  trees, others = collections.defaultdict(list), []
  for group in groups:
    first, second = sorted(group, key=lambda clip: (len(clip.id), clip.id))[:2]
    prefix = second.id.removesuffix(f'__{first.id}')
    if len(group) == 2 and prefix != second.id:
      trees[prefix].append((first, second))
    else:
      others.append(group)
  found = []
  for prefix, pairs in sorted(trees.items()):
    if len(pairs) == 1:
      others.append(pairs[0])
      continue
    own = {x.columns['label'] for _, x in pairs}
    own -= {x.columns['label'] for x, _ in pairs}
    first, second = (clip.id for clip in pairs[0])
    found.append(
      f'{len(pairs)} clips in {prefix.replace("__", "/")} are the same samples '
      f'as clips outside it, such as {second} and {first}; remove the copy, '
      + f'of which class {", ".join(sorted(own))} is made, ' * bool(own)
      + 'or a clip may be trained on and tested'
    )
  return found + _first(
    [
      f'{" and ".join(clip.id for clip in group)} are the same samples; remove '
      'all but one, or a clip may be trained on and tested'
      for group in others
    ],
    'groups of clips are the same samples',
  )


def _named(names):
  """Returns a list of names for a sentence, the first few of many."""
  rest = len(names) - NAMED
  return ', '.join(names[:NAMED]) + f' and {rest} others' * (rest > 0)


def _first(sentences, what):
  """Returns the first few of many sentences, and how many there are."""
  if len(sentences) <= NAMED:
    return sentences
  return [
    *sentences[:NAMED],
    f'{len(sentences)} {what}; the first are named above',
  ]
