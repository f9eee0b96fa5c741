"""Labelled clips, and epochs of batches of them on the mesh."""

from advspeech.input_pipeline.batches import (
  Batch,
  abstract_batch,
  abstract_encoded,
  batch_rows,
  batches,
  decode,
  encoded_batches,
  epoch_order,
  num_batches,
  rows_reordered,
  step_arrays,
)
from advspeech.input_pipeline.splits import (
  Split,
  make_splits,
  place,
  put_on_devices,
  read,
  spread,
  spread_rows,
  subset,
)

__all__ = [
  'Batch',
  'Split',
  'abstract_batch',
  'abstract_encoded',
  'batch_rows',
  'batches',
  'decode',
  'encoded_batches',
  'epoch_order',
  'make_splits',
  'num_batches',
  'place',
  'put_on_devices',
  'read',
  'rows_reordered',
  'spread',
  'spread_rows',
  'step_arrays',
  'subset',
]
