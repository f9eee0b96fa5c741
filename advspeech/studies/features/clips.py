"""Attacks a split clip by clip, in features and end to end; a row a result."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from advspeech import checkpoint, input_pipeline, over_clips, parallel, quality
from advspeech.studies.features import attack, measures
from advspeech.studies.features.settings import Settings, Variant, budgets

POINT = ('task', 'seed', 'source', *Variant._fields, 'kind', 'budget', 'priced')
CLIP_COLUMNS = (
  *POINT,
  'epsilon',
  'attainable',
  'id',
  'speaker',
  'label',
  'leaves',
  'feature_l2',
  *measures.MEASURES,
  *measures.SCORES,
  'target',
  'clean_prediction',
  'unperturbed_prediction',
  'prediction',
  'prediction_int16',
)


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

  On all devices of all processes, whatever their number, the same.

  Args:
    classifiers: Models by name, on the whole mesh; all judge.
    source: Name of the one that is attacked.
    split: Clips.
    task: For the rows.
    seed: For the rows, and of the random signs.
    classes: Names of the labels.
    settings: What is tried.

  Raises:
    preemption.Stopped: If a signal asked for it.
  """
  chosen = input_pipeline.spread_rows(len(split), settings.num_scored)
  is_scored = np.isin(np.arange(len(split)), chosen)
  lost_db: dict[str, np.ndarray] = {}
  sized: dict[tuple[str, str], attack.Found] = {}
  rows = []
  for variant in settings.variants:
    name = variant.representation
    prices = [b.priced for b in budgets(variant, settings) if b.priced]
    lost = [lost_db[other] for other in prices]
    columns = {
      'lost_db': np.reshape(lost, (len(prices), len(split))).T.astype('f4')
    }
    first = sized.get((name, variant.through))
    if variant.method == 'pgd' and first is not None:
      columns |= {'scale': first.scale, 'within': first.within}
    found, scores = _attack(
      variant, classifiers, source, split, is_scored, columns, seed, settings
    )
    lost_db[name] = found.measures['conversion_snr_db'][:, 0]
    if variant.method == 'fgsm':
      sized[name, variant.through] = found
    rows += _rows(
      {'task': task, 'seed': seed, 'source': source, **variant._asdict()},
      budgets(variant, settings),
      found,
      scores,
      split,
      tuple(classifiers),
      classes,
    )
  return rows


def _attack(
  variant, classifiers, source, split, is_scored, columns, seed, settings
):
  """Returns `attack.Found` of all clips, and their scores by name."""
  mesh = parallel.make_mesh()
  fn = attack.Attack(
    classifiers[source].model,
    tuple(c.model for c in classifiers.values()),
    variant,
    budgets(variant, settings),
    settings.num_steps,
    settings.num_halvings,
    bool(is_scored.any()),
  )
  variables = tuple(c.variables for c in classifiers.values())
  parts, scores = [], []
  for numbers, found in over_clips.iterate_clips(
    fn,
    split,
    mesh,
    over_clips.chunk_size(mesh),
    shared=(classifiers[source].variables, variables),
    columns=columns,
    seed=seed,
    name=f'features, seed {seed}, {" ".join(variant)}',
  ):
    scores.append(_scores(split, numbers, is_scored, found))
    parts.append(found._replace(sounds=found.sounds[:, :0]))
  found = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  return found, np.concatenate(scores)


def _scores(split, numbers, is_scored, found):
  """Returns SCORES of clips, [num_clips, num_budgets, num_scores].

  Not a number where a measure is not defined, not installed or not asked for.

  Args:
    split: The clips.
    numbers: Which of them.
    is_scored: Of all of the split, whether it is to be scored.
    found: Of these clips, with sounds.
  """
  num_budgets = found.epsilon.shape[1]
  names = ('stoi', *(('pesq',) if quality.has_pesq() else ()))
  clips, recorded = map(
    np.asarray, input_pipeline.decode(split.pcm[numbers], split.spans[numbers])
  )

  def score(i):
    values = np.full((num_budgets, len(measures.SCORES)), np.nan)
    if not is_scored[numbers[i]]:
      return values
    clip, (alone, *sounds) = clips[i], found.sounds[i]
    for b, sound in enumerate(sounds):
      for part, before, after in (
        ('conversion', clip, alone),
        ('adversarial', alone, sound),
        ('overall', clip, sound),
      ):
        if part == 'conversion' and b:
          continue
        for name in names:
          (value,) = getattr(quality, name)(
            before[None], after[None], recorded[i : i + 1]
          ).values
          place = measures.SCORES.index(f'{part}_{name}')
          values[b, place] = np.nan if value is None else value
    for name in names:  # rebuilding does not depend on the budget
      place = measures.SCORES.index(f'conversion_{name}')
      values[:, place] = values[0, place]
    return values

  return parallel.share_out(
    score, len(numbers), (num_budgets, len(measures.SCORES))
  )


def _rows(point, tried, found, scores, split, targets, classes):
  rows = []
  for b, budget in enumerate(tried):
    for i, utterance_id in enumerate(split.ids):
      of_clip = {
        **point,
        'kind': budget.kind,
        'budget': budget.value,
        'priced': budget.priced,
        'epsilon': float(found.epsilon[i, b]),
        'attainable': int(found.attainable[i, b]),
        'id': str(utterance_id),
        'speaker': str(split.speakers[i]),
        'label': classes[split.labels[i]],
        'leaves': 'label',
        'feature_l2': float(found.feature_l2[i, b]),
        **{k: float(found.measures[k][i, b]) for k in measures.MEASURES},
        **{
          name: '' if np.isnan(value) else float(value)
          for name, value in zip(measures.SCORES, scores[i, b], strict=True)
        },
      }
      rows += [
        {
          **of_clip,
          'target': target,
          'clean_prediction': classes[found.clean[i, t]],
          'unperturbed_prediction': classes[found.unperturbed[i, t]],
          'prediction': classes[found.predictions[i, b, t, 0]],
          'prediction_int16': classes[found.predictions[i, b, t, 1]],
        }
        for t, target in enumerate(targets)
      ]
  return rows
