"""Figures of the study, from its tables alone."""

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, section, storage
from advspeech.studies.substitute import attacker, augmenting, claims, rounds

ARM_TITLES = {
  augmenting.JACOBIAN: "along the substitute's gradient",
  attacker.NATURAL: 'natural clips',
  augmenting.NOISE: 'clips and noise',
  augmenting.TRANSFORMS: 'clips and transforms',
  attacker.TRUE_LABELS: 'natural clips, true labels',
}


def telling_epsilon(rows: list[dict]) -> str:
  """Returns the epsilon at which the white box exceeds noise by most.

  Chosen by what no substitute has a part in.

  Args:
    rows: Of one victim and attack.
  """
  own = [
    row
    for row in rows
    if row['arm'] == rounds.WHITE_BOX and row['control'] == 'random_sign'
  ]
  return max(own, key=lambda row: row['excess'])['epsilon_given']


def queries(results: section.Results) -> figure.Figure:
  """Returns errors of victims against clips labelled, a panel a regime.

  Of the first attack; a row of panels a victim.
  """
  rows = results.table('substitute')
  rows = [row for row in rows if row['attack'] == rows[0]['attack']]
  victims = list(dict.fromkeys(row['victim'] for row in rows))
  regimes = list(dict.fromkeys(row['regime'] for row in rows if row['regime']))
  arms = [arm for arm in ARM_TITLES if any(r['arm'] == arm for r in rows)]
  colors = {arm: f'C{i}' for i, arm in enumerate(ARM_TITLES)}
  with figures.house_style():
    fig = figure.Figure(
      figsize=(3.9 * len(regimes) + 0.5, 3.2 * len(victims) + 0.5)
    )
    panels = fig.subplots(
      len(victims), len(regimes), sharey=True, squeeze=False
    )
    for line, victim in zip(panels, victims, strict=True):
      mine = [row for row in rows if row['victim'] == victim]
      given = telling_epsilon(mine)
      mine = [row for row in mine if row['epsilon_given'] == given]
      for panel, regime in zip(line, regimes, strict=True):
        _draw(panel, mine, regime, colors)
        panel.set_title(
          f'{figures.model_name(victim)} at {given}\n'
          f'{claims.REGIME_TITLES[regime]}'
        )
      line[0].set_ylabel('error of the victim in %')
    for panel in panels[-1]:
      panel.set_xlabel('clips labelled')
    panels[0][0].set_ylim(0, 100)
    handles = [
      *(
        lines.Line2D(
          [],
          [],
          color=colors[arm],
          marker='.',
          ls=_style(arm),
          label=ARM_TITLES[arm],
        )
        for arm in arms
      ),
      lines.Line2D([], [], color='0.2', ls=':', label="the victim's gradient"),
      lines.Line2D([], [], color='0.6', label='random signs as large'),
    ]
    figures.with_legend(fig, handles, ncols=2)
    figures.note(
      fig,
      f'{figures.attack_title(rows[0]["attack"])}, {rows[0]["num_clips"]} test '
      'clips that were never asked about; whiskers: intervals over clips. '
      "Each label is a query, but for true ones. Epsilon: where the victim's "
      'own gradient exceeds noise by most.',
    )
    return fig


def _style(arm):
  return '--' if arm == attacker.TRUE_LABELS else '-'


def _draw(panel, rows, regime, colors):
  """Draws every arm of a victim and a regime, and what it is held against."""
  attacked = [row for row in rows if not row['control']]
  of_regime = [row for row in attacked if row['regime'] == regime]
  for (arm,), group in storage.grouped(of_regime, ('arm',)).items():
    rate = np.array([row['error_rate'] for row in group])
    ends = np.array([(row['ci_low'], row['ci_high']) for row in group]).T
    panel.errorbar(
      [row['num_trained'] for row in group],
      100 * rate,
      100 * np.abs(ends - rate),
      color=colors[arm],
      linestyle=_style(arm),
      marker='.',
      capsize=2,
    )
  sizes = sorted({row['num_trained'] for row in of_regime})
  panel.set_xscale('log')
  panel.set_xticks(sizes, list(map(str, sizes)))
  panel.set_xticks([], minor=True)
  for row in attacked:
    if row['arm'] == rounds.WHITE_BOX:
      panel.axhline(100 * row['error_rate'], color='0.2', ls=':')
  for row in rows:
    if row['arm'] == rounds.WHITE_BOX and row['control'] == 'random_sign':
      panel.axhline(100 * row['error_rate'], color='0.6')
