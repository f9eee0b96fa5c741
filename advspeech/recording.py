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
  features,
  figures,
  input_pipeline,
  parallel,
  storage,
  sweep,
)

logger = logging.getLogger(__name__)

COLUMNS = (
  *sweep.EPSILON_COLUMNS,
  'snr_db',
  'label_probability',
  # Answers: to the clip in memory, to its files, and to its noise controls.
  *sweep.FORMATS,
  *sweep.CONTROLS,
  'file',
)
_NUM_STEPS, _NUM_QUERIES = 40, 1000
# What a model hears of a longer recording, by `cut`.
_KEPT = {'start': 'first', 'center': 'middle'}


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
  seed: int = 0,
) -> list[dict[str, Any]]:
  """Attacks a recording at every epsilon; returns and writes its table.

  Writes `original.wav`, adversarial WAVs of 16 bit and of float32 for each
  epsilon, `answers.csv` and `answers.png`/`.svg` into `output`; the files are
  read back and answered again. They hold the recording, or the whole clip
  where padding was moved. The recording lies in its clip as those did that the
  model was trained on. What is longer than the clip is not heard by it and is
  left out.

  Args:
    checkpoint_dir: Folder of a trained model.
    path: A recording in any format that libsndfile reads.
    epsilons: Numbers or text with a unit; see `audio.parse_epsilon`. For an
      attack on features numbers in their unit.
    output: Folder to write to.
    attack_name: One of `attacks.names()`, but for the universal ones.
    target: Class to reach; None to leave the label.
    label: True class; None for the model's own answer (paper, eq. 1).
    mask: What may be touched, as in `config.sweep.masks`.
    seed: Of everything random.

  Raises:
    errors.InputError: If a name is unknown or a file cannot be read.
  """
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  classifier = checkpoint.load_classifier(checkpoint_dir, mesh=mesh)
  classes = classifier.metadata['classes']
  for what, name in (('--target', target), ('--label', label)):
    if name is not None and name not in classes:
      raise errors.InputError(
        f'{what} must be one of {", ".join(classes)}, got {name!r}'
      )
  made = _attack(attack_name, targeted=target is not None)
  parsed = sweep.parse_epsilons(epsilons, made.unit)
  sweep.check_mask(made, mask)
  shape = audio.ClipShape(
    classifier.metadata['clip_samples'], **classifier.metadata['clip']
  )
  pcm = audio.load(path)
  start, count = shape.span(len(pcm))
  split = input_pipeline.Split(
    ids=np.array([os.path.basename(path)]),
    pcm=shape.clip(pcm)[None],
    num_samples=np.array([count]),
    labels=np.zeros(1, np.int32),
    starts=np.array([start]),
  )
  recorded = slice(start, start + count)
  if count < len(pcm):
    logger.warning(
      '%s lasts %.2f s, the model hears the %s %.2f s; the rest is left out',
      path,
      len(pcm) / audio.SAMPLE_RATE_HZ,
      _KEPT[shape.cut],
      count / audio.SAMPLE_RATE_HZ,
    )
  probabilities_fn = jax.jit(lambda x: jax.nn.softmax(classifier.logits_fn(x)))
  clean = np.asarray(audio.from_pcm(jnp.asarray(split.pcm)))[0]
  said = np.asarray(probabilities_fn(clean[None])[0])
  if label is None:
    label = classes[int(said.argmax())]

  def column(name):
    return np.array([classes.index(name)], np.int32)

  member = sweep.Member(
    checkpoint_dir,
    seed,
    classifier,
    labels=column(label),
    wanted=column(target) if target else None,
  )
  cell = sweep.Cell(0, attack_name, mask, '', False, parsed)
  settings = sweep.Settings(
    bounds=(0.0, 1.0), repair=False, memory_mb=2048, batch_size=1, mesh=mesh
  )
  judged = sweep.judge(cell, [member], split, made, settings)
  answers = dict(
    zip(sweep.variants(cell, settings), judged.predictions.T[0, 0], strict=True)
  )
  os.makedirs(output, exist_ok=True)
  audio.save(os.path.join(output, 'original.wav'), clean[recorded], 'PCM_16')
  rms = sweep.signal_rms(split.pcm, split.spans)
  rows, clips = [], []
  for e, epsilon in enumerate(parsed):
    perturbed = sweep.attacked_clips(
      cell, member, split, made, settings, epsilon
    )[0]
    clips.append(perturbed)
    name = f'{attack_name}-{epsilon.text}'
    moved = perturbed != clean
    moved[recorded] = False
    part = slice(None) if moved.any() else recorded
    said_of = {}
    for kind, suffix, subtype in (
      ('int16', '', 'PCM_16'),
      ('float32', '-float32', 'FLOAT'),
    ):
      saved = os.path.join(output, f'{name}{suffix}.wav')
      audio.save(saved, perturbed[part], subtype)
      heard = clean.copy()
      heard[part] = audio.read_as_heard(saved)
      said_of[kind] = classes[int(probabilities_fn(heard[None])[0].argmax())]
    probabilities = np.asarray(probabilities_fn(perturbed[None])[0])
    rows.append(
      {
        **sweep.epsilon_columns(epsilon, rms),
        'snr_db': float(judged.snr_db[e, 0, 0]),
        'label_probability': float(probabilities[classes.index(label)]),
        **{name: classes[answers[name][e]] for name in answers},
        **said_of,
        'file': f'{name}.wav',
      }
    )
  if not any(np.any(clip != clean) for clip in clips):
    logger.warning(
      'no sample moved at any epsilon: the gradient is zero where the model is '
      'too sure of itself, or the mask leaves nothing; try '
      '--attack=apgd_margin or another mask'
    )
  storage.write_table(os.path.join(output, 'answers.csv'), COLUMNS, rows)
  broken = [i for i, row in enumerate(rows) if row['memory'] != label]
  shown = broken[0] if broken else len(rows) - 1
  figures.save(
    figures.attacked_recording(
      clean[recorded], clips[shown][recorded], rows, rows[shown], label
    ),
    os.path.join(output, 'answers'),
  )
  return rows


def _attack(name, *, targeted):
  """Returns an attack by name, in its targeted form if asked.

  Raises:
    errors.InputError: If it is unknown, or is learnt on other clips.
  """
  suffix = '-targeted' if targeted else ''
  names = [n for n in attacks.names() if not n.startswith('universal')]
  if name not in names:
    raise errors.InputError(
      f'--attack must be one of {", ".join(names)}, got {name!r}'
    )
  return attacks.make(
    name.removesuffix('-targeted') + suffix,
    num_steps=_NUM_STEPS,
    num_restarts=1,
    num_queries=_NUM_QUERIES,
    representations=features.for_attacks(),
  )


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
  """Returns the table of `attack` for a console."""
  lines = [
    f'{"epsilon":>10} {"LSB":>8} {"SNR, dB":>8}  {"attacked":<12} '
    f'{"16-bit file":<12} {"random sign":<12}'
  ]
  for row in rows:
    lsb = row['epsilon_lsb']
    steps = lsb if lsb == '' else f'{lsb:.1f}'
    lines.append(
      f'{row["epsilon_given"]:>10} {steps:>8} '
      f'{row["snr_db"]:>8.1f}  {row["memory"]:<12} {row["int16"]:<12} '
      f'{row["random_sign"]:<12}'
    )
  return '\n'.join(lines)
