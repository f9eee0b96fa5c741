"""Sound files, decoded block by block to their real end."""

import contextlib
import io
import os
import re
from collections.abc import Iterator

import numpy as np

from advspeech import errors
from advspeech.decoding import headers
from advspeech.decoding.pointers import refuse_pointer

# Frames that are decoded at a time.
_BLOCK = 65_536
# Rates beyond these are those of a damaged header.
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000
# 20 dB above full scale: the hottest recordings in float stay below it, and
# samples in another unit (an int16's) lie far above.
_LOUDEST = 10.0
# What libsndfile notes of files with less than they promise: WAV, AU and SVX
# of their sound, AIFF of its chunk, W64 of the whole file.
_CUT_SHORT = re.compile(
  r'(?:data|SSND|BODY|Data Size|riff)\s+: (\d+) \(should be (\d+)'
)
# What it notes of RF64 without a comparison: bytes of sound and of a frame.
_RF64 = re.compile(r'Data size : (\d+)\n.*Block Align\s+: (\d+)\n', re.DOTALL)
# SPHERE promises frames in words.
_SPHERE = re.compile(rb'NIST_1A\n.*\nsample_count -i (\d+)\n', re.DOTALL)
# Longer than any sound.
_UNKNOWN_FRAMES = 1 << 60


def blocks(path: str | os.PathLike) -> Iterator[tuple[int, np.ndarray]]:
  """Yields a file's sound as (rate in Hz, [frames, channels] float32).

  Full scale is 1; float files may go beyond it.

  Args:
    path: Any file libsndfile reads, here or where `etils.epath` finds it
      (gs://, s3://).

  Raises:
    errors.InputError: If the file is not there, cannot be decoded, is cut
      short, holds no samples, samples that are not finite, or float samples
      in another unit than full scale.
  """
  import soundfile

  num_frames = 0
  try:
    for rate_hz, block in _decoded(path):
      num_frames += len(block)
      yield rate_hz, block
  except FileNotFoundError as e:
    name = os.fspath(path)
    is_link = os.path.islink(name)
    link = f'a link to {os.readlink(name)}, which is ' if is_link else ''
    raise errors.InputError(
      f'{path} is {link}missing; put it back or leave it out'
    ) from e
  except (
    soundfile.SoundFileError,
    OSError,
    EOFError,
    MemoryError,  # a header that promises the world
  ) as e:
    raise errors.InputError(
      f'{path} cannot be read as audio ({_reason(e)}); '
      'replace it or leave it out'
    ) from e
  if not num_frames:
    raise errors.InputError(
      f'{path} holds no samples; replace it or leave it out'
    )


def _reason(error):
  """Returns what went wrong, without the name that the sentence begins with."""
  text = getattr(error, 'error_string', None) or getattr(
    error, 'strerror', None
  )
  return (text or str(error)).strip().rstrip('.')


def _decoded(path):
  with contextlib.ExitStack() as stack:
    file, header, is_estimate = _open(path, stack)
    rate_hz, left = file.samplerate, file.frames
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
      raise EOFError(f'its header says {rate_hz} Hz')
    if _is_cut_short(file, header):
      raise EOFError('its end is missing')
    # No further than is promised: a tag behind the sound is none.
    while left and len(
      block := file.read(min(left, _BLOCK), dtype='float32', always_2d=True)
    ):
      left -= len(block)
      peak = np.abs(block).max()
      if not np.isfinite(peak):
        raise EOFError('it holds samples that are not finite')
      if peak > _LOUDEST:
        raise errors.InputError(
          f'{path} has float samples as large as {peak:.6g} where full scale '
          'is 1; divide them by their full scale (32768 for those of 16 bit) '
          'or leave it out'
        )
      yield rate_hz, block
    if left and file.frames < _UNKNOWN_FRAMES and not is_estimate:
      raise EOFError('its end is missing')


def _is_cut_short(file, header):
  """Returns whether a header's promise, where it is exact, is broken."""
  promise, sphere = _CUT_SHORT.search(file.extra_info), _SPHERE.match(header)
  if promise and int(promise[1]) > int(promise[2]):
    return not headers.is_unknown(int(promise[1]))
  if sphere:
    return int(sphere[1]) > file.frames
  rf64 = file.format == 'RF64' and _RF64.search(file.extra_info)
  if rf64 and not headers.is_unknown(int(rf64[1])):
    return int(rf64[1]) >= (file.frames + 1) * int(rf64[2])
  return False


def _open(path, stack):
  """Returns a file that is decoded to its end, its first bytes, and a doubt.

  Namely whether the number of its frames is an estimate (MP3 alone has one).
  """
  import soundfile

  class Stream(soundfile.SoundFile):
    """Is read on and on: soundfile seeks after every block where it can."""

    def seekable(self):
      return False

  name = os.fspath(path)
  raw = stack.enter_context(_raw(name))
  header = raw.read(headers.BEGINNING_BYTES)
  refuse_pointer(path, header)
  if not header:
    raise EOFError('it is empty')
  changes, is_endless = headers.without_size(raw, header), False
  if not changes:
    # By its name, where it has one: Python's lock is let go then.
    raw.seek(0)
    file = stack.enter_context(Stream(raw if '://' in name else name))
    if file.format == 'OGG':
      headers.check_pages(raw)
    if file.format == 'MP3':
      changes, is_endless = headers.without_count(raw)
  if changes or is_endless:
    raw.seek(0)
    file = stack.enter_context(
      Stream(headers.Changed(raw, changes, is_endless))
    )
  return file, header, is_endless


def _raw(name):
  """Returns the bytes of a file, here or distant, as a file."""
  if '://' in name:
    from etils import epath

    return io.BytesIO(epath.Path(name).read_bytes())
  if os.path.exists(name) and not os.path.isfile(name):
    raise OSError('it is no file')  # a pipe would be waited for
  return open(name, 'rb')  # closed by its user
