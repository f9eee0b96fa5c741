"""Adversarial clips as files: written, read back, and judged again.

The sweep judges what saving does to a clip inside its compiled function; here
real files pass through the writer and the one reader.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, input_pipeline, preemption, registry, storage
from advspeech.sweep import parts, planning
from advspeech.sweep.attacked import attacked_rows, shown_attacks


def write_examples(
  sweep: parts.Sweep,
  num_examples: int,
  epsilon: str | float,
  epsilon_of_features: float,
) -> list[dict[str, Any]]:
  """Writes clips of every attack as float32 and 16-bit WAV and judges them.

  Args:
    sweep: All of its parts must be there. Of its plan those without a
      transform, of each source's first seed and first mask, are written.
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
  for planned in shown_attacks(sweep):
    preemption.check_alone()
    source = sweep.members[planned.source]
    classes = source.classifier.metadata['classes']
    unit = sweep.attacks[planned.attack].unit
    (strength,) = planning.parse_epsilons(
      [epsilon_of_features if unit else epsilon], unit, masking=not unit
    )
    perturbed = attacked_rows(sweep, planned, rows, strength)
    answer = _answers(source)
    for i, utterance_id in enumerate(some.ids):
      recorded = slice(*some.spans[i])
      # The numbers tell the files apart, the names are for who lists them.
      clip = f'{i:03d}-{utterance_id}'
      attack = registry.short_name(planned.attack)
      stem = f'{clip}-attack-{sweep.plan.index(planned):04d}-{attack}'
      files = {
        'original': f'{clip}-original.wav',
        'adversarial': f'{stem}.wav',
        'adversarial_float32': f'{stem}-float.wav',
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
          'attack': planned.attack,
          'epsilon': strength.text,
          **files,
          'label': classes[source.labels[rows[i]]],
          **{f'said_{k}': classes[answer(x)] for k, x in heard.items()},
        }
      )
  return entries


def _answers(member):
  variables = jax.device_get(member.classifier.variables)
  model = member.classifier.model
  logits_fn = jax.jit(lambda x: model.apply(variables, x, train=False))
  return lambda clip: int(np.argmax(logits_fn(clip[None])[0]))
