"""Clips to listen to: original, end to end, and rebuilt from features."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from advspeech import (
  audio,
  checkpoint,
  input_pipeline,
  over_clips,
  parallel,
  storage,
)
from advspeech.attacks import feature_level
from advspeech.studies.features import attack
from advspeech.studies.features.settings import WAVEFORM, Variant


class Rebuilding(NamedTuple):
  """FGSM on features, as sound; a function for `over_clips.map_clips`."""

  model: nn.Module
  variant: Variant

  def __call__(
    self, variables: Any, rows: dict[str, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    """Returns clips rebuilt without and with FGSM, [chunk, time] each.

    Args:
      variables: The model's.
      rows: The clips, with the column `radius` [chunk].
    """
    problem = attack.posed(self.model, variables, self.variant, rows)
    prepared = feature_level.prepare(problem)
    change = feature_level.fgsm_change(prepared, rows['radius'])
    found = feature_level.rebuild(problem, prepared, change)
    return prepared.unperturbed, found


def write_examples(
  folder: str,
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  rows: Sequence[Mapping[str, Any]],
  source: str,
  num_examples: int = 2,
) -> list[dict[str, Any]]:
  """Writes clips that every attack shown fools, as 16-bit WAV files.

  Of each attack the quietest that does, among the budgets tried; clips that
  some attack cannot fool are passed over, and fewer are written then.

  Args:
    folder: Where the files go.
    classifier: The model attacked.
    split: Clips.
    rows: By CLIP_COLUMNS, of this model's seed.
    source: Its name.
    num_examples: Clips wanted.

  Returns:
    For each file its `file` name, `id`, `kind`, `snr_db` and `prediction`.
  """
  storage.make_folder(folder)
  shown = {
    'end-to-end': Variant(WAVEFORM, 'fgsm', 'waveform'),
    'spectrogram': Variant('spectrogram_original', 'fgsm', 'waveform'),
    'mfcc': Variant('mfcc13_griffin_lim', 'fgsm', 'features'),
  }
  fooled = {}
  for row in rows:
    variant = Variant(*(row[key] for key in Variant._fields))
    right = row['clean_prediction'] == row['unperturbed_prediction']
    if (
      row['target'] == source
      and row['attainable']
      and row['epsilon'] > 0
      and right
      and row['clean_prediction'] == row['label']
      and row['label'] not in (row['prediction'], row['prediction_int16'])
    ):
      best = fooled.setdefault(row['id'], {}).get(variant)
      if best is None or row['overall_snr_db'] > best['overall_snr_db']:
        fooled[row['id']][variant] = row
  mesh = parallel.own_mesh()
  variables = parallel.bring(classifier.variables, mesh)
  entries = []
  for number, utterance_id in enumerate(split.ids):
    best = fooled.get(str(utterance_id), {})
    if not all(v in best for v in shown.values()):
      continue
    if len({entry['id'] for entry in entries}) == num_examples:
      break
    one = input_pipeline.subset(split, np.array([number]))
    clip, _ = input_pipeline.decode(one.pcm, one.spans)
    sounds = {'original': (clip, float('inf'), best[shown['mfcc']])}
    for kind, variant in shown.items():
      row = best[variant]
      unperturbed, found = over_clips.map_clips(
        Rebuilding(classifier.model, variant),
        one,
        mesh,
        1,
        shared=variables,
        columns={'radius': np.array([row['epsilon']], np.float32)},
      )
      sounds[kind] = found, row['overall_snr_db'], row
      if kind == 'mfcc':
        lost = row['conversion_snr_db']
        sounds['mfcc-unperturbed'] = unperturbed, lost, row
    for kind, (sound, snr_db, row) in sounds.items():
      name = f'{utterance_id}-{kind}.wav'
      recorded = slice(*split.spans[number])
      audio.save(os.path.join(folder, name), sound[0, recorded], 'PCM_16')
      answer = 'prediction_int16' if kind in shown else 'clean_prediction'
      entries.append(
        {
          'file': name,
          'id': str(utterance_id),
          'kind': kind,
          'snr_db': snr_db,
          'prediction': row[answer],
        }
      )
  return entries
