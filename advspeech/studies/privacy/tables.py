"""The tables of the study: clips, what emotion is left, who is found."""

import os
from typing import Any

import numpy as np

from advspeech import storage, sweep
from advspeech.studies.privacy import attackers, parts, singling
from advspeech.studies.privacy import design as design_lib
from advspeech.studies.privacy import points as points_lib
from advspeech.studies.verification import sides
from advspeech.studies.verification.sides import ENDS

Row = dict[str, Any]
LAST = 'privacy.csv'
CLIP_COLUMNS = {
  'use': str,
  'clip': str,
  'speaker': str,
  'against': str,
}
_POINT = {
  **sweep.EPSILON_COLUMNS,
  'protection': str,
  'weight': float,
  'mean_snr_db': float,
  'num_clips': int,
  'num_speakers': int,
}
UTILITY_COLUMNS = {
  **_POINT,
  'model': str,
  'seed': int,
  'spared': int,
  **{
    f'{name}{end}': float for name in ('uar', 'more', 'drift') for end in ENDS
  },
}
PRIVACY_COLUMNS = {
  **_POINT,
  'embedder': str,
  'attacked': int,
  'num_heard': int,
  'attacker': str,
  'enrols': str,
  'shrinkage': float,
  'answer': str,
  'threshold': float,
  **{f'frr{end}': float for end in ENDS},
  'chance': float,
  **{f'linked{end}': float for end in ENDS},
  'singled_chance': float,
  **{
    f'{name}{end}': float
    for name in ('singled', 'eer', 'more', 'over_noise', 'uar')
    for end in ENDS
  },
  'non_dominated': float,
}


def write(folder: str, results: parts.Results, confidence: float) -> None:
  """Writes all tables, `LAST` last.

  Args:
    folder: Of the study.
    results: All that was found.
    confidence: Of intervals.
  """
  utility, privacy = rows(results, confidence)
  for name, columns, found in (
    ('clips.csv', CLIP_COLUMNS, clip_rows(results)),
    ('utility.csv', UTILITY_COLUMNS, utility),
    (LAST, PRIVACY_COLUMNS, privacy),
  ):
    storage.write_table(os.path.join(folder, name), tuple(columns), found)


def clip_rows(results: parts.Results) -> list[Row]:
  """Returns what each clip is for, by CLIP_COLUMNS."""
  return [
    {
      'use': what,
      'clip': str(results.ids[clip.row]),
      'speaker': clip.speaker,
      'against': clip.against,
    }
    for what, clip in results.clips
  ]


def rows(
  results: parts.Results, confidence: float
) -> tuple[list[Row], list[Row]]:
  """Returns rows by UTILITY_COLUMNS, and by PRIVACY_COLUMNS.

  Those of clean clips and of transforms stand beside every epsilon.

  Args:
    results: All that was found.
    confidence: Of intervals.
  """
  speakers = points_lib.Speakers(results)
  listeners = [
    attackers.Listener(results, i) for i in range(len(results.named))
  ]
  tested = results.of(design_lib.TESTED)
  utility, privacy = [], []
  for number, epsilon in enumerate(results.epsilons):
    points = list(points_lib.at_epsilon(results, number))
    described = [
      {
        **sweep.epsilon_columns(epsilon, results.signal_rms[tested]),
        'protection': point.name,
        'weight': point.weight,
        'mean_snr_db': points_lib.snr_db(results, point),
        'num_clips': len(tested),
        'num_speakers': speakers.number,
      }
      for point in points
    ]
    kept, found = _utility(results, points, described, speakers, confidence)
    utility += found
    for listener, named in zip(listeners, results.named, strict=True):
      for who in listener.attackers(number):
        of_attacker = {
          'embedder': named.embedder.name,
          'attacked': int(named is results.named[0]),
          'num_heard': len(named.heard & set(speakers.names)),
          'attacker': who,
        }
        found = _privacy(
          results, points, listener, who, speakers, kept, confidence
        )
        privacy += [
          {**one, **of_attacker, **other}
          for one, other in zip(described, found, strict=True)
        ]
  return utility, privacy


def _utility(results, points, described, speakers, confidence):
  """Returns the mean UAR of all models at each point, and the rows."""
  labels = results.labels[results.of(design_lib.TESTED)]
  found, of_models = [], []
  for number, model in enumerate(results.models):
    said = [points_lib.answers(results, p, number) for p in points]
    recalls = [speakers.recall(labels, classes) for classes, _ in said]
    of_models.append(recalls)
    for one, recall, (_, drift) in zip(described, recalls, said, strict=True):
      found.append(
        {
          **one,
          'model': model.name,
          'seed': model.seed,
          'spared': int(not number),
          **recall.row('uar', confidence),
          **recall.less(recalls[0]).row('more', confidence),
          **speakers.mean(drift).row('drift', confidence),
        }
      )
  kept = [
    points_lib.Resampled(
      float(np.mean([r.value for r in group])),
      None
      if group[0].drawn is None
      else np.mean([r.drawn for r in group], axis=0),
      speakers.number,
    )
    for group in zip(*of_models, strict=True)
  ]
  return kept, found


def _privacy(results, points, listener, who, speakers, kept, confidence):
  """Returns what one attacker finds out at each point."""
  trials = [listener.trials(p.part, p.place, who) for p in points]
  errors = [speakers.equal_error(x) for x in trials]
  shares = points_lib.non_dominated(errors, kept)
  clean, noise = (
    next(e for p, e in zip(points, errors, strict=True) if p.name == name)
    for name in (points_lib.CLEAN, points_lib.NOISE)
  )
  crowds = singling.draw(listener.own)
  found = []
  for x, error, recall, share in zip(trials, errors, kept, shares, strict=True):
    is_fixed = np.isfinite(x.threshold)
    found.append(
      {
        'enrols': x.enrols,
        'shrinkage': '' if x.shrinkage is None else x.shrinkage,
        'answer': x.answer,
        'threshold': float(x.threshold) if is_fixed else '',
        **(
          speakers.rate('frr', attackers.rejected(x), confidence)
          if is_fixed
          else {f'frr{end}': '' for end in ENDS}
        ),
        'chance': 1 / speakers.number,
        **speakers.rate('linked', attackers.linked(x), confidence),
        **_singled(x, crowds, speakers, confidence),
        **error.row('eer', confidence),
        **error.less(clean).row('more', confidence),
        **error.less(noise).row('over_noise', confidence),
        **recall.row('uar', confidence),
        'non_dominated': share,
      }
    )
  return found


def _singled(trials, crowds, speakers, confidence):
  """Returns how often a rule of the attacker's is true of one clip alone."""
  if crowds is None:
    return {'singled_chance': ''} | {f'singled{end}': '' for end in ENDS}
  shares = singling.isolated(trials.scores, crowds)
  names = np.array(speakers.names)[crowds.speakers]
  return {
    'singled_chance': singling.chance(crowds),
    **sides.rate_row('singled', shares, names, names, confidence),
  }
