"""Named arrays as compressed .npz."""

import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from advspeech import errors
from advspeech.storage import files
from advspeech.storage.files import PUT_BACK

# What damaged ones make NumPy and zipfile raise.
_NOT_NPZ = (
  *(ValueError, zipfile.BadZipFile, zlib.error, struct.error),
  *(NotImplementedError, RuntimeError),  # other methods, passwords
)
# A file's header in a zip archive, and where the sizes of its name and of what
# else there is are.
_HEADER, _SIZES = 30, slice(26, 30)


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes named arrays as a compressed .npz."""
  with files.replacing(path, 'wb') as file:
    np.savez_compressed(file, **arrays)


def read_arrays(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz file.

  Raises:
    errors.InputError: If it cannot be read.
  """
  try:
    with files.opened(path, 'rb') as file:
      _check_nothing_lacks(file)
      with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
  except errors.BucketError:
    raise
  except (OSError, EOFError, *_NOT_NPZ) as e:
    if isinstance(e, OSError) and not errors.is_of_file(e):
      raise
    raise errors.InputError(f'{path} cannot be read ({e}); {PUT_BACK}') from e


def _check_nothing_lacks(file):
  """Raises zipfile.BadZipFile unless an archive's files fill it.

  Each has a check sum; that one is lost from their list does not.
  """
  with zipfile.ZipFile(file) as archive:
    at = 0
    for info in sorted(archive.infolist(), key=lambda x: x.header_offset):
      if info.header_offset != at:
        break
      file.seek(at)
      sizes = struct.unpack('<HH', file.read(_HEADER)[_SIZES])
      at += _HEADER + sum(sizes) + info.compress_size
    if at != archive.start_dir:
      raise zipfile.BadZipFile('an array is lost')
  file.seek(0)
