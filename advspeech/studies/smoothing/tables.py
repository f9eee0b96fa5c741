"""Tables of certificates: a clip each, and shares of clips against SNR."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from advspeech import audio, input_pipeline, statistics
from advspeech.statistics import certificates

CLIP_COLUMNS = {
  'model': str,
  'seed': int,
  'sigma_given': str,
  'sigma': float,
  'id': str,
  'speaker': str,
  'label': str,
  'answer': str,
  'num_agreeing': int,
  'p_low': float,
  'abstains': int,
  'right': int,
  'radius': float,
  'snr_db': float,
}
SUMMARY_COLUMNS = {
  'model': str,
  'seed': int,
  'sigma_given': str,
  'sigma': float,
  'num_clips': int,
  'num_abstained': int,
  'snr_db': float,
  'num_certified': int,
  'error_rate': float,
  'ci_low': float,
  'ci_high': float,
}
# At which the share of certified clips is told; the last is the smoothed
# network's error without any attack.
SNRS_DB = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, float('inf'))


class Base(NamedTuple):
  """A base network and the noise that it hears.

  Attributes:
    model: Its name.
    seed: Of its training.
    sigma: Of the noise.
  """

  model: str
  seed: int
  sigma: audio.Epsilon


def clip_rows(
  found: Mapping[Base, np.ndarray],
  split: input_pipeline.Split,
  classes: Any,
  alpha: float,
) -> Iterator[dict[str, Any]]:
  """Yields one row a (network, sigma, clip), by CLIP_COLUMNS.

  `radius` is in L2 in the model's unit, and `snr_db` the energy of the
  recording over that of a perturbation on the ball; '' where it abstains.

  Args:
    found: Counts, [num_clips, 2, num_classes].
    split: The clips.
    classes: Names.
    alpha: Probability that a radius is wrong, at most.
  """
  norms = _norms(split)
  for base, counts in found.items():
    sigma = float(base.sigma.radii(np.float32(0)))
    for i, (guessing, certifying) in enumerate(counts):
      made = certificates.certify(guessing, certifying, alpha)
      abstains = made.radius is None
      radius = '' if abstains else sigma * made.radius
      yield {
        'model': base.model,
        'seed': base.seed,
        'sigma_given': base.sigma.text,
        'sigma': sigma,
        'id': str(split.ids[i]),
        'speaker': str(split.speakers[i]),
        'label': classes[split.labels[i]],
        'answer': classes[made.answer],
        'num_agreeing': made.num_agreeing,
        'p_low': made.p_low,
        'abstains': int(abstains),
        'right': int(not abstains and made.answer == split.labels[i]),
        'radius': radius,
        'snr_db': '' if abstains else _snr_db(norms[i], radius),
      }


def _norms(split):
  """Returns the L2 norm of each recording, [num_clips]."""
  norms = []
  for i in range(len(split)):
    clips, mask = input_pipeline.decode(
      split.pcm[i : i + 1], split.spans[i : i + 1]
    )
    signal = np.asarray((clips - audio.SILENCE) * mask, np.float64)
    norms.append(float(np.sqrt((signal**2).sum())))
  return norms


def _snr_db(norm, radius):
  if not norm:
    return -float('inf')
  return float(20 * np.log10(norm / radius)) if radius else float('inf')


def summary_rows(
  rows: list[dict[str, Any]], confidence: float
) -> Iterator[dict[str, Any]]:
  """Yields shares of clips not certified, by SUMMARY_COLUMNS.

  `error_rate` is the share of clips for which no perturbation of that SNR is
  known to be harmless: judged wrong, abstained, or certified for less. At
  infinite SNR it is the smoothed network's error, abstentions among it.

  Args:
    rows: Of `clip_rows`.
    confidence: Of Wilson's intervals.
  """
  groups: dict[Any, list[dict[str, Any]]] = {}
  for row in rows:
    key = row['model'], row['seed'], row['sigma_given']
    groups.setdefault(key, []).append(row)
  for (model, seed, given), clips in groups.items():
    for snr_db in SNRS_DB:
      held = sum(row['right'] and row['snr_db'] <= snr_db for row in clips)
      low, high = statistics.wilson_interval(
        len(clips) - held, len(clips), confidence
      )
      yield {
        'model': model,
        'seed': seed,
        'sigma_given': given,
        'sigma': clips[0]['sigma'],
        'num_clips': len(clips),
        'num_abstained': sum(row['abstains'] for row in clips),
        'snr_db': snr_db,
        'num_certified': held,
        'error_rate': 1 - held / len(clips),
        'ci_low': low,
        'ci_high': high,
      }
