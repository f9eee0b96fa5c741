"""What every corpus is on disk: a TFDS data set of int16 clips at 16 kHz.

A corpus is one TFDS split, `clips`, in ArrayRecord; who trains on what is for
`tasks` to say. Neither writing nor reading imports TensorFlow. TFDS writes
into a folder of another name and renames it at the end, so a data set that was
interrupted is never taken for a whole one.
"""

import abc
import hashlib
import importlib.metadata
import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from advspeech import audio, errors

logger = logging.getLogger(__name__)

SPLIT = 'clips'
version = tfds.core.Version


class Utterance(NamedTuple):
  """One clip: a stable id, int16 PCM [time] at 16 kHz, who, and how."""

  id: str
  pcm: np.ndarray
  speaker: str
  sex: str
  emotion: str


class Skipped(NamedTuple):
  """A recording that was left out, and why."""

  name: str
  reason: str


class SpeechBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """Writes utterances; a corpus says only where they come from."""

  DESCRIPTION = ''

  @abc.abstractmethod
  def utterances(self) -> Iterator[Utterance | Skipped]:
    """Yields every clip of the corpus once, in a fixed order."""

  @abc.abstractmethod
  def num_utterances(self) -> int:
    """Returns how many items `utterances` yields."""

  @abc.abstractmethod
  def source_digest(self) -> str:
    """Returns a fingerprint of the source files, '' where there are none."""

  def _info(self):
    return self.dataset_info_from_configs(
      description=self.DESCRIPTION,
      features=tfds.features.FeaturesDict(
        {
          # Plain bytes: TFDS's Audio feature needs TensorFlow.
          'pcm': tfds.features.Tensor(
            shape=(None,), dtype=np.int16, encoding='bytes'
          ),
          'id': tfds.features.Text(),
          'speaker': tfds.features.Text(),
          'sex': tfds.features.Text(),
          'emotion': tfds.features.Text(),
          'duration_s': tfds.features.Scalar(np.float64),
        }
      ),
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self):
    ids, skipped = [], []
    for item in tqdm.tqdm(
      self.utterances(),
      desc=f'preparing {self.name}',
      total=self.num_utterances(),
      unit='clip',
      disable=None,
    ):
      if isinstance(item, Skipped):
        logger.warning('skipped %s: %s', item.name, item.reason)
        skipped.append(item._asdict())
        continue
      ids.append(item.id)
      yield (
        item.id,
        {
          **item._asdict(),
          'duration_s': len(item.pcm) / audio.SAMPLE_RATE_HZ,
        },
      )
    if skipped:
      logger.warning(
        'skipped %d of %d recordings', len(skipped), len(skipped) + len(ids)
      )
    if not ids:
      raise errors.InputError(
        f'every recording of {self.name} was skipped; '
        'check that the folder holds the corpus'
      )
    self.info.metadata.update(
      source_digest=self.source_digest(),
      num_clips=len(ids),
      skipped=skipped,
      ids_sha256=hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest(),
      sample_rate_hz=audio.SAMPLE_RATE_HZ,
      versions={
        name: importlib.metadata.version(name)
        for name in ('librosa', 'soxr', 'soundfile', 'tensorflow-datasets')
      },
    )
