"""Figures of the study, from its tables alone."""

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, section
from advspeech.studies.air import sending

_STYLES = ('-', '--', '-.', ':')


def gap(results: section.Results) -> figure.Figure:
  """Returns errors in rooms seen and unseen against the rooms averaged over."""
  rows = results.table('air')
  models = list(dict.fromkeys(row['model'] for row in rows))
  attacks = list(dict.fromkeys(row['attack'] for row in rows))
  draws = sorted({row['draws'] for row in rows})
  with figures.house_style():
    fig = figure.Figure(figsize=(4.2 * len(models) + 0.4, 4.0))
    panels = fig.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
      panel.set_title(figures.model_name(model))
      mine = [row for row in rows if row['model'] == model]
      for attack, style in zip(attacks, _STYLES * len(attacks), strict=False):
        at = {
          (row['sent'], row['draws']): row
          for row in mine
          if row['attack'] == attack
        }
        made = [at[sending.ATTACK, m] for m in draws]
        place = np.arange(len(draws))
        panel.errorbar(
          place,
          [100 * row['unseen'] for row in made],
          _whiskers(made),
          color='C0',
          linestyle=style,
          marker='.',
          capsize=2,
          zorder=3,
        )
        seen = [i for i, row in enumerate(made) if row['seen'] != '']
        panel.plot(
          seen,
          [100 * made[i]['seen'] for i in seen],
          color='C1',
          linestyle=style,
          marker='.',
          zorder=4,
        )
        panel.plot(
          place,
          [
            max(100 * at[kind, m]['unseen'] for kind in sending.SENT[2:])
            for m in draws
          ],
          color='0.5',
          linestyle=style,
        )
        panel.plot(
          place,
          [100 * at[sending.CLEAN, m]['unseen'] for m in draws],
          color='0.75',
          linestyle=style,
        )
      panel.set_xticks(place, ['none', *map(str, draws[1:])])
      panel.set_xlabel('simulated rooms that the attack averages over')
    panels[0].set_ylim(0, 100)
    panels[0].set_ylabel('error rate in %')
    figures.with_legend(
      fig,
      [
        *(
          lines.Line2D([], [], color=color, label=label)
          for color, label in (
            ('C0', 'attack, unseen rooms'),
            ('C1', 'attack, the rooms it was made in'),
            ('0.5', 'noise of its size, unseen rooms'),
            ('0.75', 'clean, unseen rooms'),
          )
        ),
        *(
          lines.Line2D(
            [], [], color='0.2', ls=style, label=figures.attack_title(attack)
          )
          for attack, style in zip(
            attacks, _STYLES * len(attacks), strict=False
          )
          if len(attacks) > 1
        ),
      ],
      ncols=2,
    )
    figures.note(
      fig,
      f'{rows[0]["num_clips"]} test clips in {rows[0]["num_rooms"]} simulated '
      'rooms; whiskers: intervals over clips and rooms. Noise: the most '
      'harmful of three kinds.',
    )
    return fig


def _whiskers(rows):
  """Returns how far intervals reach below and above, [2, num], in %."""
  return 100 * np.array(
    [
      [row['unseen'] - row['unseen_low'] for row in rows],
      [row['unseen_high'] - row['unseen'] for row in rows],
    ]
  ).clip(0)


def reverberation(results: section.Results) -> figure.Figure:
  """Returns errors in every room against the time in which its sound decays.

  Of the first attack, averaged over the most rooms.
  """
  rows = results.table('rooms')
  attack, most = rows[0]['attack'], max(row['draws'] for row in rows)
  rows = [
    row for row in rows if (row['attack'], row['draws']) == (attack, most)
  ]
  models = list(dict.fromkeys(row['model'] for row in rows))
  shown = (
    (sending.ATTACK, 'C0', f'{figures.attack_title(attack)}, {most} rooms'),
    ('gaussian', '0.5', 'Gaussian noise of its size'),
    (sending.CLEAN, 'C2', 'clean'),
  )
  with figures.house_style():
    fig = figure.Figure(figsize=(4.2 * len(models) + 0.4, 3.8))
    panels = fig.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
      panel.set_title(figures.model_name(model))
      for sent, color, _ in shown:
        mine = [r for r in rows if (r['model'], r['sent']) == (model, sent)]
        t60 = np.array([row['t60_s'] for row in mine])
        error = 100 * np.array([row['error_rate'] for row in mine])
        panel.plot(t60, error, '.', color=color, alpha=0.6)
        if np.ptp(t60):
          ends = np.array([t60.min(), t60.max()])
          panel.plot(ends, np.polyval(np.polyfit(t60, error, 1), ends), color)
      panel.set_xlabel('T60 of the simulated room in s')
      panel.set_ylim(-2, 102)
    panels[0].set_ylabel('error rate in %')
    figures.with_legend(
      fig,
      [
        lines.Line2D([], [], color=color, marker='.', label=label)
        for _, color, label in shown
      ],
      ncols=3,
    )
    figures.note(
      fig,
      f'A dot is one unseen room, {rows[0]["num_clips"]} test clips; lines are '
      'least squares.',
    )
    return fig
