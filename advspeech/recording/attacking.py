"""One recording against one trained classifier: sounds, a table, a figure."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  errors,
  figures,
  input_pipeline,
  parallel,
  preemption,
  recording_figure,
  registry,
  storage,
  sweep,
)
from advspeech.recording import hearing
from advspeech.recording import output as output_lib

logger = logging.getLogger(__name__)

COLUMNS = (
  *sweep.EPSILON_COLUMNS,
  'snr_db',
  'leaves',
  'label_probability',
  # Answers: to the clip in memory, to its files, and to its noise controls.
  *sweep.FORMATS,
  *sweep.CONTROLS,
  'file',
)
_NUM_STEPS, _NUM_QUERIES = 40, 1000


def attack(
  checkpoint_dir: str,
  path: str,
  epsilons: Sequence[str | float],
  output: str,
  *,
  attack_name: str = 'fgsm',
  target: str | None = None,
  label: str | None = None,
  mask: str = 'recorded',
  channels: str | None = None,
  seed: int = 0,
) -> list[dict[str, Any]]:
  """Attacks a recording at every epsilon; returns and writes its table.

  Writes `original.wav`, adversarial WAVs of 16 bit and of float32 for each
  epsilon, `answers.csv` and `answers.png`/`.svg` into `output`; the files are
  read back and answered again. They hold the recording, or the whole clip
  where padding was moved. The recording lies in its clip as those did that the
  model was trained on. What is longer than the clip is not heard by it and is
  left out.

  The folder is one attack's: another's, and what others put there, is not
  touched. The same again replaces its own files, at other epsilons too.

  Args:
    checkpoint_dir: Folder of a trained model.
    path: A recording in any format that libsndfile reads.
    epsilons: Numbers or text with a unit; see `audio.parse_epsilon`. For an
      attack on features numbers in their unit.
    output: Folder to write to, such as `output_folder` names.
    attack_name: As a sweep names it, but for the universal ones.
    target: Class to reach; None to leave the label.
    label: True class; None for the model's own answer (paper, eq. 1).
    mask: What may be touched, as in `config.sweep.masks`.
    channels: 'mean' of the recording's, or the number of one; None for what
      the model was trained on, by its run's `config.json`.
    seed: Of everything random.

  Raises:
    errors.InputError: If a name is unknown, a file cannot be read, or `output`
      holds something else.
  """
  identity = output_lib.identity(
    checkpoint_dir, path, attack_name, target, label, mask, channels, seed
  )
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  classifier = checkpoint.load_classifier(checkpoint_dir, mesh=mesh)
  classes = classifier.metadata['classes']
  for what, name in (('--target', target), ('--label', label)):
    if name is not None and name not in classes:
      raise errors.InputError(
        f'{what} must be one of {", ".join(classes)}, got {name!r}'
      )
  resolved = attack_by_name(attack_name, targeted=target is not None)
  parsed = sweep.parse_epsilons(
    epsilons, resolved.unit, masking=not resolved.unit
  )
  sweep.check_ceiling(attack_name, resolved, parsed)
  shape = audio.ClipShape(
    classifier.metadata['clip_samples'], **classifier.metadata['clip']
  )
  sweep.check_mask(resolved, mask, shape.num_samples)
  names = output_lib.names(attack_name, parsed)
  output_lib.check(output, identity, names)
  heard = audio.load_clip(
    path, shape, hearing.channels(checkpoint_dir, path, channels)
  )
  start, count = heard.start, heard.num_samples
  split = input_pipeline.Split(
    ids=np.array([os.path.basename(path)]),
    pcm=heard.pcm[None],
    num_samples=np.array([count]),
    labels=np.zeros(1, np.int32),
    starts=np.array([start]),
  )
  if not sweep.num_touched(mask, split).any():
    raise errors.InputError(
      f'mask {mask} leaves no sample of {path} to attack, of which the model '
      f'hears {count / audio.SAMPLE_RATE_HZ:.2f} s; name another with --mask'
    )
  recorded = slice(start, start + count)
  hearing.warn(path, heard, shape.cut)
  probabilities_fn = jax.jit(lambda x: jax.nn.softmax(classifier.logits_fn(x)))
  clean = np.asarray(audio.from_pcm(jnp.asarray(split.pcm)))[0]
  probabilities = np.asarray(probabilities_fn(clean[None])[0])
  leaves = '' if target else 'own answer' if label is None else 'label'
  if label is None:
    label = classes[int(probabilities.argmax())]

  def column(name):
    return np.array([classes.index(name)], np.int32)

  member = sweep.Member(
    checkpoint_dir,
    seed,
    classifier,
    labels=column(label),
    wanted=column(target) if target else None,
  )
  planned = sweep.PlannedAttack(0, attack_name, mask, '', False, parsed)
  settings = sweep.Settings(
    bounds=(0.0, 1.0), repair=False, memory_mb=2048, batch_size=1, mesh=mesh
  )
  judged = sweep.judge(planned, [member], split, resolved, settings)
  answers = dict(
    zip(
      sweep.variants(planned, settings), judged.predictions.T[0, 0], strict=True
    )
  )
  output_lib.claim(output, identity, names)
  audio.save(
    os.path.join(output, output_lib.ORIGINAL), clean[recorded], 'PCM_16'
  )
  levels = sweep.levels(split.pcm, split.spans, parsed)
  rows, clips = [], []
  for e, epsilon in enumerate(parsed):
    preemption.check_alone()
    perturbed = sweep.attacked_clips(
      planned, member, split, resolved, settings, epsilon
    )[0]
    clips.append(perturbed)
    name = output_lib.sound(attack_name, epsilon)
    moved = perturbed != clean
    moved[recorded] = False
    part = slice(None) if moved.any() else recorded
    said_of = {
      kind: classes[int(probabilities_fn(played[None])[0].argmax())]
      for kind, played in output_lib.write_sounds(
        os.path.join(output, name), perturbed, clean, part
      ).items()
    }
    probabilities = np.asarray(probabilities_fn(perturbed[None])[0])
    rows.append(
      {
        **sweep.epsilon_columns(epsilon, *levels),
        'snr_db': float(judged.snr_db[e, 0, 0]),
        'leaves': leaves,
        'label_probability': float(probabilities[classes.index(label)]),
        **{name: classes[answers[name][e]] for name in answers},
        **said_of,
        'file': f'{name}.wav',
      }
    )
  is_asked = any(row['epsilon'] > 0 for row in rows)
  if is_asked and not any(np.any(clip != clean) for clip in clips):
    logger.warning(
      'no sample moved at any epsilon: the gradient is zero where the model is '
      'too sure of itself, or the mask leaves nothing; try '
      '--attack=apgd_margin or another mask'
    )
  storage.write_table(os.path.join(output, output_lib.TABLE), COLUMNS, rows)
  broken = [i for i, row in enumerate(rows) if row['memory'] != label]
  shown = broken[0] if broken else len(rows) - 1
  figures.save(
    recording_figure.attacked_recording(
      clean[recorded],
      clips[shown][recorded],
      rows,
      rows[shown],
      recording_figure.Answer(
        'label_probability', f'probability of {figures.plain(label)}', (0, 1)
      ),
    ),
    os.path.join(output, output_lib.FIGURE),
  )
  return rows


def attack_by_name(name: str, *, targeted: bool) -> attacks.Attack:
  """Returns an attack on one recording by name.

  Args:
    name: As a sweep names it, but for the universal ones.
    targeted: Whether in its targeted form.

  Raises:
    errors.InputError: If it is unknown, or is learnt on other clips.
  """
  suffix = '-targeted' if targeted else ''
  names = [n for n in attacks.names() if not n.startswith('universal')]
  if not registry.is_own(name):
    registry.resolve('--attack', name, dict.fromkeys(names))
  return sweep.attack_by_name(
    name.removesuffix('-targeted') + suffix,
    num_steps=_NUM_STEPS,
    num_restarts=1,
    num_queries=_NUM_QUERIES,
  )
