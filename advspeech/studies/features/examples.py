"""Clips to listen to: original, end to end, and rebuilt from features."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from advspeech import audio, checkpoint, input_pipeline, parallel, storage
from advspeech.attacks import feature_level
from advspeech.studies.features.engine import arrays, compile_steps
from advspeech.studies.features.settings import WAVEFORM, Settings, Variant


def write_examples(
  folder: str,
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  rows: Sequence[Mapping[str, Any]],
  source: str,
  settings: Settings,
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
    settings: What was tried.
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
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  variables = jax.device_put(
    jax.device_get(classifier.variables), jax.devices()[0]
  )
  entries = []
  for number, utterance_id in enumerate(split.ids):
    best = fooled.get(str(utterance_id), {})
    if not all(v in best for v in shown.values()):
      continue
    if len({entry['id'] for entry in entries}) == num_examples:
      break
    one = input_pipeline.Split(
      *(
        getattr(split, f.name)[number : number + 1]
        for f in dataclasses.fields(split)
      )
    )
    batch = arrays(next(input_pipeline.batches(one, 1, mesh)))
    sounds = {'original': (batch['audio'], float('inf'), best[shown['mfcc']])}
    for kind, variant in shown.items():
      row = best[variant]
      steps = compile_steps(classifier.model, variant.representation, settings)
      prepared = steps.prepare(variables, batch, variant.through)
      change = feature_level.fgsm_change(
        prepared, jnp.full(1, row['epsilon'], jnp.float32)
      )
      found = steps.rebuild(batch, prepared, change)
      sounds[kind] = found, row['overall_snr_db'], row
      if kind == 'mfcc':
        lost = row['conversion_snr_db']
        sounds['mfcc-unperturbed'] = prepared.unperturbed, lost, row
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
