"""Error against epsilon under every attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, statistics
from advspeech.report import panel_parts
from advspeech.sweep.tables.points import STRONGEST

# Of attacks; with colours and markers no two are alike. Black is for the
# strongest of them, grey for noise.
_LINES = ('-', '--', '-.', (0, (5, 1, 1, 1, 1, 1)))

_STRONGEST = {'color': '0', 'linestyle': (0, (1, 1))}


def error_by_attack(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns error against epsilon for every attack, a panel a target.

  Lines are means over seeds, bars go from the lowest to the highest; the grey
  ones are the controls of the first attack.

  Args:
    rows: Rows of `sweep.csv` of one task, source and mask, each with
      `num_classes`; targets of the source's seed.
  """
  with figures.house_style():
    fig, panels = panel_parts.one_a_target(rows)
    styles = _attack_styles(rows)
    for panel, of_target in zip(
      panels, panel_parts.by_target(rows), strict=True
    ):
      for (attack, control), style in styles.items():
        errors_at: dict[float, list[float]] = {}
        for row in of_target:
          if (row['attack'], row['control']) == (attack, control):
            rate = 100 * row['error_rate']
            errors_at.setdefault(row['epsilon'], []).append(rate)
        x = sorted(errors_at)
        mean = np.array([np.mean(errors_at[e]) for e in x])
        panel.plot(x, mean, **style)
        if not control:
          low, high = ([f(errors_at[e]) for e in x] for f in (min, max))
          panel.vlines(x, low, high, color=style['color'], linewidth=0.8)
      panel_parts.epsilon_axis(panel, of_target)
    handles = [lines.Line2D([], [], **style) for style in styles.values()]
    n = min(row['num_clips'] for row in rows)
    low, high = statistics.wilson_interval(n // 2, n)
    figures.note(
      fig,
      f'{figures.count_note(rows)}. Lines: means over seeds, bars from the '
      f'lowest to the highest seed. Of {n} clips, were they independent, a '
      f'rate of 50 % is known to {50 * (high - low):.0f} points either way '
      '(95 %)'
      f'{panel_parts.widest_by_speaker(rows)}.',
    )
    return figures.with_legend(fig, handles)


def _attack_styles(rows):
  """Returns how each attack, and each control of the first, is drawn."""
  names = list(dict.fromkeys(row['attack'] for row in rows))
  controls = [c for c in dict.fromkeys(row['control'] for row in rows) if c]
  styles: dict[tuple[str, str], dict[str, Any]] = {}
  for i, name in enumerate(names):
    look = {
      'color': f'C{i % panel_parts.NUM_COLORS}',
      'linestyle': _LINES[i % len(_LINES)],
      'marker': panel_parts.MARKERS[i % len(panel_parts.MARKERS)],
    }
    if name in STRONGEST.values():
      marker = '_' if name == STRONGEST['linf'] else '|'
      look = {**_STRONGEST, 'marker': marker, 'markersize': 12, 'zorder': 1}
    styles[name, ''] = {'label': figures.attack_title(name), **look}
  for i, control in enumerate(controls):
    styles[names[0], control] = {
      'label': control.replace('_', ' '),
      'color': '0.55',
      'linestyle': panel_parts.DASHES[i % len(panel_parts.DASHES)],
      'marker': '',
    }
  return styles
