"""A trial, and what is done to it."""

import dataclasses
from typing import Any

from advspeech import errors, storage
from advspeech.recording import output as output_lib


@dataclasses.dataclass(frozen=True)
class Trial:
  """A recording that claims to be of an enrolled speaker, to be attacked.

  Attributes:
    audio: The recording.
    enrolled: Recordings of the speaker: the first is what the verifier judges
      by, the others are what the attack sees. With one alone it sees that.
    embedder: As `embedders.load` names it, None with `checkpoint_dir`.
    checkpoint_dir: Folder of a trained model, whose last layer's input is the
      embedding; None with `embedder`.
    attack_name: As a sweep names it: on the waveform of one clip.
    is_rejected: Whether a target is to be rejected; otherwise an impostor is to
      be accepted.
    threshold: Score from which on a trial is accepted; None for scores alone.
    channels: 'mean' of the recordings', or the number of one; None for what the
      model was trained on, and the mean for an embedder.
    seed: Of everything random.

  Raises:
    errors.InputError: If one is missing, or two exclude each other.
  """

  audio: str
  enrolled: tuple[str, ...]
  embedder: str | None = None
  checkpoint_dir: str | None = None
  attack_name: str = 'fgsm'
  is_rejected: bool = False
  threshold: float | None = None
  channels: str | None = None
  seed: int = 0

  def __post_init__(self):
    """Refuses what is no trial."""
    if not self.audio or not self.enrolled:
      raise errors.InputError(
        '--verify needs a recording to attack, --audio, and one or more of the '
        'speaker that it claims to be, --enrol; got '
        f'--audio={self.audio or ""} --enrol={",".join(self.enrolled)}'
      )
    if bool(self.embedder) == bool(self.checkpoint_dir):
      raise errors.InputError(
        '--verify needs one verifier, --embedder (resemblyzer, or your own as '
        'package.module:function) or --checkpoint (the folder of a trained '
        f'model), got {"both" if self.embedder else "neither"}'
      )
    if self.threshold is not None and not -1 <= self.threshold <= 1:
      raise errors.InputError(
        f'--threshold must be a cosine, from -1 to 1, got {self.threshold:g}'
      )

  @property
  def is_shared(self) -> bool:
    """Whether the attack sees the recording that it is judged by."""
    return len(self.enrolled) == 1

  @property
  def identity(self) -> dict[str, Any]:
    """What makes the trial another one, JSON-like; epsilons do not."""
    place = storage.canonical(self.checkpoint_dir or '')
    return {
      'recording': storage.canonical(self.audio),
      'enrolled': [storage.canonical(path) for path in self.enrolled],
      'embedder': self.embedder,
      'checkpoint': place if self.checkpoint_dir else None,
      'attack': self.attack_name,
      'is_rejected': self.is_rejected,
      'threshold': self.threshold,
      'channels': self.channels,
      'seed': self.seed,
    }

  @property
  def output_folder(self) -> str:
    """A folder that no other attack has, `attacked/<recording>-<hash>`."""
    return output_lib.folder_of(self.identity)
