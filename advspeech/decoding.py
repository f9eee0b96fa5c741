"""Sound files, decoded block by block to their real end.

libsndfile decodes as much as a header says there is. A header that does not
know it (of a stream, or of a recorder that lost its power) or that guesses it
(MP3 without a Xing frame, from the first bit rate) is read as if it promised
more than there is; one that promises more than there is, exactly, is refused.
"""

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from advspeech import errors

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
# Bytes of sound that programs write who stream a file and cannot know it
# (ffmpeg 0xFFFFFFFF, SoX 0x7FFFF000 and 0x7F000008, arecord 0x80000000, or a
# little less).
_UNKNOWN_SIZES = (
  range(0x7F000000, 0x80000001),
  range(0xFFFF0000, 0x100000000),
  range(1 << 62, 1 << 64),
)
# Longer than any file, in bytes, and than any sound, in frames.
_ENDLESS, _UNKNOWN_FRAMES = 1 << 40, 1 << 60
# Where an MP3 file notes how many frames and bytes it has, if it does.
_XING = re.compile(rb'(?:Xing|Info)(.{4})(.{4})(.{4})', re.DOTALL)
_XING_HAS_FRAMES, _XING_HAS_BYTES = 1, 2
# Of an Ogg page's flags: it is the first of a stream.
_OGG_BEGINS = 2
# How files begin that stand for one that was not fetched, and what fetches it.
_POINTERS = {
  b'version https://git-lfs.github.com/spec/': 'git lfs pull',
  b'/annex/objects/': 'git annex get',
}
_HEADER = 4096


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
    return not _is_unknown(int(promise[1]))
  if sphere:
    return int(sphere[1]) > file.frames
  rf64 = file.format == 'RF64' and _RF64.search(file.extra_info)
  if rf64 and not _is_unknown(int(rf64[1])):
    return int(rf64[1]) >= (file.frames + 1) * int(rf64[2])
  return False


def _is_unknown(size):
  return any(size in sizes for sizes in _UNKNOWN_SIZES)


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
  header = raw.read(_HEADER)
  refuse_pointer(path, header)
  if not header:
    raise EOFError('it is empty')
  changes, is_endless = _without_size(raw, header), False
  if not changes:
    # By its name, where it has one: Python's lock is let go then.
    raw.seek(0)
    file = stack.enter_context(Stream(raw if '://' in name else name))
    if file.format == 'OGG':
      _check_pages(raw)
    if file.format == 'MP3':
      changes, is_endless = _without_count(raw)
  if changes or is_endless:
    raw.seek(0)
    file = stack.enter_context(Stream(_Changed(raw, changes, is_endless)))
  return file, header, is_endless


def _raw(name):
  """Returns the bytes of a file, here or distant, as a file."""
  if '://' in name:
    from etils import epath

    return io.BytesIO(epath.Path(name).read_bytes())
  if os.path.exists(name) and not os.path.isfile(name):
    raise OSError('it is no file')  # a pipe would be waited for
  return open(name, 'rb')  # closed by its user


class _Changed(io.RawIOBase):
  """A file as it would be with some bytes changed, or very long."""

  def __init__(
    self, raw: BinaryIO, changes: Mapping[int, bytes], is_endless: bool
  ):
    """Takes the file.

    Args:
      raw: The file.
      changes: Bytes by their offset.
      is_endless: Whether it says it is, so that what is estimated from its
        length is too much; it is read to its real end.
    """
    super().__init__()
    self._raw, self._changes = raw, changes
    self._is_endless, self._is_at_end = is_endless, False

  def readinto(self, buffer: Any) -> int:
    """Reads as far as the file goes."""
    view = memoryview(buffer).cast('B')
    start = self._raw.tell()
    count = self._raw.readinto(view)
    for at, new in self._changes.items():
      for i, byte in enumerate(new, at - start):
        if 0 <= i < count:
          view[i] = byte
    return count

  def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
    """Moves; only the end itself is far away, not what lies before it."""
    self._is_at_end = self._is_endless and (offset, whence) == (0, io.SEEK_END)
    at = self._raw.seek(offset, whence)
    return _ENDLESS if self._is_at_end else at

  def tell(self) -> int:
    """Returns where it is."""
    return _ENDLESS if self._is_at_end else self._raw.tell()


def _without_size(raw, header):
  """Returns what to change where a container does not say its sound's size."""
  num_bytes = raw.seek(0, io.SEEK_END)
  magic = header[:4]
  if magic == b'.snd' and header[8:12] == bytes(4):
    return {8: b'\xff' * 4}
  if magic == b'caff':
    at = _chunk(header, b'data', 8, '>4sq')
    if at and header[at + 4 : at + 12] == b'\xff' * 8:
      return {at + 4: struct.pack('>q', num_bytes - at - 12)}
  if magic == b'RF64' and header[12:16] == b'ds64':
    at = _chunk(header, b'data', 12, '<4sI')
    if at and header[28:36] in (bytes(8), b'\xff' * 8):
      return {
        20: struct.pack('<Q', num_bytes - 8),
        28: struct.pack('<Q', num_bytes - at - 8),
      }
  if magic == b'RIFF':
    at = _chunk(header, b'data', 12, '<4sI')
    size = int.from_bytes(header[4:8], 'little')
    # A file that was closed over no sound knows its own size.
    if at and header[at + 4 : at + 8] == bytes(4) and size + 8 < num_bytes:
      return {4: b'\xff' * 4, at + 4: b'\xff' * 4}
  return {}


def _chunk(header, wanted, at, layout):
  """Returns where a chunk begins, None if not among the first ones."""
  length = struct.calcsize(layout)
  while at + length <= len(header):
    name, size = struct.unpack_from(layout, header, at)
    if name == wanted:
      return at
    at += length + max(size, 0) + size % 2 * layout.startswith('<')
  return None


def _without_count(raw):
  """Returns what to change in an MP3 file, and whether its length is unknown.

  A Xing or VBRI frame counts it, unless another file was put behind.
  """
  start = _after_id3(raw)
  raw.seek(start)
  head = raw.read(_HEADER)
  xing = _XING.search(head)
  if not xing:
    return {}, b'VBRI' not in head
  flags, _, num_bytes = (int.from_bytes(x, 'big') for x in xing.groups())
  if not flags & _XING_HAS_FRAMES:
    return {}, True
  if flags & _XING_HAS_BYTES:
    raw.seek(start + num_bytes)
    behind = raw.read(3)
    if behind == b'ID3' or (behind[:1] == b'\xff' and behind[1:2] >= b'\xe0'):
      return {start + xing.start(): bytes(4)}, True
  return {}, False


def _after_id3(raw):
  at = 0
  while True:
    raw.seek(at)
    tag = raw.read(10)
    if len(tag) < 10 or not tag.startswith(b'ID3'):
      return at
    size = 0
    for byte in tag[6:]:
      size = size << 7 | byte & 0x7F
    at += 10 + size


def _check_pages(raw):
  """Raises EOFError at an Ogg file that libsndfile would take short.

  Its last page tells how long the sound is: one that is cut, which says how
  many bytes it has, is no page for libsndfile, and the one before becomes the
  last. A file may end with a page that is not marked as the last one: a stream
  was not closed.
  """
  raw.seek(0)
  data, at, has_begun = raw.read(), 0, False
  while data[at : at + 4] == b'OggS' and at + 27 <= len(data):
    begins, num_segments = data[at + 5] & _OGG_BEGINS, data[at + 26]
    if begins and has_begun:
      raise EOFError('it is several Ogg streams in a row; save it as one')
    has_begun = has_begun or not begins
    segments = data[at + 27 : at + 27 + num_segments]
    at += 27 + num_segments + sum(segments)
  if at > len(data) or data[at : at + 4] == b'OggS':
    raise EOFError('its end is missing')
