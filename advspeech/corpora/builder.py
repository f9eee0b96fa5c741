"""What every corpus is on disk: a TFDS data set of int16 clips at 16 kHz.

A corpus is one TFDS split, `clips`, in ArrayRecord; who trains on what is for
`tasks` to say. Neither writing nor reading imports TensorFlow. TFDS writes
into a folder of another name and renames it at the end, so a data set that was
interrupted is never taken for a whole one. An index beside the clips says all
but their sound, so that who reads some of them need not read the others.
"""

import abc
import collections
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from advspeech import audio, errors, preemption, progress
from advspeech.corpora import clip_warnings, records, shards

logger = logging.getLogger(__name__)

SPLIT = 'clips'
# How the data set was made, and what is in it clip by clip, beside its files.
RECORD = 'preparation.json'
INDEX = 'clips.npz'
version = tfds.core.Version


class SpeechBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """Writes utterances; a corpus says only where they come from."""

  DESCRIPTION = ''

  @abc.abstractmethod
  def utterances(self) -> Iterator[records.Utterance | records.Skipped]:
    """Yields every clip of the corpus once, in a fixed order."""

  @abc.abstractmethod
  def num_utterances(self) -> int:
    """Returns how many items `utterances` yields."""

  def source(self) -> dict[str, str]:
    """Returns what the data set depends on besides the builder's version."""
    return {}

  def summary(self, clips: list[clip_warnings.Clip]) -> list[str]:
    """Returns a summary of the corpus, a line each."""
    seconds = [clip.seconds for clip in clips]
    speakers = {clip.speaker for clip in clips} - {''}
    lines = [
      f'{self.name}: {len(clips)} clips, {sum(seconds) / 60:.1f} minutes, '
      f'{min(seconds):.2f} to {max(seconds):.2f} s each, '
      f'{len(speakers) or "unknown"} speakers'
    ]
    for column in ('label', 'emotion', 'sex', 'session', 'split'):
      totals = collections.defaultdict(list)
      for clip in clips:
        totals[clip.columns[column]].append(clip.seconds)
      if set(totals) != {''}:
        each = (
          f'{value or "(none)"} {len(times)} ({sum(times) / 60:.1f} min)'
          for value, times in sorted(totals.items())
        )
        lines.append(f'{column}: {", ".join(each)}')
    return lines

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
          **{column: tfds.features.Text() for column in records.COLUMNS},
        }
      ),
    )

  def _generate_splits(self, dl_manager, download_config):
    del download_config
    files = shards.Shards(
      self.info.features, self._get_filename_template(split_name=SPLIT)
    )
    examples = self._split_generators(dl_manager)[SPLIT]
    files.write(example for _, example in examples)
    # The folder has its other name yet: the index comes with the data.
    files.write_index(epath.Path(self.data_dir) / INDEX)
    return [files.split_info()]

  def _split_generators(self, dl_manager):
    del dl_manager
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self):
    # Before the files are read: who is replaced meanwhile is read again.
    source = self.source()
    clips, skipped = [], []
    for item in progress.track(
      self.utterances(),
      f'preparing {self.name}',
      self.num_utterances(),
      'clip',
    ):
      preemption.check_alone()
      if isinstance(item, records.Skipped):
        if len(skipped) < clip_warnings.NAMED:
          logger.warning('skipped %s: %s', item.name, item.reason)
        skipped.append(item)
        continue
      clips.append(clip_warnings.Clip.of(item))
      yield item.id, item._asdict()
    if not clips:
      raise errors.InputError(
        f'every recording of {self.name} was skipped; '
        'check that the folder holds the corpus'
      )
    # The folder has its other name yet: the record comes with the data.
    path = epath.Path(self.data_dir) / RECORD
    path.write_text(json.dumps(self._record(source, clips, skipped), indent=2))

  def _record(self, source, clips, skipped):
    import soundfile

    ids = sorted(clip.id for clip in clips)
    return {
      'corpus': self.name,
      'version': str(self.version),
      **source,
      'num_clips': len(clips),
      'seconds': sum(clip.seconds for clip in clips),
      'sample_rate_hz': audio.SAMPLE_RATE_HZ,
      'ids_sha256': hashlib.sha256('\n'.join(ids).encode()).hexdigest(),
      'skipped': [item._asdict() for item in skipped],
      'summary': self.summary(clips),
      'warnings': clip_warnings.warnings(clips),
      'silent': [clip.id for clip in clips if clip.is_silent],
      'clipped': {
        clip.id: clip.share_at_full_scale for clip in clips if clip.is_clipped
      },
      'versions': {
        'libsndfile': soundfile.__libsndfile_version__,
        **{
          name: importlib.metadata.version(name)
          for name in ('soxr', 'soundfile', 'tensorflow-datasets')
        },
      },
    }
