"""Which recordings a corpus is made of, and where its data set lives."""

import dataclasses
import os

from advspeech import errors, storage
from advspeech.corpora import (
  builder,
  crema_d,
  emodb,
  espeak,
  folder,
  iemocap,
  ravdess,
  savee,
)

BUILDERS = {
  'espeak': espeak.Espeak,
  'ravdess': ravdess.Ravdess,
  'iemocap': iemocap.Iemocap,
  'crema_d': crema_d.CremaD,
  'emodb': emodb.Emodb,
  'savee': savee.Savee,
  'folder': folder.Folder,
}
# Corpora that are read from no folder.
SYNTHESISED = ('espeak',)


@dataclasses.dataclass(frozen=True)
class Source:
  """Which recordings, and how they are read; see configs/paper.py.

  Attributes:
    name: A key of `BUILDERS`.
    folder: The recordings, for a corpus that is read from some.
    manifest: The list of them, for the corpus `folder`.
    channels: 'mean' of a recording's channels, or the number of one.
    data_dir: Where data sets live; '' is TFDS's own default
      (`~/tensorflow_datasets`, or the environment variable TFDS_DATA_DIR).
  """

  name: str
  folder: str = ''
  manifest: str = ''
  channels: str = 'mean'
  data_dir: str = ''

  @property
  def bucket(self) -> str:
    """The URL of where data sets live, '' if that is on this machine.

    Raises:
      errors.InputError: If it is another URL than a bucket's.
    """
    given = self.data_dir or os.environ.get('TFDS_DATA_DIR', '')
    if '://' not in given:
      return ''
    return storage.given_path('config.data_dir', given)

  def place(self, dataset: builder.SpeechBuilder) -> str:
    """Returns where the data set of a `builder` lives, here or in a bucket."""
    path = str(dataset.data_path)
    if not self.bucket:
      return path
    below = os.path.relpath(path, storage.cache_folder(self.bucket))
    return f'{self.bucket}/{below}'

  def builder(self, skip_bad: bool = False) -> builder.SpeechBuilder:
    """Returns the TFDS builder; of a data set in a bucket that of its copy.

    Raises:
      errors.InputError: If the name is unknown, or `data_dir` another URL than
        a bucket's.
    """
    if self.name not in BUILDERS:
      raise errors.InputError(
        f'config.corpus.name must be one of {", ".join(BUILDERS)}, got '
        f'{self.name!r}'
      )
    data_dir = os.path.expanduser(self.data_dir)
    if self.bucket:
      data_dir = storage.cache_folder(self.bucket)
    options = {}
    if self.name not in SYNTHESISED:
      options = {
        'folder': self.folder,
        'channels': self.channels,
        'skip_bad': skip_bad,
      }
    if self.name == 'folder':
      options['manifest'] = self.manifest
    return BUILDERS[self.name](
      data_dir=data_dir or None,
      file_format='array_record',
      **options,
    )
