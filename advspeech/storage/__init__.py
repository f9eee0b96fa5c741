"""What is on disk or in a bucket: files, JSON, tables and arrays."""

from advspeech.storage.arrays import (
  read_arrays,
  write_arrays,
)
from advspeech.storage.files import (
  check_output_file,
  check_writable,
  create,
  exists,
  is_folder,
  local_copy,
  make_folder,
  move_folder,
  names,
  naming,
  opened,
  remove,
  replacing,
)
from advspeech.storage.json_files import (
  read_json,
  write_json,
)
from advspeech.storage.locations import (
  absolute,
  cache_folder,
  canonical,
  distinct_ends,
  given_path,
  relative,
)
from advspeech.storage.tables import (
  grouped,
  read_table,
  write_table,
)

__all__ = [
  'absolute',
  'cache_folder',
  'canonical',
  'check_output_file',
  'check_writable',
  'create',
  'distinct_ends',
  'exists',
  'given_path',
  'grouped',
  'is_folder',
  'local_copy',
  'make_folder',
  'move_folder',
  'names',
  'naming',
  'opened',
  'read_arrays',
  'read_json',
  'read_table',
  'relative',
  'remove',
  'replacing',
  'write_arrays',
  'write_json',
  'write_table',
]
