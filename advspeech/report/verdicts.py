"""Which clips a run's attacks break, to be paired with those of other runs."""

import dataclasses
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advspeech import audio, figures, storage, sweep
from advspeech.report import run as run_lib
from advspeech.sweep import rates

_SEED = re.compile(r'-seed\d+/*$')
_ENDS = ('low', 'high', 'speaker_low', 'speaker_high')


class Way(NamedTuple):
  """How a model's clips are perturbed.

  Attributes:
    attack: Its name, or one of `sweep.STRONGEST`.
    other: Model of another run that it is made on; '' for the model itself.
    transform: What comes between attack and judgement; '' for nothing.
    adaptive: Whether the attack knows of it.
  """

  attack: str
  other: str = ''
  transform: str = ''
  adaptive: int = 0

  @property
  def title(self) -> str:
    """Returns what a page calls it."""
    words = figures.attack_title(self.attack)
    if self.other:
      words += f' made on {self.other}'
    return words


class Point(NamedTuple):
  """A way at an epsilon, judged by a model.

  Attributes:
    target: The model's name.
    way: How clips are perturbed.
    epsilon: What tells it from others; see `audio.Epsilon.same`.
  """

  target: str
  way: Way
  epsilon: tuple[str, float]


class Size(NamedTuple):
  """An epsilon as tables show it.

  Attributes:
    text: As it was given.
    epsilon: Its mean radius in the model's unit.
    snr_db: In the mean over recorded samples, of the first attack at it.
  """

  text: str
  epsilon: float
  snr_db: float


@dataclasses.dataclass(frozen=True, eq=False)
class Verdicts:
  """Verdicts on a run's clips.

  Attributes:
    ids: Of the clips.
    speakers: [num_clips] who speaks, '' where unknown.
    wrong: [num_clips] whether each is judged wrong, by point and seed.
    sizes: Of epsilons.
    norms: In which each attack is bounded, by its name.
    joined: Attacks that `with_strongest` joined.
  """

  ids: tuple[str, ...]
  speakers: np.ndarray
  wrong: Mapping[Point, Mapping[int, np.ndarray]]
  sizes: Mapping[tuple[bool, float], Size]
  norms: Mapping[str, str]
  joined: frozenset[str] = frozenset()

  def at(self, point: Point, seeds: Sequence[int]) -> np.ndarray | None:
    """Returns verdicts, [num_seeds, num_clips], None if a seed has none.

    Args:
      point: Which.
      seeds: Of the model that judges.
    """
    found = self.wrong.get(point, {})
    if not seeds or not set(seeds) <= set(found):
      return None
    return np.stack([found[seed] for seed in seeds])


def with_strongest(verdicts: Verdicts, names: Collection[str]) -> Verdicts:
  """Returns verdicts with what attacks break together, by `sweep.STRONGEST`.

  By norm, without transforms, at epsilons at which all were made.

  Args:
    verdicts: Of a run.
    names: Of the attacks; those of several runs that are compared.
  """
  plain: dict[Any, dict[str, np.ndarray]] = {}
  for point, by_seed in verdicts.wrong.items():
    way = point.way
    if way.transform or way.attack not in names:
      continue
    for seed, wrong in by_seed.items():
      key = point.target, way.other, seed, verdicts.norms[way.attack]
      plain.setdefault((*key, point.epsilon), {})[way.attack] = wrong
  found = {point: dict(by_seed) for point, by_seed in verdicts.wrong.items()}
  for key, wrong in _strongest(plain).items():
    target, other, seed, norm, epsilon = key
    point = Point(target, Way(sweep.STRONGEST[norm], other), epsilon)
    found.setdefault(point, {})[seed] = wrong
  return dataclasses.replace(verdicts, wrong=found, joined=frozenset(names))


def same(epsilon: str | float) -> tuple[str, float]:
  """Returns what tells an epsilon from others, in whatever unit it is."""
  return audio.parse_epsilon(epsilon, masking=True).same()


def of_run(run: run_lib.Run) -> Verdicts | None:
  """Returns the verdicts of a run's own models, None if none were written.

  On themselves, and on examples made on models of other runs.

  Args:
    run: As read.
  """
  paths = [run.path('attack', f'{name}.csv') for name in ('clips', 'verdicts')]
  if not all(map(storage.exists, paths)):
    return None
  clips, rows = (storage.read_table(path, may_be_empty=True) for path in paths)
  models = run.config['models']
  mask = run.config['sweep']['masks'][0]
  wrong: dict[Point, dict[int, np.ndarray]] = {}
  sizes: dict[tuple[bool, float], Size] = {}
  norms: dict[str, str] = {}
  for row in rows:
    is_own = row['source'] == row['target']
    if (
      row['target'] not in models
      or row['mask'] != mask
      or not (is_own or row['source'] not in models)
    ):
      continue
    epsilon = same(row['epsilon_given'])
    sizes.setdefault(
      epsilon, Size(row['epsilon_given'], row['epsilon'], row['mean_snr_db'])
    )
    way = Way(
      row['attack'],
      '' if is_own else _other(row['source']),
      row['transform'],
      row['adaptive'],
    )
    verdicts = sweep.verdicts_from_text(row['wrong'])
    point = Point(row['target'], way, epsilon)
    wrong.setdefault(point, {})[row['seed']] = verdicts
    norms[row['attack']] = row['norm']
  return Verdicts(
    tuple(row['id'] for row in clips),
    np.array([row['speaker'] for row in clips]),
    wrong,
    sizes,
    norms,
  )


def _strongest(plain):
  """Returns what the attacks of a norm break together, where all were made."""
  names: dict[Any, set[str]] = {}
  for (*family, _), found in plain.items():
    names.setdefault(tuple(family), set()).update(found)
  return {
    (*family, epsilon): np.any(list(found.values()), 0)
    for (*family, epsilon), found in plain.items()
    if set(found) == names[tuple(family)]
  }


def _other(source):
  """Returns 'none/wavecnn' for the folder of any of its seeds."""
  path = _SEED.sub('', source)
  return os.sep.join(storage.absolute(path).split(os.sep)[-2:])


def rate(
  wrong: np.ndarray, speakers: np.ndarray, confidence: float
) -> dict[str, Any]:
  """Returns an error rate with what is known of it, as `trainings.csv` has it.

  Intervals of one training hold for its clips, of five and more for the next
  training; of those between there is the spread.

  Args:
    wrong: [num_trainings, num_clips] whether each clip is judged wrong.
    speakers: [num_clips] who speaks.
    confidence: Of intervals.
  """
  row = {
    **{f'ci_{end}': '' for end in _ENDS},
    'num_trainings': len(wrong),
    'num_clips': wrong.shape[1],
    **sweep.rate_over_trainings(wrong, speakers, confidence),
  }
  if len(wrong) == 1:
    row |= rates.of_clips('ci', wrong[0], speakers, confidence)
  return row


def difference(
  a: np.ndarray, b: np.ndarray, speakers: np.ndarray, confidence: float
) -> dict[str, Any]:
  """Returns A's error rate less B's, the key `excess`, as `rate` does.

  Args:
    a: [num_trainings, num_clips] verdicts on clips.
    b: The same seeds and clips, of other networks.
    speakers: As of `rate`.
    confidence: The same.
  """
  row = {
    **{f'excess_{end}': '' for end in _ENDS},
    'num_trainings': len(a),
  }
  row |= sweep.excess_over_trainings(a, b, speakers, confidence)
  if len(a) == 1:
    row |= rates.difference('excess', a[0], b[0], speakers, confidence)
  return row
