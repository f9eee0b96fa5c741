"""The clips that were attacked."""

from collections.abc import Iterator
from typing import Any

from advspeech.sweep import results as results_lib
from advspeech.sweep.tables import columns

COLUMNS: columns.Columns = {'id': str, 'speaker': str}


def rows(results: results_lib.Results) -> Iterator[dict[str, Any]]:
  """Yields one row a clip, in the order of all tables, by COLUMNS."""
  split = results.sweep.split
  for id_, speaker in zip(split.ids, split.speakers, strict=True):
    yield {'id': str(id_), 'speaker': str(speaker)}
