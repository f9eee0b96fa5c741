"""Adversarial clips as files: written, read back, judged again, and measured.

The sweep judges what saving does to a clip inside its compiled function; here
real files pass through the writer and the one reader.
"""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, input_pipeline, preemption, quality, storage
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import engine, problem, work

QUALITY_COLUMNS = (
  'seed',
  'source',
  'attack',
  'mask',
  'epsilon_given',
  'id',
  'snr_db',
  'segmental_snr_db',
  'log_spectral_distance_db',
  'stoi',
  'pesq',
)
_SUBTYPES = {'float32': 'FLOAT', 'int16': 'PCM_16'}


def write(
  sweep: work.Sweep,
  num_examples: int,
  epsilon: str | float,
  epsilon_of_features: float,
) -> list[dict[str, Any]]:
  """Writes clips of every attack as float32 and 16-bit WAV and judges them.

  Args:
    sweep: Its work must be complete. Of its cells those without a transform,
      of each source's first seed and first mask, are written.
    num_examples: Clips, evenly spread over the split; -1 for all.
    epsilon: How strongly they are attacked; see `audio.parse_epsilon`.
    epsilon_of_features: The same for attacks on features, in their unit.

  Returns:
    For each clip and attack its `id`, names, the files `original`,
    `adversarial` (16 bit) and `adversarial_float32`, the label, and what the
    source said of the clean clip, of the adversarial one in memory, and of each
    file read back.
  """
  rows = input_pipeline.spread_rows(len(sweep.split), num_examples)
  some = input_pipeline.subset(sweep.split, rows)
  folder = os.path.join(sweep.folder, 'audio')
  storage.make_folder(folder)
  entries: list[dict[str, Any]] = []
  if not len(some):
    return entries
  clean = np.asarray(audio.from_pcm(jnp.asarray(some.pcm)))
  for cell in _listened_to(sweep):
    preemption.check_alone()
    source = sweep.members[cell.source]
    classes = source.classifier.metadata['classes']
    unit = sweep.attacks[cell.attack].unit
    (strength,) = cells_lib.parse_epsilons(
      [epsilon_of_features if unit else epsilon], unit
    )
    perturbed = make(sweep, cell, rows, strength)
    answer = _answers(source)
    for i, utterance_id in enumerate(some.ids):
      recorded = slice(*some.spans[i])
      # The numbers tell the files apart, the names are for who lists them.
      clip = f'{i:03d}-{utterance_id}'
      made = f'{clip}-cell-{sweep.cells.index(cell):04d}-{cell.attack}'
      files = {
        'original': f'{clip}-original.wav',
        'adversarial': f'{made}.wav',
        'adversarial_float32': f'{made}-float.wav',
      }

      def heard_from(kind, files=files):
        return audio.read_as_heard(os.path.join(folder, files[kind]))

      for kind, clips, subtype in (
        ('original', clean, 'PCM_16'),
        ('adversarial', perturbed, 'PCM_16'),
        ('adversarial_float32', perturbed, 'FLOAT'),
      ):
        # The padding is attacked too: all of the clip is the example.
        part = recorded if kind == 'original' else slice(None)
        audio.save(os.path.join(folder, files[kind]), clips[i, part], subtype)
      heard = {
        'clean': clean[i],
        'memory': perturbed[i],
        'int16': heard_from('adversarial'),
        'float32': heard_from('adversarial_float32'),
      }
      entries.append(
        {
          'id': str(utterance_id),
          'source': source.name,
          'seed': source.seed,
          'attack': cell.attack,
          'epsilon': strength.text,
          **files,
          'label': classes[source.labels[rows[i]]],
          **{f'said_{k}': classes[answer(x)] for k, x in heard.items()},
        }
      )
  return entries


def make(
  sweep: work.Sweep,
  cell: cells_lib.Cell,
  rows: np.ndarray,
  epsilon: audio.Epsilon,
) -> np.ndarray:
  """Returns a cell's adversarial clips of some rows, [num_rows, time].

  A learnt direction is that of the sweep's epsilon nearest to this one.
  """
  source = sweep.members[cell.source]
  some = input_pipeline.subset(sweep.split, rows)
  fitted = work.fitted(sweep, cell)
  if fitted is not None:
    rms = problem.signal_rms(some.pcm, some.spans)
    size = [float(np.mean(e.radii(rms))) for e in cell.epsilons]
    wanted = float(np.mean(epsilon.radii(rms)))
    fitted = fitted[int(np.abs(np.array(size) - wanted).argmin())]
  return engine.attacked_clips(
    cell,
    dataclasses.replace(source, labels=source.labels[rows]),
    some,
    sweep.attacks[cell.attack],
    sweep.settings,
    epsilon,
    fitted,
  )


def _listened_to(sweep):
  """Returns the plain cells of each source's first seed and first mask."""
  first: dict[str, tuple[int, str]] = {}
  for cell in sweep.cells:
    source = sweep.members[cell.source]
    first.setdefault(source.name, (source.seed, cell.mask))
  return [
    cell
    for cell in sweep.cells
    if cell.is_plain
    and first[sweep.members[cell.source].name]
    == (sweep.members[cell.source].seed, cell.mask)
  ]


def _answers(member):
  variables = jax.device_get(member.classifier.variables)
  model = member.classifier.model
  logits_fn = jax.jit(lambda x: model.apply(variables, x, train=False))
  return lambda clip: int(np.argmax(logits_fn(clip[None])[0]))


def quality_rows(
  sweep: work.Sweep, num_clips: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
  """Returns how attacked clips sound, a row a (attack, epsilon, clip).

  Signal-to-noise ratios, log-spectral distance, STOI, and PESQ where it is
  installed, over recorded samples, of clips evenly spread over the split.

  Args:
    sweep: Its work must be complete.
    num_clips: How many clips; -1 for all.

  Returns:
    The rows, by QUALITY_COLUMNS, '' where a measure is not defined; and for
    each measure how often it was not.
  """
  chosen = input_pipeline.spread_rows(len(sweep.split), num_clips)
  some = input_pipeline.subset(sweep.split, chosen)
  rows: list[dict[str, Any]] = []
  undefined = {'stoi': 0} | ({'pesq': 0} if quality.has_pesq() else {})
  if not len(some):
    return rows, undefined
  clean = np.asarray(audio.from_pcm(jnp.asarray(some.pcm)))
  first, end = some.spans[..., None].swapaxes(0, 1)
  time = np.arange(clean.shape[1])
  recorded = (first <= time) & (time < end)
  for cell in _listened_to(sweep):
    judged = work.judgements(sweep, cell)
    source = sweep.members[cell.source]
    for e, epsilon in enumerate(cell.epsilons):
      perturbed = make(sweep, cell, chosen, epsilon)
      heard = {'pesq': [''] * len(some)}
      for name in undefined:
        scores = getattr(quality, name)(clean, perturbed, recorded)
        undefined[name] += scores.num_undefined
        heard[name] = ['' if v is None else v for v in scores.values]
      for i, utterance_id in enumerate(some.ids):
        at = chosen[i]
        rows.append(
          {
            'seed': source.seed,
            'source': source.name,
            'attack': cell.attack,
            'mask': cell.mask,
            'epsilon_given': epsilon.text,
            'id': str(utterance_id),
            'snr_db': float(judged.snr_db[e, 0, at]),
            'segmental_snr_db': float(judged.segmental_snr_db[e, at]),
            'log_spectral_distance_db': float(
              judged.log_spectral_distance_db[e, at]
            ),
            **{name: values[i] for name, values in heard.items()},
          }
        )
  return rows, undefined
