"""What a run's folder holds, as a page needs it."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

from advspeech import section, statistics, sweep
from advspeech.statistics import trainings

Row = dict[str, Any]
_CORPORA = {
  'espeak': 'synthetic speech',
  'iemocap': 'IEMOCAP',
  'ravdess': 'RAVDESS',
  'crema_d': 'CREMA-D',
  'emodb': 'EmoDB',
  'savee': 'SAVEE',
  'folder': 'recordings of a folder',
}


@dataclasses.dataclass(frozen=True)
class Run:
  """A run's tables and records.

  Attributes:
    folder: Where they lie.
    config: As in `config.json`.
    models: A summary each, with `member`, its name in the config, and
      `sessions`, of its training.
    data: Corpus and splits; None where they were not recorded.
    rows: Of `sweep.csv`, each with `num_classes`.
    findings: Of the self-checks; see `sweep.findings`.
    examples: Clips written as sound.
    quality: Of `quality.csv`.
    transforms: Of `transforms.csv`.
    direct: Of `direct.csv`.
    curves: Of `curves.csv`.
    trainings: Of `trainings.csv`, each with `num_classes`.
    sessions: Of the attack.
    tasks: Of every other model that judged, by its name in the table: its
      `task` and `classes`.
    studies: What each study found, by the name that it is given by: those that
      are built in, and the config's.
  """

  folder: str
  config: Mapping[str, Any]
  models: list[Row]
  data: Mapping[str, Any] | None
  rows: list[Row]
  findings: list[Row]
  examples: list[Row]
  quality: list[Row]
  transforms: list[Row]
  direct: list[Row]
  curves: list[Row]
  trainings: list[Row]
  sessions: list[Row]
  tasks: Mapping[str, Row]
  studies: Mapping[str, section.Results]

  @property
  def task(self) -> str:
    """Returns the task's name."""
    return self.config['task']

  @property
  def corpus(self) -> str:
    """Returns the corpus's name, as its authors write it."""
    name = self.config['corpus']['name']
    return _CORPORA.get(name, name)

  @property
  def source(self) -> str:
    """Returns the model that attacks are made on."""
    return self.config['source']

  @property
  def confidence(self) -> float:
    """Returns the coverage of the table's intervals."""
    return self.config['sweep']['confidence']

  @property
  def num_speakers(self) -> int | str:
    """Returns how many voices the clips attacked are of, '' if not known."""
    return self.first[0]['num_speakers']

  @property
  def conditions(self) -> str:
    """Returns what the intervals of the sweep's rates hold for, in words."""
    held = (
      'Intervals hold for these networks, this split and one draw of noise, as '
      'if clips were independent'
    )
    if self.is_about_trainings:
      n = self.over_trainings[0]['num_trainings']
      held = (
        f'Intervals of means hold for the next training too, of which {n} are '
        'taken for a sample, on this split and one draw of noise, as if clips '
        'were independent'
      )
    number = self.num_speakers
    if number == '':
      held += '; whose voices they are is not known.'
    elif number < statistics.FEWEST_CLUSTERS:
      held += (
        f'; they are of {number} voices, too few for an interval by speaker: '
        'nothing is said of others.'
      )
    else:
      held += (
        f'; those by speaker take the {number} voices they are of for what was '
        'drawn, and hold for others like them.'
      )
    if self.over_trainings and not self.is_about_trainings:
      n = self.over_trainings[0]['num_trainings']
      held += (
        f' The next training may lie outside: the spread of {n} is shown, for '
        f'an interval there have to be {trainings.FEWEST_TRAININGS}.'
      )
    return held

  @property
  def classes(self) -> list[str]:
    """Returns the classes told apart."""
    return self.models[0]['classes']

  @functools.cached_property
  def plain(self) -> list[Row]:
    """Returns rows of the paper's setting: one source, its own seed, one mask.

    Without transform, judged by the run's own models; see `_on_curve`.
    """
    mask = self.config['sweep']['masks'][0]
    return _on_curve(
      row
      for row in self.rows
      if row['source'] == self.source
      and row['seed'] == row['target_seed']
      and row['target'] in self.config['models']
      and row['mask'] == mask
      and not row['transform']
      and row['epsilon_fs'] != ''  # radii of features are on no axis here
      and row['error_rate'] != ''
    )

  @functools.cached_property
  def others(self) -> list[Row]:
    """Returns rows of the first attack, judged by models of other runs."""
    mask = self.config['sweep']['masks'][0]
    return [
      row
      for row in self.rows
      if row['source'] == self.source
      and row['target'] not in self.config['models']
      and (row['attack'], row['mask']) == (self.attack, mask)
      and not row['transform']
      and row['error_rate'] != ''
    ]

  def clean_of_other(self, row: Row) -> Row | None:
    """Returns the row of the same judge, of another run, at epsilon 0."""
    for other in self.others:
      if (
        other['epsilon'] == 0
        and not other['control']
        and all(other[k] == row[k] for k in ('seed', 'target', 'target_seed'))
      ):
        return other
    return None

  @functools.cached_property
  def first(self) -> list[Row]:
    """Returns the plain rows of the first attack, FGSM in all presets."""
    return [r for r in self.plain if r['attack'] == self.attack]

  def over_trainings_on(self, source: str) -> list[Row]:
    """Returns rows of the first attack on a model, means over its trainings.

    Their seed is None, and there are none of a single training.

    Args:
      source: What it is made on.
    """
    where = (source, self.attack, self.config['sweep']['masks'][0], '')
    return _on_curve(
      {**row, 'seed': None, 'target_seed': None, 'errors_by_class': ''}
      for row in self.trainings
      if (row['source'], row['attack'], row['mask'], row['transform']) == where
      and row['target'] in self.config['models']
    )

  @functools.cached_property
  def over_trainings(self) -> list[Row]:
    """Returns the rows of `over_trainings_on` the run's source."""
    return self.over_trainings_on(self.source)

  @property
  def is_about_trainings(self) -> bool:
    """Returns whether there are enough trainings to speak of the next one."""
    return any(row['ci_low'] != '' for row in self.over_trainings)

  @property
  def evidence(self) -> list[Row]:
    """Returns what claims go by: rows over trainings, or else of each seed."""
    return self.over_trainings if self.is_about_trainings else self.first

  @property
  def attack(self) -> str:
    """Returns the first attack's name."""
    return self.config['sweep']['attacks'][0]

  @property
  def control(self) -> str:
    """Returns the noise that is as large as the first attack, in its norm."""
    return sweep.control_of(self.attack)

  @functools.cached_property
  def telling_epsilon(self) -> float:
    """Returns where the first attack exceeds its noise by most, in all."""
    excess: dict[float, list[float]] = {}
    for row in self.first:
      if row['control'] == self.control and row['epsilon'] > 0:
        excess.setdefault(row['epsilon'], []).append(row['excess'])
    return max(excess, key=lambda e: sum(excess[e]) / len(excess[e]))

  @property
  def num_tried(self) -> int:
    """Returns how many epsilons above 0 the first attack was made at."""
    return len({row['epsilon'] for row in self.first} - {0})

  def is_beyond_noise(self, row: Row) -> bool:
    """Returns whether the attack errs more than its control, beyond chance.

    Args:
      row: Of the control: over trainings, or of one seed.
    """
    if row['seed'] is None:
      return row['excess_corrected_low'] > 0
    return row['excess'] > 0 and all(
      self.corrected_p(row, key) < 1 - self.confidence
      for key in ('mcnemar_p', 'excess_speaker_p')
      if row[key] != ''
    )

  def significance(self, row: Row) -> str:
    """Returns in words how a control's row is tested, for all epsilons."""
    if row['seed'] is not None:
      return f'corrected p {self.corrected_p(row):.2g}'
    ends = (100 * row[f'excess_corrected_{end}'] for end in ('low', 'high'))
    return '[{:.1f}, {:.1f}] corrected'.format(*ends)

  def corrected_p(self, row: Row, key: str = 'mcnemar_p') -> float:
    """Returns a p of a control's row, for all epsilons tried.

    Level shared out among them (Bonferroni): which is told of was chosen.

    Args:
      row: Of a control.
      key: McNemar's on the clips, or 'excess_speaker_p' on the voices.
    """
    return min(1.0, row[key] * self.num_tried)

  def at(
    self, target: str, seed: int | None, epsilon: float, control: str = ''
  ) -> Row | None:
    """Returns the row of the first attack at a point, None if there is none.

    Args:
      target: Who judges.
      seed: Of source and judge; None for the mean over trainings.
      epsilon: At which.
      control: '' for the attack itself.
    """
    for row in self.over_trainings if seed is None else self.first:
      found = (row['target'], row['seed'], row['epsilon'], row['control'])
      if found == (target, seed, epsilon, control):
        return row
    return None

  def direct_at(
    self, model: str, seed: int | None, epsilon: float
  ) -> Row | None:
    """Returns the row of the first attack on a model itself, judged by it.

    Args:
      model: Other than the run's source, of whose attack `at` tells.
      seed: Of the model; None for the mean over trainings.
      epsilon: At which.

    Returns:
      None if the model is the source or was not attacked.
    """
    if model == self.source:
      return None
    found = self.rows if seed is not None else self.over_trainings_on(model)
    for row in found:
      where = tuple(row[k] for k in ('source', 'target', 'attack', 'mask'))
      if (
        where == (model, model, self.attack, self.config['sweep']['masks'][0])
        and row['seed'] == row['target_seed'] == seed
        and row['epsilon'] == epsilon
        and not (row['control'] or row['transform'])
        and row['error_rate'] != ''
      ):
        return row
    return None

  @functools.cached_property
  def judges(self) -> list[tuple[str, int | None]]:
    """Returns models and seeds that claims are about: None for all seeds."""
    return list(dict.fromkeys((r['target'], r['seed']) for r in self.evidence))

  def path(self, *parts: str) -> str:
    """Returns a path in the folder."""
    return os.path.join(self.folder, *parts)


def _on_curve(rows):
  """Returns rows whose epsilons are sizes of one another.

  Those of norms; masking thresholds where there is nothing else but 0. Beside
  norms they are in the table of every point alone.
  """
  rows = list(rows)
  norms = [r for r in rows if not str(r['epsilon_given']).endswith('dbmask')]
  return norms if any(row['epsilon'] > 0 for row in norms) else rows
