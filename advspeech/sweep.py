"""Error against epsilon: one gradient a clip, judged by every model.

Beside every attacked clip stand its noise control and the same clip after being
saved. For one seed's pair of models FGSM is made on the source model (paper:
WaveCNN, the hypothetical model) and tried on all of them. Gradients do not
depend on epsilon, so they are taken once; perturbed clips live only inside the
compiled function, one epsilon at a time.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from advspeech import (
  attacks,
  audio,
  checkpoint,
  input_pipeline,
  models,
  parallel,
  preemption,
  statistics,
)

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

ATTACKS = ('fgsm', 'random_sign')
# How a perturbed clip reaches the model that judges it.
FORMATS = ('memory', 'float32', 'int16')
SWEEP_COLUMNS = (
  'task',
  'seed',
  'source',
  'target',
  'attack',
  'epsilon',
  'epsilon_fs',
  'epsilon_lsb',
  'epsilon_dbfs',
  'mean_snr_db',
  'num_clips',
  'num_errors',
  'error_rate',
  'ci_low',
  'ci_high',
  'flip_rate',
  'error_rate_float32',
  'error_rate_int16',
)
SAMPLE_COLUMNS = (
  'task',
  'seed',
  'source',
  'target',
  'attack',
  'epsilon',
  'id',
  'label',
  'clean_prediction',
  'prediction',
  'prediction_float32',
  'prediction_int16',
  'snr_db',
)


class Judgements(NamedTuple):
  """What one source model's attacks did to one split.

  Attributes:
    clean: [num_targets, num_clips] classes given to the untouched clips.
    predictions: [num_epsilons, num_attacks, num_targets, num_formats,
      num_clips] classes given to the perturbed ones.
    snr_db: [num_epsilons, num_attacks, num_clips] over recorded samples.
  """

  clean: np.ndarray
  predictions: np.ndarray
  snr_db: np.ndarray


def judge(
  classifiers: Mapping[str, checkpoint.Classifier],
  source: str,
  split: input_pipeline.Split,
  epsilons: Sequence[float],
  *,
  seed: int,
  batch_size: int,
  attack_padding: bool = True,
  clip_to_range: bool = True,
  epsilon_devices: int = 1,
) -> Judgements:
  """Returns every model's verdict on every perturbed clip.

  Args:
    classifiers: Models by name; all are targets.
    source: Name of the model whose gradients are used.
    split: Clips to attack.
    epsilons: Max-norm radii in the model's unit.
    seed: Of the random signs, folded with each clip's id.
    batch_size: Clips at a time, a multiple of the device count.
    attack_padding: Perturb the padding too, as the paper did.
    clip_to_range: Clip perturbed samples to [0, 1].
    epsilon_devices: Devices that share the epsilons; the others share the
      clips of a batch.

  Raises:
    errors.InputError: If the devices cannot be shared so.
    preemption.Stopped: If a signal asked for it.
  """
  import tqdm

  mesh = parallel.make_mesh(epsilon_devices)
  parallel.check_batch_size('config.sweep.batch_size', batch_size, mesh)
  names = tuple(classifiers)
  step = _judge_step(
    tuple(classifiers[name].model for name in names),
    names.index(source),
    attack_padding,
    (0.0, 1.0) if clip_to_range else (-np.inf, np.inf),
    mesh,
  )
  variables = tuple(classifiers[name].variables for name in names)
  radii = np.asarray(epsilons, np.float32)
  fill = -len(radii) % epsilon_devices
  parts = []
  for batch in tqdm.tqdm(
    input_pipeline.batches(split, batch_size, mesh),
    desc=f'attacking seed {seed}',
    total=input_pipeline.num_batches(split, batch_size),
    unit='batch',
    disable=None if parallel.is_lead() else True,
  ):
    preemption.check()
    num_rows = len(batch['id'])
    noise_ids = np.zeros(batch_size, np.uint32)
    noise_ids[:num_rows] = [_noise_id(id_) for id_ in batch['id']]
    clean, predictions, snr_db = parallel.fetch(
      step(
        variables,
        {key: batch[key] for key in ('audio', 'label', 'mask')},
        parallel.shard_batch(noise_ids, mesh),
        np.int32(seed),
        np.pad(radii, (0, fill), mode='edge'),
      )
    )
    part = clean, predictions[: len(radii)], snr_db[: len(radii)]
    parts.append([x[..., :num_rows] for x in part])
  return Judgements(*(np.concatenate(x, -1) for x in zip(*parts, strict=True)))


def _noise_id(utterance_id: str) -> int:
  digest = hashlib.sha256(utterance_id.encode()).digest()
  return int.from_bytes(digest[:4], 'little')


@functools.lru_cache
def _judge_step(model_list, source, attack_padding, bounds, mesh):
  """Returns the compiled function behind `judge`, for one batch.

  Written for one device's clips and epsilons: nothing is left to communicate.
  """

  def logits_fn(target, variables, clips):
    return model_list[target].apply(variables[target], clips, train=False)

  def step(variables, batch, noise_ids, seed, epsilons):
    key = jax.random.key(seed)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, noise_ids)
    at_once = min(
      models.clips_at_once(model, *batch['audio'].shape) for model in model_list
    )
    judged = parallel.map_rows(
      lambda batch, keys: judge_clips(variables, batch, keys, epsilons),
      at_once,
      batch,
      keys,
    )
    return tuple(jnp.moveaxis(x, 0, -1) for x in judged)

  def judge_clips(variables, batch, keys, epsilons):
    """Returns `step`'s results with the clips as the first axis."""
    clips, label = batch['audio'], batch['label']
    mask = None if attack_padding else batch['mask']

    def loss_fn(x):
      return attacks.cross_entropy(logits_fn(source, variables, x), label)

    directions = jnp.stack(
      [
        attacks.gradient_sign(loss_fn, clips, mask=mask),
        attacks.random_sign(keys, clips, mask=mask),
      ]
    )

    def judge_one(epsilon, direction):
      perturbed = attacks.perturb(
        clips, direction, epsilon[None], bounds=bounds
      )[0]
      saved = (perturbed, *_saved(perturbed))
      predictions = jnp.stack(
        [
          jnp.stack([predict(target, x) for x in saved])
          for target in range(len(model_list))
        ]
      )
      return predictions, audio.snr_db(clips, perturbed, batch['mask'])

    def predict(target, x):
      return jnp.argmax(logits_fn(target, variables, x), -1).astype(jnp.int8)

    clean = jnp.stack([predict(t, clips) for t in range(len(model_list))])
    predictions, snr_db = jax.lax.map(
      lambda epsilon: jax.lax.map(
        lambda direction: judge_one(epsilon, direction), directions
      ),
      epsilons,
    )
    return tuple(jnp.moveaxis(x, -1, 0) for x in (clean, predictions, snr_db))

  copies, rows = PartitionSpec(), PartitionSpec('data')
  return jax.jit(
    jax.shard_map(
      step,
      mesh=mesh,
      in_specs=(copies, rows, rows, copies, PartitionSpec('epsilon')),
      out_specs=(
        PartitionSpec(None, 'data'),
        PartitionSpec('epsilon', None, None, None, 'data'),
        PartitionSpec('epsilon', None, 'data'),
      ),
      check_vma=False,
    )
  )


def _saved(perturbed):
  """Returns clips as they come back from float and 16-bit WAV files."""
  # Optimisation must not cancel a conversion against its inverse.
  full_scale, pcm = jax.lax.optimization_barrier(
    (audio.to_full_scale(perturbed), audio.to_pcm(perturbed))
  )
  return audio.from_full_scale(full_scale), audio.from_pcm(pcm)


def _points(config, seed, targets, judgements):
  """Yields each point's naming columns, target index, predictions and SNR."""
  for t, target in enumerate(targets):
    for a, attack in enumerate(ATTACKS):
      for e, epsilon in enumerate(config.sweep.epsilons):
        point = {
          'task': config.task,
          'seed': seed,
          'source': config.source,
          'target': target,
          'attack': attack,
          'epsilon': epsilon,
        }
        yield point, t, judgements.predictions[e, a, t], judgements.snr_db[e, a]


def sweep_rows(
  config: 'ml_collections.ConfigDict',
  seed: int,
  targets: Sequence[str],
  labels: np.ndarray,
  judgements: Judgements,
) -> list[dict[str, Any]]:
  """Returns one row a (target, attack, epsilon), keyed by SWEEP_COLUMNS."""
  rows = []
  for point, t, predictions, snr_db in _points(
    config, seed, targets, judgements
  ):
    wrong = predictions != labels
    num_errors, num_clips = int(wrong[0].sum()), len(labels)
    low, high = statistics.wilson_interval(
      num_errors, num_clips, config.sweep.confidence
    )
    rows.append(
      {
        **point,
        **audio.amplitude_units(point['epsilon']),
        'mean_snr_db': float(snr_db.mean()),
        'num_clips': num_clips,
        'num_errors': num_errors,
        'error_rate': num_errors / num_clips,
        'ci_low': low,
        'ci_high': high,
        'flip_rate': float((predictions[0] != judgements.clean[t]).mean()),
        'error_rate_float32': float(wrong[1].mean()),
        'error_rate_int16': float(wrong[2].mean()),
      }
    )
  return rows


def sample_rows(
  config: 'ml_collections.ConfigDict',
  seed: int,
  targets: Sequence[str],
  split: input_pipeline.Split,
  classes: Sequence[str],
  judgements: Judgements,
) -> list[dict[str, Any]]:
  """Returns one row a (target, attack, epsilon, clip), by SAMPLE_COLUMNS."""
  rows = []
  for point, t, predictions, snr_db in _points(
    config, seed, targets, judgements
  ):
    for i, utterance_id in enumerate(split.ids):
      memory, float32, int16 = (classes[p] for p in predictions[:, i])
      rows.append(
        {
          **point,
          'id': str(utterance_id),
          'label': classes[split.labels[i]],
          'clean_prediction': classes[judgements.clean[t, i]],
          'prediction': memory,
          'prediction_float32': float32,
          'prediction_int16': int16,
          'snr_db': float(snr_db[i]),
        }
      )
  return rows


def write_examples(
  folder: str,
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  config: 'ml_collections.ConfigDict',
) -> list[dict[str, str]]:
  """Writes some clips, clean and attacked, as 16-bit WAV files to listen to.

  Args:
    folder: Where the files go.
    classifier: The model attacked.
    split: Clips; the first `config.sweep.num_examples` are written.
    config: See configs/paper.py.

  Returns:
    For each clip its `id` and the file names `original` and `adversarial`.
  """
  os.makedirs(folder, exist_ok=True)
  num = min(config.sweep.num_examples, len(split))
  if not num:
    return []
  # This process's own copy: the others do not take part.
  variables = jax.device_get(classifier.variables)
  classifier = dataclasses.replace(classifier, variables=variables)
  clips = audio.from_pcm(jnp.asarray(split.pcm[:num]))
  labels = jnp.asarray(split.labels[:num])

  def loss_fn(x):
    return attacks.cross_entropy(classifier.logits_fn(x), labels)

  epsilon = config.sweep.example_epsilon
  perturbed = attacks.fgsm(loss_fn, clips, [epsilon])[0]
  names = []
  for i, utterance_id in enumerate(split.ids[:num]):
    end = split.num_samples[i]
    entry = {'id': str(utterance_id)}
    for kind, x in (('original', clips), ('adversarial', perturbed)):
      entry[kind] = f'{utterance_id}-{kind}.wav'
      audio.save(os.path.join(folder, entry[kind]), x[i, :end], 'PCM_16')
    names.append(entry)
  return names
