"""Figures of the study, from its tables alone."""

from collections.abc import Sequence
from typing import Any

from matplotlib import axes, figure

from advspeech import attacks, figures, section, storage
from advspeech.studies.privacy import attackers, points
from advspeech.studies.verification.figures import title

_TITLES = {
  points.CLEAN: 'nothing done',
  points.NOISE: 'random signs',
  points.SPEAKER: 'speaker alone',
  'weighted': 'weighted sum',
  'projected': 'projected gradient',
  'multiplier': 'a multiplier a clip',
}
ATTACKER_TITLES = {
  attackers.IGNORANT: 'ignorant',
  attackers.LAZY: 'enrols protected clips',
  attackers.SEMI: 'refitted',
  attackers.FILTERING: 'behind a transform',
  attackers.RETRAINED: 'network retrained',
}
# Of protections, more than there are colours.
_SIGNS = 'osD^vPX*<>'
_MARKERS = dict(zip(attackers.ATTACKERS, 'osDXP', strict=True))
__all__ = ['ATTACKER_TITLES', 'loudest', 'pareto', 'protection', 'title', 'who']


def protection(row: Any) -> str:
  """Returns what figures call the protection of a row."""
  name = row['protection']
  known = _TITLES.get(name) or figures.transform_title(name)
  is_weighed = name == attacks.SOLVERS[0]
  if is_weighed and row['weight'] == 1:
    return _TITLES[points.SPEAKER]
  return f'{known}, {row["weight"]:g}' if is_weighed else known


def answer(row: Any) -> str:
  """Returns what figures call what an attacker put before a speaker model."""
  is_none = row['answer'] == attackers.NOTHING
  return 'none' if is_none else figures.transform_title(row['answer'])


def loudest(rows: Sequence[Any]) -> list[Any]:
  """Returns the rows at the largest epsilon."""
  largest = max((row['epsilon'] for row in rows), default=0)
  return [row for row in rows if row['epsilon'] == largest]


def pareto(results: section.Results) -> figure.Figure:
  """Returns EER against UAR at the largest epsilon.

  A row an embedder, a column an attacker; ringed is what no other point beats
  in both, in half of the resamples or more.
  """
  rows = loudest(results.table('privacy'))
  embedders = list(dict.fromkeys(row['embedder'] for row in rows))
  asking = _asking(rows)
  looks = _looks(rows)
  with figures.house_style():
    fig = figure.Figure(figsize=(3.2 * len(asking), 3.2 * len(embedders) + 1.1))
    panels = fig.subplots(
      len(embedders),
      len(asking),
      sharex=True,
      sharey=True,
      squeeze=False,
    )
    for panel, who_asks in zip(panels[0], asking, strict=True):
      panel.set_title(f'attacker: {ATTACKER_TITLES[who_asks]}')
    for line, embedder in zip(panels, embedders, strict=True):
      for panel, who_asks in zip(line, asking, strict=True):
        own = points.by_key(rows, embedder=embedder, attacker=who_asks)
        _draw_pareto(panel, own, looks)
      line[0].set_ylabel(f'{title(embedder)}\nEER in %')
    for panel in panels[-1]:
      panel.set_xlabel('UAR of the emotion in %')
    figures.with_legend(
      fig, panels[0][0].get_legend_handles_labels()[0], ncols=4
    )
    figures.note(fig, _counted(rows))
    return fig


def _draw_pareto(panel: axes.Axes, rows: Sequence[Any], looks: Any) -> None:
  """Draws a point a protection, with its intervals."""
  panel.axhline(50, color='0.7', linewidth=0.6)
  for row in rows:
    name = protection(row)
    color, marker = looks[name]
    x, y = 100 * row['uar'], 100 * row['eer']
    if row['eer_low'] != '':
      panel.plot(
        [100 * row['uar_low'], 100 * row['uar_high']],
        [y, y],
        color=color,
        alpha=0.3,
      )
      panel.plot(
        [x, x],
        [100 * row['eer_low'], 100 * row['eer_high']],
        color=color,
        alpha=0.3,
      )
    panel.plot(x, y, marker, color=color, label=name)
    if row['non_dominated'] != '' and row['non_dominated'] >= 0.5:
      panel.plot(x, y, 'o', color='0.2', markersize=11, fillstyle='none')


def who(results: section.Results) -> figure.Figure:
  """Returns the EER of each attacker under each protection, largest epsilon."""
  rows = loudest(results.table('privacy'))
  by_embedder = storage.grouped(rows, ('embedder',))
  names, asking = list(dict.fromkeys(map(protection, rows))), _asking(rows)
  with figures.house_style():
    fig = figure.Figure(
      figsize=(
        4.4 * len(by_embedder) + 1.6,
        0.14 * len(asking) * len(names) + 1.6,
      )
    )
    panels = fig.subplots(1, len(by_embedder), sharey=True, squeeze=False)[0]
    for panel, ((embedder,), own) in zip(
      panels, by_embedder.items(), strict=True
    ):
      for i, who_asks in enumerate(asking):
        offset = 0.6 * ((i + 0.5) / len(asking) - 0.5)
        _draw_who(panel, own, names, who_asks, offset)
      was_attacked = 'attacked' if own[0]['attacked'] else 'not attacked'
      panel.set_title(f'{title(embedder)}, {was_attacked}')
      panel.set_xlabel('EER in %')
      panel.set_xlim(0, 100)
      panel.axvline(50, color='0.7', linewidth=0.6)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figures.with_legend(fig, panels[0].get_legend_handles_labels()[0], ncols=3)
    figures.note(fig, _counted(rows))
    return fig


def _asking(rows):
  """Returns the attackers that rows have, in their order."""
  found = {row['attacker'] for row in rows}
  return [x for x in attackers.ATTACKERS if x in found]


def _draw_who(panel, rows, names, who_asks, offset):
  """Draws what one attacker gets wrong under each protection."""
  own = points.by_key(rows, attacker=who_asks)
  at = [names.index(protection(row)) + offset for row in own]
  color = f'C{attackers.ATTACKERS.index(who_asks)}'
  panel.plot(
    [100 * row['eer'] for row in own],
    at,
    _MARKERS[who_asks],
    color=color,
    label=f'attacker: {ATTACKER_TITLES[who_asks]}',
  )
  for y, row in zip(at, own, strict=True):
    if row['eer_low'] != '':
      panel.plot(
        [100 * row['eer_low'], 100 * row['eer_high']],
        [y, y],
        color=color,
        alpha=0.4,
      )


def _looks(rows):
  """Returns a colour and a marker a protection."""
  names = list(dict.fromkeys(map(protection, rows)))
  return {
    name: (f'C{i % 7}', _SIGNS[i % len(_SIGNS)]) for i, name in enumerate(names)
  }


def _counted(rows):
  """Returns of what a figure is."""
  row = rows[0]
  return (
    f'{row["num_clips"]} clips of {row["num_speakers"]} speakers; noise and '
    f'solvers at {row["epsilon_given"]}. EER 50 %: the speaker is not found.'
  )
