"""Writing a corpus as a data set, unless it is there as it would be written."""

import contextlib
import io
import json
import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

from advspeech import errors, storage
from advspeech.corpora import builder, copies, stored
from advspeech.corpora.source import SYNTHESISED, Source

logger = logging.getLogger(__name__)


def prepare(name: str, *, skip_bad: bool = False, **where: str) -> str:
  """Writes a corpus as a TFDS data set unless it is there; returns its path.

  It is written again where the same recordings were replaced, or copied, since.
  Beside the data lies `preparation.json`: what it was made from and with. What
  that says of the clips is logged each time.

  Args:
    name: A key of `BUILDERS`.
    skip_bad: Leave out (and count) recordings that cannot be read or are not
      named as the corpus names them, instead of stopping at the first.
    **where: See `Source`.

  Raises:
    errors.InputError: If the name is unknown, the recordings are missing or
      bad, the data set there is damaged or was made from other recordings, or
      there is no place for one.
  """
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  source = Source(name, **where)
  dataset = source.builder(skip_bad)
  if not _is_current(dataset, source):
    # TFDS announces a download on stdout; nothing is downloaded.
    with copies.alone(dataset), contextlib.redirect_stdout(io.StringIO()):
      if source.bucket:
        copies.fetch(dataset, source)
        dataset = source.builder(skip_bad)
      if not _is_current(dataset, source):  # nobody else has done it meanwhile
        if dataset.data_path.exists():
          _discard(dataset, source)
          dataset = source.builder(skip_bad)
        dataset.download_and_prepare()
        if source.bucket:
          copies.send(dataset, source)
  record = checked_record(dataset, source)
  for line in record['summary']:
    logger.info('%s', line)
  for line in record['warnings']:
    logger.warning('%s', line)
  if record['skipped']:
    logger.warning(
      '%d recordings were skipped; %s names each',
      len(record['skipped']),
      os.path.join(source.place(dataset), builder.RECORD),
    )
  return source.place(dataset)


def path(name: str, **where: str) -> str:
  """Returns where a corpus' data set is, or will be once it is prepared.

  Args:
    name: A key of `BUILDERS`.
    **where: `folder` and so on; see `Source`.
  """
  source = Source(name, **where)
  return source.place(source.builder())


def is_prepared(name: str, **where: str) -> bool:
  """Returns whether a corpus lies where `path` says.

  Args:
    name: A key of `BUILDERS`.
    **where: `folder` and so on; see `Source`.
  """
  source = Source(name, **where)
  return is_there(source.builder(), source)


def describe(name: str, **where: str) -> str:
  """Returns where a corpus' data set lies, or what it will be made from.

  Args:
    name: A key of `BUILDERS`.
    **where: `folder` and so on; see `Source`.

  Raises:
    errors.InputError: If it is not prepared and its recordings are not there.
  """
  source = Source(name, **where)
  dataset = source.builder()
  if is_there(dataset, source):
    return f'{name}: prepared, {source.place(dataset)}'
  if name in SYNTHESISED:
    return f'{name}: not prepared yet, synthesised then'
  dataset.check_folder()
  return f'{name}: not prepared yet, from {dataset.folder} then'


def _discard(dataset, source):
  """Removes a data set, which is never half there under its name."""
  path = dataset.data_path
  logger.info(
    '%s is prepared again: recordings were replaced or copied since, or it has '
    'no %s',
    source.place(dataset),
    builder.RECORD,
  )
  aside = path.parent / f'incomplete.{path.name}.{os.getpid()}'
  shutil.rmtree(path.rename(aside))


def is_there(dataset: builder.SpeechBuilder, source: Source) -> bool:
  """Returns whether there is a data set, here or in its bucket."""
  # TFDS's own answer comes with a warning when it is no.
  return storage.exists(os.path.join(source.place(dataset), builder.RECORD))


def _is_current(dataset, source):
  """Returns whether the data set is there, of the files that are there now."""
  return (
    is_there(dataset, source)
    and copies.is_here(dataset, source)
    and not is_outdated(checked_record(dataset, source), dataset, source)
  )


def is_outdated(
  record: Mapping[str, Any], dataset: builder.SpeechBuilder, source: Source
) -> bool:
  """Returns whether the recordings were written anew since."""
  return bool(source.folder) and (
    record.get('written_digest') != dataset.source().get('written_digest')
  )


def checked_record(
  dataset: builder.SpeechBuilder, source: Source
) -> dict[str, Any]:
  """Returns a data set's record.

  Raises:
    errors.InputError: If it is damaged, or of another source.
  """
  try:
    record = json.loads((dataset.data_path / builder.RECORD).read_text())
  except ValueError as e:
    raise stored.damaged(dataset.data_path, f'{builder.RECORD}: {e}') from e
  if source.name in SYNTHESISED:
    return record
  if record['channels'] != source.channels:
    raise errors.InputError(
      f'{source.place(dataset)} was prepared with config.corpus.channels='
      f'{record["channels"]}, not {source.channels}; remove it to prepare '
      'again, or keep both by passing another --config.data_dir'
    )
  if source.folder and (
    record['source_digest'] != dataset.source()['source_digest']
  ):
    raise errors.InputError(
      f'{source.place(dataset)} was prepared from other recordings than '
      f'{source.folder} holds now; remove it to prepare again, or keep both by '
      'passing another --config.data_dir'
    )
  return record
