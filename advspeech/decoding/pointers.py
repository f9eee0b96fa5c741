"""Files that stand for one that was not fetched."""

import os

from advspeech import errors

# How files begin that stand for one that was not fetched, and what fetches it.
_POINTERS = {
  b'version https://git-lfs.github.com/spec/': 'git lfs pull',
  b'/annex/objects/': 'git annex get',
}


def refuse_pointer(path: str | os.PathLike, data: bytes) -> None:
  """Refuses what Git leaves where large files were not fetched.

  Args:
    path: Of the file.
    data: Its first bytes, or all.

  Raises:
    errors.InputError: If they are a pointer to the file.
  """
  for beginning, command in _POINTERS.items():
    if data.startswith(beginning):
      raise errors.InputError(
        f'{path} is a pointer to a file that was not fetched; run {command} in '
        'the clone that it is in'
      )
