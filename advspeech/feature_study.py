"""Feature-level attacks against end-to-end ones, on equal terms.

The paper argues (Figure 3, eqs. 6 and 7) that perturbing features and
rebuilding the audio costs a conversion loss that can exceed the perturbation
itself. Here both kinds of attack are made on the same clips by the same steps,
the end-to-end one on the waveform as its own representation, and the overall
perturbation of every example is split as in eq. 6.

Perturbations stay on recorded samples: in the padding a feature-level attack
could do little, and SNR would not see what an end-to-end one does there.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  features,
  input_pipeline,
  parallel,
  preemption,
  quality,
  statistics,
  storage,
)
from advspeech.attacks import feature_level

WAVEFORM = 'waveform'


class Variant(NamedTuple):
  """One way to attack.

  Attributes:
    representation: One of `REPRESENTATIONS`; the waveform is end to end.
    method: 'fgsm', 'pgd', or 'random_sign', the control: signs by chance.
    through: See `attacks.feature_level`.
  """

  representation: str
  method: str
  through: str


class Space(NamedTuple):
  """A representation, the radii tried in its unit, and the largest of all."""

  representation: features.Representation
  epsilons: tuple[float, ...]
  largest: float


_DB = (2.0, 8.0)
_MFCC = (4.0, 16.0)
REPRESENTATIONS = {
  space.representation.name: space
  for space in (
    Space(features.spectrogram(), _DB, 60.0),
    Space(features.spectrogram(phase='griffin_lim'), _DB, 60.0),
    Space(features.mfcc(phase='original'), _MFCC, 60.0),
    Space(features.mfcc(), _MFCC, 60.0),
    Space(features.waveform(), (0.0005, 0.002), 1.0),
  )
}
# Where rebuilding with the clip's own phases is exact, a gradient through the
# rebuilt waveform is the gradient through the features.
VARIANTS = (
  Variant('spectrogram_original', 'fgsm', 'waveform'),
  Variant('spectrogram_original', 'pgd', 'waveform'),
  Variant('spectrogram_original', 'random_sign', 'waveform'),
  Variant('mfcc13_original', 'fgsm', 'features'),
  Variant('spectrogram_griffin_lim', 'fgsm', 'features'),
  Variant('mfcc13_griffin_lim', 'fgsm', 'waveform'),
  Variant('mfcc13_griffin_lim', 'fgsm', 'features'),
  Variant('mfcc13_griffin_lim', 'pgd', 'features'),
  Variant('mfcc13_griffin_lim', 'random_sign', 'features'),
  Variant(WAVEFORM, 'fgsm', 'waveform'),
  Variant(WAVEFORM, 'pgd', 'waveform'),
  Variant(WAVEFORM, 'random_sign', 'waveform'),
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tried.

  Attributes:
    num_clips: Of the test split, evenly spread over it.
    batch_size: Clips at a time.
    snr_db: At which attacks are compared, over recorded samples.
    max_norms: The same, in the model's unit.
    num_steps: Gradients of PGD.
    num_halvings: Of the bisection that matches sizes.
    error_rates: At which the SNR of attacks is compared.
    num_scored: Clips of every batch that STOI and PESQ (where installed) score.
    num_norm_clips: Clips that eq. 7 is tried on.
    num_norm_perturbations: Perturbations of each.
    confidence: Of intervals.
  """

  num_clips: int = 96
  batch_size: int = 16
  snr_db: tuple[float, ...] = (20.0, 10.0, 5.0, 0.0, -5.0)
  max_norms: tuple[float, ...] = (0.002, 0.02)
  num_steps: int = 8
  num_halvings: int = 9
  error_rates: tuple[float, ...] = (0.25, 0.5)
  num_scored: int = 16
  num_norm_clips: int = 16
  num_norm_perturbations: int = 12
  confidence: float = 0.95


PARTS = ('conversion', 'adversarial', 'overall')
_MEASURES = (
  *(f'{part}_snr_db' for part in PARTS),
  *(f'{part}_max_norm' for part in PARTS),
  *(f'{part}_l2' for part in PARTS),
  'conversion_lsd_db',
  'overall_lsd_db',
)
# Of other people's code, on the host: empty where not scored or not defined.
_SCORES = tuple(
  f'{part}_{name}'
  for part in ('conversion', 'overall')
  for name in ('stoi', 'pesq')
)
_POINT = ('task', 'seed', 'source', *Variant._fields, 'kind', 'budget')
CLIP_COLUMNS = (
  *_POINT,
  'epsilon',
  'attainable',
  'id',
  'label',
  'feature_l2',
  *_MEASURES,
  *_SCORES,
  'target',
  'clean_prediction',
  'unperturbed_prediction',
  'prediction',
  'prediction_int16',
)
BUDGET_COLUMNS = (
  *_POINT,
  'target',
  'num_clips',
  'num_attainable',
  'num_errors',
  'error_rate',
  'ci_low',
  'ci_high',
  'flip_rate',
  'error_rate_int16',
  'clean_error',
  'unperturbed_error',
  'unperturbed_ci_low',
  'unperturbed_ci_high',
  'conversion_larger',
  'mean_epsilon',
  *(f'median_{name}' for name in (*_MEASURES, *_SCORES)),
  'num_scored',
)
EQUAL_COLUMNS = (
  *_POINT,
  'target',
  'num_clips',
  'num_attainable',
  'error_rate',
  'ci_low',
  'ci_high',
  'end_to_end_error_rate',
  'end_to_end_ci_low',
  'end_to_end_ci_high',
  'difference',
  'difference_ci_low',
  'difference_ci_high',
  'mcnemar_p',
)
EQUAL_ERROR_COLUMNS = (
  'task',
  'seed',
  'source',
  *Variant._fields,
  'target',
  'error_rate',
  'snr_db',
  'ci_low',
  'ci_high',
  'note',
)
NORM_COLUMNS = (
  'task',
  'seed',
  'representation',
  'id',
  'perturbation',
  'amplitude',
  'cells',
  'feature_l2',
  'conversion_l2',
  'adversarial_l2',
  'overall_l2',
)
NORM_SUMMARY_COLUMNS = (
  'task',
  'seed',
  'representation',
  'num_perturbations',
  'spearman_adversarial',
  'adversarial_ci_low',
  'adversarial_ci_high',
  'spearman_overall',
  'overall_ci_low',
  'overall_ci_high',
  'ratio_range_db',
)


class Compiled(NamedTuple):
  """Compiled steps of the attacks on one representation.

  Attributes:
    prepare: Maps (variables, batch, through) to `feature_level.Prepared`.
    pgd_change: Maps (variables, batch, prepared, radii, through) to changes.
    rebuild: Maps (batch, prepared, change) to audio.
    match: Maps (batch, prepared, change, kind, target, largest) to
      `feature_level.Matched`.
  """

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
    for part, other in (('conversion', unperturbed), ('overall', adversarial)):
      measures[f'{part}_lsd_db'] = quality.log_spectral_distance_db(
        clip, other, mask
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

  Left to run while the next one was compiled or run, they ended the process
  with a segmentation fault in XLA on CPU (JAX 0.10.2, 2026-11-24).
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
  variants: Sequence[Variant] = VARIANTS,
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
    variants: Attacks; the waveform's come last.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  import tqdm

  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  variables = {
    name: jax.device_put(jax.device_get(c.variables), jax.devices()[0])
    for name, c in classifiers.items()
  }
  judge = compile_judge(tuple(c.model for c in classifiers.values()))
  rows = []
  for loaded in tqdm.tqdm(
    input_pipeline.batches(split, settings.batch_size, mesh),
    desc=f'features, seed {seed}',
    total=input_pipeline.num_batches(split, settings.batch_size),
    unit='batch',
    disable=None,
  ):
    batch = _arrays(loaded)
    judge_batch = functools.partial(judge, tuple(variables.values()), batch)
    _, clean = judge_batch(batch['audio'], batch['audio'])
    point = {'task': task, 'seed': seed, 'source': source}
    conversion_snr_db, scales = {}, {}
    for variant in variants:
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
  return rows


def _arrays(batch):
  return {key: batch[key] for key in ('audio', 'label', 'mask', 'valid')}


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
  alone_scores = _scores(batch, prepared.unperturbed, settings.num_scored)
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
      norm = jnp.zeros(num_rows)
    else:
      found = steps.rebuild(batch, prepared, moved)
      measures, predictions = judge_batch(prepared.unperturbed, found)
      norm = jnp.linalg.norm(moved.reshape(num_rows, -1), axis=-1)
    return _Result(
      kind,
      budget,
      epsilon,
      attainable,
      norm,
      measures,
      {
        **{f'conversion_{name}': x for name, x in alone_scores.items()},
        **{
          f'overall_{name}': x
          for name, x in (
            alone_scores
            if moved is None
            else _scores(batch, found, settings.num_scored)
          ).items()
        },
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


def _scores(batch, heard, num_scored):
  """Returns STOI and PESQ of a batch's first clips, '' for what has none."""
  rows = slice(0, num_scored)
  arrays = [np.asarray(x)[rows] for x in (batch['audio'], heard, batch['mask'])]
  scores = {'stoi': quality.stoi(*arrays).values}
  if quality.has_pesq():
    scores['pesq'] = quality.pesq(*arrays).values
  missing = [None] * len(batch['label'])
  return {
    name: [
      '' if value is None else value
      for value in (*scores.get(name, ()), *missing)
    ]
    for name in ('stoi', 'pesq')
  }


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


def _grouped(rows, keys):
  groups = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in keys), []).append(row)
  return groups


def _wrong(rows, key='prediction'):
  return np.array([row[key] != row['label'] for row in rows])


def _rate(wrong, confidence):
  """Returns an error rate with its interval, nan where there is no clip."""
  if not len(wrong):
    return (float('nan'),) * 3
  interval = statistics.wilson_interval(
    int(wrong.sum()), len(wrong), confidence
  )
  return float(wrong.mean()), *interval


def budget_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns eq. 6 and the errors at every budget, by BUDGET_COLUMNS.

  Over the clips that can have the budget, `num_attainable` of `num_clips`; the
  errors of clean and of rebuilt, unperturbed clips are over all.

  Args:
    rows: By CLIP_COLUMNS.
    confidence: Of intervals.
  """
  keys = (*_POINT, 'target')
  table = []
  for key, all_rows in _grouped(rows, keys).items():
    able = [row for row in all_rows if row['attainable']]
    rate, low, high = _rate(_wrong(able), confidence)
    alone = _rate(_wrong(all_rows, 'unperturbed_prediction'), confidence)

    def mean(values):
      return float(np.mean(values)) if len(values) else float('nan')

    table.append(
      {
        **dict(zip(keys, key, strict=True)),
        'num_clips': len(all_rows),
        'num_attainable': len(able),
        'num_errors': int(_wrong(able).sum()) if able else 0,
        'error_rate': rate,
        'ci_low': low,
        'ci_high': high,
        'flip_rate': mean(
          [row['prediction'] != row['clean_prediction'] for row in able]
        ),
        'error_rate_int16': mean(_wrong(able, 'prediction_int16')),
        'clean_error': mean(_wrong(all_rows, 'clean_prediction')),
        'unperturbed_error': alone[0],
        'unperturbed_ci_low': alone[1],
        'unperturbed_ci_high': alone[2],
        'conversion_larger': mean(
          [row['conversion_l2'] > row['adversarial_l2'] for row in able]
        ),
        'mean_epsilon': mean([row['epsilon'] for row in able]),
        **{
          f'median_{name}': float(np.median([row[name] for row in able]))
          if able
          else float('nan')
          for name in _MEASURES
        },
        **{
          f'median_{name}': float(
            np.median(
              [row[name] for row in able if row[name] != ''] or [np.nan]
            )
          )
          for name in _SCORES
        },
        'num_scored': sum(row['overall_stoi'] != '' for row in able),
      }
    )
  return table


def equal_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns feature-level beside end-to-end errors, by EQUAL_COLUMNS.

  Both on the clips that can have the size with both, by the same method. Kind
  'price' sets the rebuilt, unperturbed clips against end-to-end examples of the
  same SNR, each clip's own.

  Args:
    rows: By CLIP_COLUMNS.
    confidence: Of intervals.
  """
  keys = (*_POINT, 'target')
  groups = {
    key: {row['id']: row for row in group if row['attainable']}
    for key, group in _grouped(rows, keys).items()
  }
  totals = {key: len(group) for key, group in _grouped(rows, keys).items()}
  table = []
  for key in groups:
    point = dict(zip(keys, key, strict=True))
    name, kind = point['representation'], point['kind']
    if name == WAVEFORM and kind.startswith('price of '):
      priced = kind.removeprefix('price of ')
      ours = _same(groups, point, representation=priced, kind='epsilon')
      theirs, point['representation'] = groups[key], priced
      point['kind'] = 'price'
      column = 'unperturbed_prediction'
    elif name != WAVEFORM and kind in ('snr', 'max_norm'):
      ours, column = groups[key], 'prediction'
      theirs = _same(groups, point, representation=WAVEFORM, through='waveform')
    else:
      continue
    both = [i for i in ours if i in theirs]
    a = _wrong([ours[i] for i in both], column)
    b = _wrong([theirs[i] for i in both])
    (rate, low, high), (rate_b, low_b, high_b) = (
      _rate(x, confidence) for x in (a, b)
    )
    nan = float('nan')
    difference = (
      statistics.paired_difference_interval(a, b, confidence)
      if both
      else (nan, nan)
    )
    table.append(
      {
        **point,
        'num_clips': totals[key],
        'num_attainable': len(both),
        'error_rate': rate,
        'ci_low': low,
        'ci_high': high,
        'end_to_end_error_rate': rate_b,
        'end_to_end_ci_low': low_b,
        'end_to_end_ci_high': high_b,
        'difference': rate - rate_b,
        'difference_ci_low': difference[0],
        'difference_ci_high': difference[1],
        'mcnemar_p': statistics.mcnemar(a, b).p_value if both else nan,
      }
    )
  return table


def _same(groups, point, **changed):
  """Returns the clips of a like point, by the same method where there is one.

  Of a representation that was attacked through its features alone, those.
  """
  wanted = {**point, **changed}
  names = (*_POINT, 'target')
  for key, group in groups.items():
    found = dict(zip(names, key, strict=True))
    ignored = {'through'} if 'through' not in changed else set()
    if changed.get('kind') == 'epsilon':
      ignored |= {'method'}
    if all(found[n] == wanted[n] for n in names if n not in ignored):
      return group
  return {}


def equal_error_rows(
  rows: Sequence[Mapping[str, Any]], settings: Settings
) -> list[dict[str, Any]]:
  """Returns the SNR at which attacks reach an error, by EQUAL_ERROR_COLUMNS.

  Straight lines between the SNRs compared, as far as every clip can have them;
  intervals from resampled clips. The louder an attack may be, the lower the
  SNR: what needs a lower one is the weaker attack.

  Args:
    rows: By CLIP_COLUMNS.
    settings: What was tried.
  """
  keys = ('task', 'seed', 'source', *Variant._fields, 'target')
  table = []
  compared = [row for row in rows if row['kind'] == 'snr']
  for key, group in _grouped(compared, keys).items():
    by_snr = _grouped(group, ('budget',))
    able = {
      snr: {row['id']: row for row in at}
      for (snr,), at in by_snr.items()
      if all(row['attainable'] for row in at)
    }
    levels = np.array(sorted(able, reverse=True))
    for rate in settings.error_rates:
      entry = {
        **dict(zip(keys, key, strict=True)),
        'error_rate': rate,
        'snr_db': float('nan'),
        'ci_low': float('nan'),
        'ci_high': float('nan'),
      }
      table.append(entry)
      if not len(levels):
        entry['note'] = 'no SNR compared is above the conversion loss'
        continue
      ids = list(able[levels[0]])
      wrong = np.array(
        [_wrong([able[snr][i] for i in ids]) for snr in levels], float
      )

      def crossing(rows, axis=-1, wrong=wrong, levels=levels, rate=rate):
        return _crossing(wrong, levels, rate, rows)

      entry['snr_db'] = float(crossing(np.arange(len(ids))[None])[0])
      if wrong[0].mean() >= rate:
        entry['note'] = 'reached at the highest SNR already'
      elif wrong.mean(-1).max() < rate:
        entry['note'], entry['snr_db'] = 'not reached', float('nan')
      else:
        entry['note'] = ''
        entry['ci_low'], entry['ci_high'] = statistics.bootstrap_interval(
          np.arange(len(ids)),
          crossing,
          num_resamples=999,
          confidence=settings.confidence,
        )
  return table


def _crossing(wrong, levels, rate, rows):
  """Returns where mean errors cross a rate, [...], for clips [..., num].

  At the ends of `levels` where they do not.
  """
  rows = np.asarray(rows, int)
  errors = wrong[:, rows].mean(-1).reshape(len(levels), -1)
  errors = np.maximum.accumulate(errors, 0)  # a louder attack may be weaker
  found = [np.interp(rate, e, levels) for e in errors.T]
  return np.array(found).reshape(rows.shape[:-1])


def norm_rows(
  classifier: checkpoint.Classifier,
  split: input_pipeline.Split,
  *,
  task: str,
  seed: int,
  settings: Settings,
) -> list[dict[str, Any]]:
  """Returns sizes of perturbations in features and in audio, by NORM_COLUMNS.

  Eq. 7: random signs on random rectangles of frames and coefficients, of random
  amplitude. Nothing here depends on a model but its place in `compile_steps`.

  Args:
    classifier: Whose clips these are.
    split: Clips.
    task: For the rows.
    seed: For the rows, and of the perturbations.
    settings: How many.
  """
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  split = input_pipeline.spread(split, settings.num_norm_clips)
  rows = []
  rng = np.random.default_rng(seed)
  for name, space in REPRESENTATIONS.items():
    if name == WAVEFORM:
      continue
    steps = compile_steps(classifier.model, name, settings)
    analyse = jax.jit(space.representation.analyse)
    batches = input_pipeline.batches(split, settings.batch_size, mesh)
    for number, loaded in enumerate(batches):
      preemption.check()
      batch = _arrays(loaded)
      spans = split.spans[number * settings.batch_size :]
      values, context = analyse(batch['audio'])
      blank = feature_level.Prepared(values, context, None, None)
      unperturbed = steps.rebuild(batch, blank, jnp.zeros_like(values))
      for p in range(settings.num_norm_perturbations):
        change, amplitude = _rectangles(rng, values.shape, spans)
        found = steps.rebuild(batch, blank, jnp.asarray(change))
        mask = batch['mask']
        sizes = [
          np.asarray(jnp.linalg.norm(x * mask, axis=-1))
          for x in (
            unperturbed - batch['audio'],
            found - unperturbed,
            found - batch['audio'],
          )
        ]
        for i, utterance_id in enumerate(loaded['id']):
          rows.append(
            {
              'task': task,
              'seed': seed,
              'representation': name,
              'id': str(utterance_id),
              'perturbation': p,
              'amplitude': float(amplitude[i]),
              'cells': int((change[i] != 0).sum()),
              'feature_l2': float(np.linalg.norm(change[i])),
              **{
                f'{part}_l2': float(size[i])
                for part, size in zip(PARTS, sizes, strict=True)
              },
            }
          )
  return rows


def _rectangles(rng, shape, spans):
  """Returns changes of that shape and their amplitudes, within recordings."""
  batch, num_frames, num_bins = shape
  change = np.zeros(shape, np.float32)
  amplitude = np.exp(rng.uniform(np.log(0.5), np.log(16), batch))
  hop_samples = audio.SAMPLE_RATE_HZ * features.HOP_MS // 1000
  for i, (first, end) in enumerate(spans[:batch] // hop_samples):
    last = max(first + 2, min(num_frames, end))
    t0, t1 = first + np.sort(rng.choice(last - first + 1, 2, replace=False))
    f0, f1 = np.sort(rng.choice(num_bins + 1, 2, replace=False))
    signs = rng.choice((-1, 1), (t1 - t0, f1 - f0))
    change[i, t0:t1, f0:f1] = amplitude[i] * signs
  return change, amplitude


def norm_summary_rows(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> list[dict[str, Any]]:
  """Returns rank correlations of sizes (eq. 7), by NORM_SUMMARY_COLUMNS.

  `ratio_range_db` is how far perturbations of one size in features lie apart in
  audio: from the 5th to the 95th percentile of the ratio of the two, in dB.

  Args:
    rows: By NORM_COLUMNS.
    confidence: Of intervals.
  """
  keys = ('task', 'seed', 'representation')
  table = []
  for key, group in _grouped(rows, keys).items():
    size, adversarial, overall = (
      np.array([row[f'{part}_l2'] for row in group])
      for part in ('feature', 'adversarial', 'overall')
    )
    entry = {
      **dict(zip(keys, key, strict=True)),
      'num_perturbations': len(group),
    }
    for part, other in (('adversarial', adversarial), ('overall', overall)):

      def correlation(rows, axis=-1, other=other, size=size):
        rows = np.asarray(rows, int)
        flat = rows.reshape(-1, rows.shape[-1])
        found = [_spearman(size[r], other[r]) for r in flat]
        return np.array(found).reshape(rows.shape[:-1])

      low, high = statistics.bootstrap_interval(
        np.arange(len(group)),
        correlation,
        num_resamples=499,
        confidence=confidence,
      )
      entry[f'spearman_{part}'] = _spearman(size, other)
      entry[f'{part}_ci_low'], entry[f'{part}_ci_high'] = low, high
    ratio = 20 * np.log10(np.maximum(adversarial, 1e-12) / size)
    low, high = np.percentile(ratio, [5, 95])
    entry['ratio_range_db'] = float(high - low)
    table.append(entry)
  return table


def _spearman(a, b):
  from scipy import stats

  return float(stats.spearmanr(a, b).statistic)


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
  os.makedirs(folder, exist_ok=True)
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
      and row['clean_prediction'] == row['label'] != row['prediction']
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
    batch = _arrays(next(input_pipeline.batches(one, 1, mesh)))
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
      attacked = kind in shown
      entries.append(
        {
          'file': name,
          'id': str(utterance_id),
          'kind': kind,
          'snr_db': snr_db,
          'prediction': row['prediction' if attacked else 'clean_prediction'],
        }
      )
  return entries


def write_tables(
  folder: str,
  rows: Sequence[Mapping[str, Any]],
  norms: Sequence[Mapping[str, Any]],
  settings: Settings,
) -> None:
  """Writes what the clips' rows say, the last table last.

  Args:
    folder: Where the tables go.
    rows: By CLIP_COLUMNS, of all seeds.
    norms: By NORM_COLUMNS.
    settings: What was tried.
  """
  confidence = settings.confidence
  for name, columns, table in (
    ('norms', NORM_COLUMNS, norms),
    (
      'norms_summary',
      NORM_SUMMARY_COLUMNS,
      norm_summary_rows(norms, confidence),
    ),
    ('equal_error', EQUAL_ERROR_COLUMNS, equal_error_rows(rows, settings)),
    ('equal_size', EQUAL_COLUMNS, equal_rows(rows, confidence)),
    ('budgets', BUDGET_COLUMNS, budget_rows(rows, confidence)),
  ):
    storage.write_table(os.path.join(folder, f'{name}.csv'), columns, table)
