"""Named arrays as compressed .npz."""

import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from advspeech import errors
from advspeech.storage import files
from advspeech.storage.files import PUT_BACK


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
    with (
      files.opened(path, 'rb') as file,
      np.load(file, allow_pickle=False) as arrays,
    ):
      return dict(arrays)
  except errors.BucketError:
    raise
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
    if isinstance(e, OSError) and not errors.is_of_file(e):
      raise
    raise errors.InputError(f'{path} cannot be read ({e}); {PUT_BACK}') from e
