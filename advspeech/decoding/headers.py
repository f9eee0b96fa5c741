"""Headers that do not say how much sound there is.

They are read as if they promised more than there is. Such are those of a
stream, of a recorder that lost its power, and of MP3 without a Xing frame,
whose length is guessed from the first bit rate.
"""

import io
import re
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

# Bytes of sound that programs write who stream a file and cannot know it
# (ffmpeg 0xFFFFFFFF, SoX 0x7FFFF000 and 0x7F000008, arecord 0x80000000, or a
# little less).
_UNKNOWN_SIZES = (
  range(0x7F000000, 0x80000001),
  range(0xFFFF0000, 0x100000000),
  range(1 << 62, 1 << 64),
)
# Longer than any file, in bytes.
_ENDLESS = 1 << 40

# Where an MP3 file notes how many frames and bytes it has, if it does.
_XING = re.compile(rb'(?:Xing|Info)(.{4})(.{4})(.{4})', re.DOTALL)
_XING_HAS_FRAMES, _XING_HAS_BYTES = 1, 2
# Of an Ogg page's flags: it is the first of a stream.
_OGG_BEGINS = 2
BEGINNING_BYTES = 4096


def is_unknown(size: int) -> bool:
  """Returns whether a size is what programs write who do not know it."""
  return any(size in sizes for sizes in _UNKNOWN_SIZES)


class Changed(io.RawIOBase):
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


def without_size(raw: BinaryIO, header: bytes) -> dict[int, bytes]:
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


def without_count(raw: BinaryIO) -> tuple[dict[int, bytes], bool]:
  """Returns what to change in an MP3 file, and whether its length is unknown.

  A Xing or VBRI frame counts it, unless another file was put behind.
  """
  start = _after_id3(raw)
  raw.seek(start)
  head = raw.read(BEGINNING_BYTES)
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


def check_pages(raw: BinaryIO) -> None:
  """Raises EOFError at an Ogg file that libsndfile would take short.

  Its last page says how long the sound is: one that is cut, which says how
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
