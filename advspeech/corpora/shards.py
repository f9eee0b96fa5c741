"""Clips written as they come, in files of a bounded size.

TFDS's own writer first holds all clips in memory to put them in another order,
and where they are more than 1 GB needs TensorFlow to lay them aside. Who trains
on them draws an order of its own, so that theirs on disk does not matter.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer, naming

from advspeech.corpora import records

# A file ends with the clip that reaches this.
FILE_BYTES = 256 << 20
# Each clip can be read alone.
_OPTIONS = 'group_size:1'


class Shards:
  """Files of clips of one TFDS split, and an index of what is in them.

  Attributes:
    lengths: Clips of each file.
    num_bytes: Of all clips.
    index: `id`, `num_samples` and each of `COLUMNS`, in the order written.
  """

  def __init__(
    self,
    features: tfds.features.FeaturesDict,
    template: naming.ShardedFileTemplate,
  ):
    """Takes what a clip consists of, and how files are named.

    Args:
      features: Of a clip, as a dict.
      template: Of the split, in a folder of this machine.
    """
    self.lengths = []
    self.num_bytes = 0
    self.index = {key: [] for key in ('id', 'num_samples', *records.COLUMNS)}
    self._features = features
    self._template = template
    self._serializer = example_serializer.ExampleSerializer(
      features.get_serialized_info()
    )

  def write(self, clips: Iterable[dict[str, Any]]) -> None:
    """Writes all files, named at the end, when their number is known."""
    clips, paths = iter(clips), []
    for first in clips:
      number = len(paths)
      paths.append(os.path.join(self._template.data_dir, f'{number}.unnamed'))
      self.lengths.append(0)
      with contextlib.closing(
        array_record_module.ArrayRecordWriter(paths[number], _OPTIONS)
      ) as file:
        for data in self._of_one_file(itertools.chain([first], clips)):
          file.write(data)
    for i, path in enumerate(paths):
      os.rename(
        path,
        self._template.sharded_filepath(shard_index=i, num_shards=len(paths)),
      )

  def split_info(self) -> tfds.core.SplitInfo:
    """Returns what TFDS records of the files."""
    return tfds.core.SplitInfo(
      name=self._template.split,
      shard_lengths=self.lengths,
      num_bytes=self.num_bytes,
      filename_template=self._template,
    )

  def _of_one_file(self, clips: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yields clips serialised, and counts them, until a file is full.

    As the same bytes in every process: protocol buffers put a map's entries in
    an order that differs unless they are asked to sort them.
    """
    size = 0
    for clip in clips:
      example = self._serializer.get_tf_example(
        self._features.encode_example(clip)
      )
      data = example.SerializeToString(deterministic=True)
      yield data
      size += len(data)
      self.num_bytes += len(data)
      self.lengths[-1] += 1
      self.index['num_samples'].append(len(clip['pcm']))
      for key in ('id', *records.COLUMNS):
        self.index[key].append(clip[key])
      if size >= FILE_BYTES:
        return

  def write_index(self, path: str | os.PathLike) -> None:
    """Writes all that is known of the clips but their sound."""
    with open(path, 'wb') as file:
      np.savez_compressed(
        file, **{key: np.array(values) for key, values in self.index.items()}
      )
