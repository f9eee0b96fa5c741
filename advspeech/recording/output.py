"""The folder of one attack on one recording: whose it is, and its files."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advspeech import audio, errors, registry, storage

# Which attack a folder is of, and its files in it.
FILE = 'attack.json'
TABLE, FIGURE, ORIGINAL = 'answers.csv', 'answers', 'original.wav'
# Bytes of a recording's name in that of a folder; file systems allow 255.
_LONGEST = 100


def output_folder(
  checkpoint_dir: str,
  path: str,
  *,
  attack_name: str = 'fgsm',
  target: str | None = None,
  label: str | None = None,
  mask: str = 'recorded',
  channels: str | None = None,
  seed: int = 0,
) -> str:
  """Returns a folder that no other attack has, `attacked/<recording>-<hash>`.

  The arguments are those of `attack`.
  """
  settings = identity(
    checkpoint_dir, path, attack_name, target, label, mask, channels, seed
  )
  return folder_of(settings)


def folder_of(settings: Mapping[str, Any]) -> str:
  """Returns the folder of an attack of such settings; see `identity`."""
  return os.path.join('attacked', _folder_name(settings))


def identity(
  checkpoint_dir: str,
  path: str,
  attack_name: str,
  target: str | None,
  label: str | None,
  mask: str,
  channels: str | None,
  seed: int,
) -> dict[str, Any]:
  """Returns what makes an attack another one; epsilons do not."""
  return {
    'recording': storage.canonical(path),
    'checkpoint': storage.canonical(checkpoint_dir),
    'attack': attack_name,
    'target': target,
    'label': label,
    'mask': mask,
    'channels': channels,
    'seed': seed,
  }


def _folder_name(settings):
  stem = os.path.splitext(os.path.basename(settings['recording']))[0]
  readable = os.fsencode(stem)[:_LONGEST].decode(errors='ignore')
  text = json.dumps(settings, sort_keys=True)
  return f'{readable}-{hashlib.sha256(text.encode()).hexdigest()[:10]}'


def sound(attack_name: str, epsilon: audio.Epsilon) -> str:
  """Returns what the sounds of an attack at an epsilon are named after."""
  return f'{registry.short_name(attack_name)}-{epsilon.text}'


def write_sounds(
  stem: str, perturbed: np.ndarray, clean: np.ndarray, part: slice
) -> dict[str, np.ndarray]:
  """Writes an attacked clip as WAV; returns it as heard from each file.

  Args:
    stem: Path of the files, but for what tells 16 bit from float and `.wav`.
    perturbed: [time] in model range.
    clean: [time] what is heard beside the part that was written.
    part: Samples to write.

  Returns:
    Clips, [time], by the format's name, 'int16' and 'float32'.
  """
  heard = {}
  for kind, suffix, subtype in (
    ('int16', '', 'PCM_16'),
    ('float32', '-float32', 'FLOAT'),
  ):
    path = f'{stem}{suffix}.wav'
    audio.save(path, perturbed[part], subtype)
    heard[kind] = clean.copy()
    heard[kind][part] = audio.read_as_heard(path)
  return heard


def names(attack_name: str, parsed: Sequence[audio.Epsilon]) -> list[str]:
  """Returns the names of every file that an attack writes."""
  sounds = [
    f'{sound(attack_name, epsilon)}{kind}.wav'
    for epsilon in parsed
    for kind in ('', '-float32')
  ]
  figure = [f'{FIGURE}.{suffix}' for suffix in ('png', 'svg')]
  return [FILE, ORIGINAL, *sounds, TABLE, *figure]


def check(
  output: str, settings: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
  """Refuses a folder with anything else in it; returns what is this attack's.

  Args:
    output: The folder.
    settings: Of the attack; see `identity`.
    names: Of the files that it writes.

  Raises:
    errors.InputError: If there is anything else.
  """
  other = os.path.join(output, _folder_name(settings))
  if storage.exists(output) and not storage.is_folder(output):
    raise errors.InputError(
      f'--output={output} is a file; name a folder, such as {output}-attacked'
    )
  there = [name for name in storage.names(output) if not name.startswith('.')]
  own = []
  path = os.path.join(output, FILE)
  # It may be somebody else's file of that name.
  record = {}
  if storage.exists(path):
    record = storage.read_json(path, kind=object)
  if isinstance(record, dict) and {'settings', 'files'} <= record.keys():
    made = record['settings']
    if made != settings:
      raise errors.InputError(
        f'{output} holds the attack {made["attack"]} on {made["recording"]}, '
        f'made with other settings ({FILE}); choose another folder, such as '
        f'--output={other}'
      )
    own = [os.path.basename(name) for name in record['files']]
    there = [name for name in there if name in names and name not in own]
  if there:
    raise errors.InputError(
      f'{output} holds {min(there)}, which is not of this attack; choose '
      f'another folder, such as --output={other}'
    )
  return own


def claim(
  output: str, settings: Mapping[str, Any], names: Sequence[str]
) -> None:
  """Makes a folder this attack's, without the files that it had there.

  Arguments as `check`'s.
  """
  for name in check(output, settings, names):
    storage.remove(os.path.join(output, name))
  storage.make_folder(output)
  storage.write_json(
    os.path.join(output, FILE), {'settings': settings, 'files': names}
  )
