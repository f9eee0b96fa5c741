"""Any recordings: a CSV manifest, or one sub-folder a class.

The manifest has a line a clip: its `path`, relative to the folder and in it (a
link in it may lead out), any of `label`, `speaker`, `sex` (female or male),
`emotion`, `session`, `statement`, `take` (what was recorded several times),
`split`, and its `id`. Without a manifest, a clip's label is the sub-folder it
lies in. Files are named after ids: the manifest's, or the path without its
suffix and with `__` for slashes. Accents may be composed in one place and
decomposed in another: names are found, and are composed in ids.
"""

import csv
import io
import logging
import os
import posixpath
import string
import unicodedata
from collections.abc import Iterator

from advspeech import errors
from advspeech.corpora import builder, folder_builder, folder_files, records

logger = logging.getLogger(__name__)

MANIFEST = 'manifest.csv'
_OUTSIDE = ('..', '.', *(f'{letter}:' for letter in string.ascii_letters))
# Bytes of an id; file systems allow 255 with what is put behind it.
_LONGEST = 180
# Of a manifest, beside `path`.
OPTIONAL = (*records.COLUMNS, 'id')
# A task needs one of them.
_TASK_COLUMNS = tuple(c for c in records.COLUMNS if c != 'split')


class Folder(folder_builder.FolderBuilder):
  """TFDS builder of a user's own recordings."""

  VERSION = builder.version('1.3.0')
  DESCRIPTION = __doc__
  LAYOUT = f'recordings, with a {MANIFEST} or in one sub-folder a class'
  # Formats of libsndfile that name themselves; RAW does not.
  SUFFIXES = (
    *('.wav', '.flac', '.ogg', '.oga', '.opus', '.mp3', '.aiff', '.aif'),
    *('.au', '.caf', '.w64', '.rf64', '.sph'),
  )

  def __init__(self, *, manifest: str = '', **kwargs):
    """Sets the manifest besides what every folder has.

    Args:
      manifest: CSV file, absolute or in the folder; '' for `MANIFEST` there if
        it exists.
      **kwargs: See `folder_builder.FolderBuilder`.
    """
    self._manifest = manifest
    super().__init__(**kwargs)

  def recordings(
    self,
  ) -> Iterator[records.Recording | records.Skipped | None]:
    """Yields the manifest's lines in order, or the files by their paths."""
    manifest = self.folder / (self._manifest or MANIFEST)
    if self._manifest or _is_there(manifest):
      yield from self._listed(manifest)
    else:
      yield from self._found()

  def without_copies(
    self, items: list[records.Recording | records.Skipped | None]
  ) -> list[records.Recording | records.Skipped | None]:
    """Returns them all: ids are the user's, and copies are warned of."""
    return items

  def _found(self):
    for path in self.files():
      name = path.relative_to(self.folder)
      if len(name.parts) == 1:
        yield records.Skipped(
          str(path),
          f'{path} lies in no sub-folder, which would name its class; move it '
          f'or write a {MANIFEST}',
        )
      else:
        yield _recording(
          path, _id(name.as_posix()), label=_composed(name.parts[0])
        )

  def _listed(self, manifest):
    labels = {}
    # As text: a million objects of paths would take a minute.
    folder = os.fspath(self.folder)
    listing = _Listing(folder)
    place = os.fspath(manifest)
    for number, row, has_labels in _rows(manifest):
      where = f'{place} line {number}'
      name = row['path']
      path = listing.find(name)
      if not name or (has_labels and not row['label']):
        yield records.Skipped(
          where, f'{where} has no {"label" if name else "path"}; fill it in'
        )
      elif '\0' in name:
        yield records.Skipped(
          where, f'{where}: no file can be named {name!r}; correct the path'
        )
      elif posixpath.isabs(path) or path.split('/')[0] in _OUTSIDE:
        yield records.Skipped(
          where,
          f'{where}: {name} is not in {folder}; paths are relative to it',
        )
      elif posixpath.splitext(path)[1].lower() not in self.SUFFIXES:
        yield records.Skipped(
          where,
          f'{where}: {name} is named as no recording is '
          f'({", ".join(self.SUFFIXES)})',
        )
      elif labels.setdefault(path, row['label']) != row['label']:
        raise errors.InputError(
          f'{where}: {path} has the label {row["label"]!r} and, further up, '
          f'{labels[path]!r}; remove one of the lines'
        )
      else:
        yield _recording(
          os.path.join(folder, path),
          row['id'] or _id(path),
          **{key: row[key] for key in records.COLUMNS},
        )


def _is_there(manifest):
  """Returns whether something has a manifest's name, be it a broken link."""
  name = os.fspath(manifest)
  return manifest.exists() if '://' in name else os.path.lexists(name)


class _Listing:
  """Finds the files of a folder by names as another system writes them."""

  def __init__(self, folder):
    self._folder = folder
    self._names = {}  # of each folder in it, by what is compared

  def find(self, name):
    """Returns a file's path in the folder; a plain one if it is not there.

    As it stands, or with slashes for backslashes; and where there is none of
    that name, one whose accents are composed in another way.
    """
    path = posixpath.normpath(name)
    if '\0' in path or '://' in self._folder or self._has(path):
      return path
    path = posixpath.normpath(name.replace('\\', '/'))
    if posixpath.isabs(path) or path.split('/')[0] in _OUTSIDE:
      return path
    found = ''
    for part in path.split('/'):
      inside = os.path.join(self._folder, found)
      found = posixpath.join(found, self._in(inside).get(_composed(part), part))
    return found if self._has(found) else path

  def _has(self, path):
    return os.path.exists(os.path.join(self._folder, path))

  def _in(self, folder):
    if folder not in self._names:
      try:
        names = sorted(os.listdir(folder))
      except OSError:
        names = []
      self._names[folder] = {_composed(name): name for name in names}
    return self._names[folder]


def _composed(text):
  """Returns text whose accented letters are one character each."""
  return unicodedata.normalize('NFC', text)


def _id(path):
  """Returns a file's id, by its path in the folder."""
  return _composed(posixpath.splitext(path)[0].replace('/', '__'))


def _recording(path, id_, **columns):
  """Returns a recording, or why its names cannot be used."""
  names = (id_, *columns.values())
  try:
    num_bytes = max(len(text.encode()) for text in names)
  except UnicodeEncodeError:
    reason = f'{str(path)!r} is not named in UTF-8; rename it'
  else:
    is_plain = all(
      '\0' not in text and text.splitlines() in ([], [text]) for text in names
    )
    if '/' not in id_ and is_plain and num_bytes <= _LONGEST:
      return records.Recording(path, id_, **columns)
    reason = (
      f'{str(path)!r}: an id must be without a slash, since files are named '
      'after it, and like label, speaker and the others one line of at most '
      f'{_LONGEST} bytes; give it another in a manifest'
    )
  return records.Skipped(repr(str(path)), reason)


def _rows(manifest):
  """Yields (line number, row, whether there are labels) of a manifest.

  A row has every column, as stripped text, '' where the manifest has none.
  """
  data = folder_files.read_table(manifest)
  try:
    text = data.decode('utf-8-sig')
    reader = csv.DictReader(io.StringIO(text, newline=''), strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    expected = f'its first line is {",".join(names)!r}; expected path and one '
    expected += f'or more of {",".join(OPTIONAL)}'
    for name in ('path', *OPTIONAL):
      if names.count(name) > 1 or (name == 'path' and name not in names):
        raise errors.InputError(
          f'{manifest} must have one column {name}, {expected}'
        )
    if not {*names} & {*_TASK_COLUMNS}:
      raise errors.InputError(
        f'{manifest} must have a column that tells clips apart, such as label, '
        f'{expected}'
      )
    others = sorted({*names} - {'path', *OPTIONAL})
    if others:
      logger.warning('%s: nothing is made of %s', manifest, ', '.join(others))
    for row in reader:
      if None in row or None in row.values():
        raise errors.InputError(
          f'{manifest} line {reader.line_num} has another number of cells than '
          f'the first line, {len(names)}; put cells with a comma in quotes'
        )
      yield (
        reader.line_num,
        {
          key: text if key == 'path' else _composed(text)
          for key in ('path', *OPTIONAL)
          for text in [row.get(key, '').strip()]
        },
        'label' in names,
      )
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.InputError(
      f'{manifest} cannot be read as CSV in UTF-8 ({e}); save it as such'
    ) from e
