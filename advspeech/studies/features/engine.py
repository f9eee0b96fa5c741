"""Attacks a split clip by clip, in features and end to end; eq. 6 of each."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  input_pipeline,
  parallel,
  preemption,
  progress,
  quality,
)
from advspeech.attacks import feature_level
from advspeech.studies.features.settings import (
  REPRESENTATIONS,
  WAVEFORM,
  Settings,
  Variant,
)

PARTS = ('conversion', 'adversarial', 'overall')
MEASURES = (
  *(f'{part}_snr_db' for part in PARTS),
  *(f'{part}_max_norm' for part in PARTS),
  *(f'{part}_l2' for part in PARTS),
  *(f'{part}_lsd_db' for part in PARTS),
)
# Of other people's code, on the host: empty where not scored or not defined.
SCORES = tuple(f'{part}_{name}' for part in PARTS for name in ('stoi', 'pesq'))
POINT = ('task', 'seed', 'source', *Variant._fields, 'kind', 'budget')
CLIP_COLUMNS = (
  *POINT,
  'epsilon',
  'attainable',
  'id',
  'label',
  'feature_l2',
  *MEASURES,
  *SCORES,
  'target',
  'clean_prediction',
  'unperturbed_prediction',
  'prediction',
  'prediction_int16',
)


class Compiled(NamedTuple):
  """Compiled steps of the attacks on one representation.

  Attributes:
    analyse: Maps audio to features and what else rebuilding takes.
    prepare: Maps (variables, batch, through) to `feature_level.Prepared`.
    pgd_change: Maps (variables, batch, prepared, radii, through) to changes.
    rebuild: Maps (batch, prepared, change) to audio.
    match: Maps (batch, prepared, change, kind, target, largest) to
      `feature_level.Matched`.
  """

  analyse: Callable[..., Any]
  prepare: Callable[..., Any]
  pgd_change: Callable[..., Any]
  rebuild: Callable[..., Any]
  match: Callable[..., Any]


@functools.lru_cache
def compile_steps(model: Any, name: str, settings: Settings) -> Compiled:
  """Returns the steps for a source model and a representation's name."""
  space = REPRESENTATIONS[name]
  # An end-to-end radius may have to be found over five decades.
  ratio = 1e-5 if name == WAVEFORM else 1e-3

  def problem(batch, variables=None, through='waveform'):
    def loss_fn(clips):
      logits = model.apply(variables, clips, train=False)
      return attacks.cross_entropy(logits, batch['label'])

    return feature_level.Problem(
      loss_fn, batch['audio'], space.representation, through, batch['mask']
    )

  def prepare(variables, batch, through):
    return feature_level.prepare(problem(batch, variables, through))

  def pgd_change(variables, batch, prepared, radii, through):
    return feature_level.pgd_change(
      problem(batch, variables, through),
      prepared,
      radii,
      num_steps=settings.num_steps,
    )

  def rebuild(batch, prepared, change):
    return feature_level.rebuild(problem(batch), prepared, change)

  def match(batch, prepared, change, kind, target, largest):
    def size_fn(scale):
      scaled = scale.reshape(-1, *(1,) * (change.ndim - 1)) * change
      found = rebuild(batch, prepared, scaled)
      return jnp.where(
        kind == KINDS.index('snr'),
        -audio.snr_db(batch['audio'], found, batch['mask']),
        jnp.max(jnp.abs(found - batch['audio']), -1),
      )

    return feature_level.match(
      size_fn,
      target,
      largest,
      smallest_ratio=ratio,
      num_steps=settings.num_halvings + (6 if name == WAVEFORM else 0),
    )

  return Compiled(
    _one_at_a_time(jax.jit(space.representation.analyse)),
    _one_at_a_time(jax.jit(prepare, static_argnums=2)),
    _one_at_a_time(jax.jit(pgd_change, static_argnums=4)),
    _one_at_a_time(jax.jit(rebuild)),
    _one_at_a_time(jax.jit(match)),
  )


KINDS = ('epsilon', 'snr', 'max_norm')


@functools.lru_cache
def compile_judge(model_list: tuple[Any, ...]) -> Callable[..., Any]:
  """Returns a function of (variables, batch, unperturbed, audio).

  It maps them to the measures of eq. 6, each [batch], and to predictions
  [targets, formats, batch] in memory and after a 16-bit file.
  """

  def judge(variables, batch, unperturbed, adversarial):
    clip, mask = batch['audio'], batch['mask']
    pairs = {
      'conversion': unperturbed - clip,
      'adversarial': adversarial - unperturbed,
      'overall': adversarial - clip,
    }
    measures = {}
    for part, change in pairs.items():
      measures[f'{part}_snr_db'] = audio.snr_db(clip, clip + change, mask)
      measures[f'{part}_max_norm'] = jnp.max(jnp.abs(change) * mask, -1)
      measures[f'{part}_l2'] = jnp.linalg.norm(change * mask, axis=-1)
    for part, one, other in (
      ('conversion', clip, unperturbed),
      ('adversarial', unperturbed, adversarial),
      ('overall', clip, adversarial),
    ):
      measures[f'{part}_lsd_db'] = quality.log_spectral_distance_db(
        one, other, mask
      )
    predictions = [
      [
        jnp.argmax(model.apply(v, heard, train=False), -1)
        for heard in (adversarial, audio.from_pcm(audio.to_pcm(adversarial)))
      ]
      for model, v in zip(model_list, variables, strict=True)
    ]
    return measures, jnp.array(predictions)

  return _one_at_a_time(jax.jit(judge))


def _one_at_a_time(step):
  """Returns a compiled step that is waited for.

  Left to run while the next one was traced, compiled or run, they ended the
  process with a segmentation fault in one of XLA's threads on CPU, once in many
  runs (JAX 0.10.2, 2026-11-24 and 25).
  """
  return lambda *args: jax.block_until_ready(step(*args))


def attack_clips(
  classifiers: Mapping[str, checkpoint.Classifier],
  source: str,
  split: input_pipeline.Split,
  *,
  task: str,
  seed: int,
  classes: Sequence[str],
  settings: Settings,
) -> list[dict[str, Any]]:
  """Returns one row a (variant, budget, clip, target), by CLIP_COLUMNS.

  Args:
    classifiers: Models by name; all judge.
    source: Name of the one that is attacked.
    split: Clips.
    task: For the rows.
    seed: For the rows, and of the random signs.
    classes: Names of the labels.
    settings: What is tried.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  variables = {
    name: jax.device_put(jax.device_get(c.variables), jax.devices()[0])
    for name, c in classifiers.items()
  }
  judge = compile_judge(tuple(c.model for c in classifiers.values()))
  rows = []
  scored = set(input_pipeline.spread(split, settings.num_scored).ids)
  num_batches = input_pipeline.num_batches(split, settings.batch_size)
  with progress.Meter(
    f'features, seed {seed}', num_batches * len(settings.variants), 'attack'
  ) as told:
    for loaded in input_pipeline.batches(split, settings.batch_size, mesh):
      batch = arrays(loaded)
      judge_batch = functools.partial(judge, tuple(variables.values()), batch)
      _, clean = judge_batch(batch['audio'], batch['audio'])
      point = {'task': task, 'seed': seed, 'source': source}
      conversion_snr_db, scales = {}, {}
      for variant in settings.variants:
        preemption.check()
        for result in _attack_batch(
          variant,
          compile_steps(
            classifiers[source].model, variant.representation, settings
          ),
          variables[source],
          batch,
          judge_batch,
          settings,
          [i for i, id_ in enumerate(loaded['id']) if id_ in scored],
          conversion_snr_db,
          scales,
          seed,
        ):
          rows += _clip_rows(
            {**point, **variant._asdict()},
            jax.device_get(result),
            np.asarray(clean),
            loaded['id'],
            np.asarray(batch['label']),
            tuple(classifiers),
            classes,
          )
        told.update(variant.representation)
  return rows


def arrays(batch: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Returns what of a batch compiled steps take, there to be taken."""
  return jax.block_until_ready(
    {key: batch[key] for key in ('audio', 'label', 'mask', 'valid')}
  )


class _Result(NamedTuple):
  """One variant at one budget on a batch."""

  kind: str
  budget: float
  epsilon: Any
  attainable: Any
  feature_l2: Any
  measures: Any
  scores: Any
  unperturbed: Any
  predictions: Any


def _attack_batch(
  variant,
  steps,
  variables,
  batch,
  judge_batch,
  settings,
  scored,
  conversion_snr_db,
  scales,
  seed,
):
  """Yields a `_Result` for every budget of a variant."""
  space = REPRESENTATIONS[variant.representation]
  prepared = steps.prepare(variables, batch, variant.through)
  if variant.method == 'random_sign':
    keys = _keys(batch, seed, prepared.direction.shape)
    shape = prepared.direction.shape[1:]
    signs = jax.vmap(lambda key: jax.random.rademacher(key, shape))(keys)
    prepared = prepared._replace(direction=signs.astype(jnp.float32))
  num_rows = len(batch['label'])
  ones = jnp.ones(num_rows)
  alone = judge_batch(prepared.unperturbed, prepared.unperturbed)
  alone_scores = _scores(batch, batch['audio'], prepared.unperturbed, scored)
  conversion_snr_db[variant.representation] = alone[0]['conversion_snr_db']

  def change(radii):
    if variant.method == 'pgd':
      return steps.pgd_change(
        variables, batch, prepared, radii, variant.through
      )
    return feature_level.fgsm_change(prepared, radii)

  def result(kind, budget, epsilon, attainable, moved):
    if moved is None:
      found, (measures, predictions) = prepared.unperturbed, alone
      norm, overall_scores = jnp.zeros(num_rows), alone_scores
    else:
      found = steps.rebuild(batch, prepared, moved)
      measures, predictions = judge_batch(prepared.unperturbed, found)
      norm = jnp.linalg.norm(moved.reshape(num_rows, -1), axis=-1)
      overall_scores = _scores(batch, batch['audio'], found, scored)
    scores = {
      'conversion': alone_scores,
      'adversarial': _scores(batch, prepared.unperturbed, found, scored),
      'overall': overall_scores,
    }
    return _Result(
      kind,
      budget,
      epsilon,
      attainable,
      norm,
      measures,
      {
        f'{part}_{name}': values
        for part, of_part in scores.items()
        for name, values in of_part.items()
      },
      alone[1][:, 0],
      predictions,
    )

  yield result('epsilon', 0.0, 0 * ones, ones, None)
  for epsilon in space.epsilons:
    radii = epsilon * ones
    yield result('epsilon', epsilon, radii, ones, change(radii))

  for kind, budget, target in _targets(variant, settings, conversion_snr_db):
    size = 'max_norm' if kind == 'max_norm' else 'snr'
    already = (
      alone[0]['overall_max_norm']
      if size == 'max_norm'
      else -alone[0]['overall_snr_db']
    )
    if not bool((already < target)[np.asarray(batch['valid']) > 0].any()):
      yield result(kind, budget, 0 * ones, 0 * ones, None)
      continue
    match = functools.partial(steps.match, batch, prepared)
    key = (variant.representation, variant.through, kind, budget)
    if variant.method == 'pgd' and key in scales:
      first = scales[key]
    else:
      first = match(
        prepared.direction, KINDS.index(size), target, space.largest * ones
      )
    if variant.method == 'fgsm':
      scales[key] = first
    if variant.method == 'pgd':
      # PGD in the radius that FGSM needed, then sized like it.
      direction = change(jnp.maximum(first.scale, 1e-7))
      again = match(direction, KINDS.index(size), target, 4 * ones)
      epsilon = again.scale * first.scale
      attainable = first.attainable & again.attainable
    else:
      direction, again = prepared.direction, first
      epsilon, attainable = first.scale, first.attainable
    moved = _column(again.scale * attainable, direction) * direction
    yield result(kind, budget, epsilon, attainable, moved)


def _scores(batch, reference, heard, scored):
  """Returns STOI and PESQ by name, [batch]; '' for what has none.

  Args:
    batch: Of the clips.
    reference: [batch, time].
    heard: [batch, time].
    scored: Rows that are to be scored.
  """
  arrays = [np.asarray(x)[scored] for x in (reference, heard, batch['mask'])]
  found = {name: [''] * len(batch['label']) for name in ('stoi', 'pesq')}
  if not scored:
    return found
  values = {'stoi': quality.stoi(*arrays).values}
  if quality.has_pesq():
    values['pesq'] = quality.pesq(*arrays).values
  for name in values:
    for row, value in zip(scored, values[name], strict=True):
      found[name][row] = '' if value is None else value
  return found


def _column(values, like):
  return values.reshape(-1, *(1,) * (like.ndim - 1))


def _targets(variant, settings, conversion_snr_db):
  """Yields kind, budget and sizes [batch] or a number, for each comparison."""
  rows = len(next(iter(conversion_snr_db.values())))
  for snr_db in settings.snr_db:
    yield 'snr', snr_db, jnp.full(rows, -snr_db)
  for max_norm in settings.max_norms:
    yield 'max_norm', max_norm, jnp.full(rows, max_norm)
  if variant.representation == WAVEFORM:
    # What the conversion loss of the others would have bought.
    for name, lost in conversion_snr_db.items():
      if name != WAVEFORM:
        yield f'price of {name}', 0.0, -lost


def _keys(batch, seed, shape):
  """Returns a key a clip, from the seed, its samples and the features' size."""
  pcm = audio.to_pcm(batch['audio']).astype(jnp.uint32)
  place = jnp.arange(1, pcm.shape[1] + 1, dtype=jnp.uint32)[None]
  digest = jnp.sum(pcm * place, -1, dtype=jnp.uint32)
  key = jax.random.fold_in(jax.random.key(seed), int(np.prod(shape[1:])))
  return jax.vmap(jax.random.fold_in, (None, 0))(key, digest)


def _clip_rows(point, result, clean, ids, labels, targets, classes):
  rows = []
  for i, utterance_id in enumerate(ids):
    for t, target in enumerate(targets):
      rows.append(
        {
          **point,
          'kind': result.kind,
          'budget': result.budget,
          'epsilon': float(result.epsilon[i]),
          'attainable': int(result.attainable[i]),
          'id': str(utterance_id),
          'label': classes[labels[i]],
          'feature_l2': float(result.feature_l2[i]),
          **{k: float(v[i]) for k, v in result.measures.items()},
          **{k: v[i] for k, v in result.scores.items()},
          'target': target,
          'clean_prediction': classes[clean[t, 0, i]],
          'unperturbed_prediction': classes[result.unperturbed[t, i]],
          'prediction': classes[result.predictions[t, 0, i]],
          'prediction_int16': classes[result.predictions[t, 1, i]],
        }
      )
  return rows
