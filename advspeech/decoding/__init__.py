"""Sound files, decoded block by block to their real end.

libsndfile decodes as much as a header says there is. A header that does not
know it (of a stream, or of a recorder that lost its power) or that guesses it
(MP3 without a Xing frame, from the first bit rate) is read as if it promised
more than there is; one that promises more than there is, exactly, is refused.
"""

from advspeech.decoding.pointers import (
  refuse_pointer,
)
from advspeech.decoding.sound import (
  blocks,
)

__all__ = [
  'blocks',
  'refuse_pointer',
]
