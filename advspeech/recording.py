"""One recording against one trained classifier: sounds, a table, a figure."""

import hashlib
import json
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
  decoding,
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
# Which attack a folder is of, and its files in it.
FILE = 'attack.json'
_TABLE, _FIGURE, _ORIGINAL = 'answers.csv', 'answers', 'original.wav'
# Bytes of a recording's name in that of a folder; file systems allow 255.
_LONGEST = 100
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
  identity = _settings(
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
  made = _attack(attack_name, targeted=target is not None)
  parsed = sweep.parse_epsilons(epsilons, made.unit)
  shape = audio.ClipShape(
    classifier.metadata['clip_samples'], **classifier.metadata['clip']
  )
  sweep.check_mask(made, mask, shape.num_samples)
  names = _names(attack_name, parsed)
  _check_output(output, identity, names)
  heard = audio.load_clip(
    path, shape, _channels(checkpoint_dir, path, channels)
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
  _warn(path, heard, _KEPT[shape.cut])
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
  _claim_output(output, identity, names)
  audio.save(os.path.join(output, _ORIGINAL), clean[recorded], 'PCM_16')
  rms = sweep.signal_rms(split.pcm, split.spans)
  rows, clips = [], []
  for e, epsilon in enumerate(parsed):
    preemption.check_alone()
    perturbed = sweep.attacked_clips(
      cell, member, split, made, settings, epsilon
    )[0]
    clips.append(perturbed)
    name = _sound(attack_name, epsilon)
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
      played = clean.copy()
      played[part] = audio.read_as_heard(saved)
      said_of[kind] = classes[int(probabilities_fn(played[None])[0].argmax())]
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
  is_asked = any(row['epsilon'] > 0 for row in rows)
  if is_asked and not any(np.any(clip != clean) for clip in clips):
    logger.warning(
      'no sample moved at any epsilon: the gradient is zero where the model is '
      'too sure of itself, or the mask leaves nothing; try '
      '--attack=apgd_margin or another mask'
    )
  storage.write_table(os.path.join(output, _TABLE), COLUMNS, rows)
  broken = [i for i, row in enumerate(rows) if row['memory'] != label]
  shown = broken[0] if broken else len(rows) - 1
  figures.save(
    recording_figure.attacked_recording(
      clean[recorded], clips[shown][recorded], rows, rows[shown], label
    ),
    os.path.join(output, _FIGURE),
  )
  return rows


def output_folder(
  checkpoint_dir: str,
  path: str,
  *,
  attack_name: str = 'fgsm',
  target: str | None = None,
  label: str | None = None,
  mask: str = 'recorded',
  channels: str | None = None,
  seed: int = 0,
) -> str:
  """Returns a folder that no other attack has, `attacked/<recording>-<hash>`.

  The arguments are those of `attack`.
  """
  settings = _settings(
    checkpoint_dir, path, attack_name, target, label, mask, channels, seed
  )
  return os.path.join('attacked', _folder_name(settings))


def _settings(
  checkpoint_dir, path, attack_name, target, label, mask, channels, seed
):
  """Returns what makes an attack another one; epsilons do not."""
  return {
    'recording': storage.canonical(path),
    'checkpoint': storage.canonical(checkpoint_dir),
    'attack': attack_name,
    'target': target,
    'label': label,
    'mask': mask,
    'channels': channels,
    'seed': seed,
  }


def _folder_name(settings):
  stem = os.path.splitext(os.path.basename(settings['recording']))[0]
  readable = os.fsencode(stem)[:_LONGEST].decode(errors='ignore')
  text = json.dumps(settings, sort_keys=True)
  return f'{readable}-{hashlib.sha256(text.encode()).hexdigest()[:10]}'


def _sound(attack_name, epsilon):
  """Returns what the sounds of an attack at an epsilon are named after."""
  return f'{registry.short_name(attack_name)}-{epsilon.text}'


def _names(attack_name, parsed):
  """Returns the names of every file that an attack writes."""
  sounds = [
    f'{_sound(attack_name, epsilon)}{kind}.wav'
    for epsilon in parsed
    for kind in ('', '-float32')
  ]
  figure = [f'{_FIGURE}.{suffix}' for suffix in ('png', 'svg')]
  return [FILE, _ORIGINAL, *sounds, _TABLE, *figure]


def _check_output(output, settings, names):
  """Refuses a folder with anything else in it; returns what is this attack's.

  Raises:
    errors.InputError: If there is anything else.
  """
  other = os.path.join(output, _folder_name(settings))
  if storage.exists(output) and not storage.is_folder(output):
    raise errors.InputError(
      f'--output={output} is a file; name a folder, such as {output}-attacked'
    )
  there = [name for name in storage.names(output) if not name.startswith('.')]
  own = []
  path = os.path.join(output, FILE)
  # It may be somebody else's file of that name.
  record = {}
  if storage.exists(path):
    record = storage.read_json(path, kind=object)
  if isinstance(record, dict) and {'settings', 'files'} <= record.keys():
    made = record['settings']
    if made != settings:
      raise errors.InputError(
        f'{output} holds the attack {made["attack"]} on {made["recording"]}, '
        f'made with other settings ({FILE}); choose another folder, such as '
        f'--output={other}'
      )
    own = [os.path.basename(name) for name in record['files']]
    there = [name for name in there if name in names and name not in own]
  if there:
    raise errors.InputError(
      f'{output} holds {min(there)}, which is not of this attack; choose '
      f'another folder, such as --output={other}'
    )
  return own


def _claim_output(output, settings, names):
  """Makes a folder this attack's, without the files that it had there."""
  for name in _check_output(output, settings, names):
    storage.remove(os.path.join(output, name))
  storage.make_folder(output)
  storage.write_json(
    os.path.join(output, FILE), {'settings': settings, 'files': names}
  )


def _channels(checkpoint_dir, path, channels):
  """Returns what is heard of a recording's channels, and warns of a guess."""
  run = os.path.dirname(storage.absolute(checkpoint_dir))
  config = os.path.join(run, 'config.json')
  if storage.exists(config):
    trained = storage.read_json(config, ('corpus',))['corpus']['channels']
    if channels not in (None, trained):
      logger.warning(
        'the model was trained on channel %s (%s), and hears %s as asked',
        trained,
        config,
        channels,
      )
    return channels or trained
  if channels is None and next(decoding.blocks(path))[1].shape[1] > 1:
    logger.warning(
      '%s has several channels and there is no %s to say which the model was '
      'trained on: it hears their mean; --config.corpus.channels is another',
      path,
      config,
    )
  return channels or 'mean'


def _warn(path, heard, kept):
  """Says what may make nothing of the answers."""
  if not heard.is_all:
    logger.warning(
      '%s is longer than a clip: the model hears the %s %.2f s; the rest is '
      'left out',
      path,
      kept,
      heard.num_samples / audio.SAMPLE_RATE_HZ,
    )
  if heard.is_silent:
    logger.warning(
      '%s is silent where the model hears it; its answers are about nothing',
      path,
    )
  elif heard.share_at_full_scale >= audio.CLIPPED:
    logger.warning(
      '%s is clipped: %.1f %% of what the model hears lies at full scale',
      path,
      100 * heard.share_at_full_scale,
    )


def _attack(name, *, targeted):
  """Returns an attack by name, in its targeted form if asked.

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


def format_rows(rows: Sequence[dict[str, Any]], attack_name: str) -> str:
  """Returns the table of `attack` for a console, as wide as its classes are."""
  control = sweep.control_of(attack_name)
  noise = control.replace('_', ' ')
  table = [('epsilon', 'LSB', 'SNR, dB', 'attacked', '16-bit file', noise)]
  for row in rows:
    lsb = row['epsilon_lsb']
    table.append(
      (
        row['epsilon_given'],
        lsb if lsb == '' else f'{lsb:.1f}',
        f'{row["snr_db"]:.1f}',
        *(row[key] for key in ('memory', 'int16', control)),
      )
    )
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  aligned = (str.rjust,) * 3 + (str.ljust,) * 3
  return '\n'.join(
    '  '.join(
      align(cell, width)
      for align, cell, width in zip(aligned, cells, widths, strict=True)
    ).rstrip()
    for cells in table
  )
