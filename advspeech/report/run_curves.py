"""Error against epsilon of several runs, the paper's Figure 6."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure, lines

from advspeech import figures
from advspeech.report import panel_parts
from advspeech.sweep import named_attacks


def error_over_runs(
  runs: Mapping[str, Sequence[Mapping[str, Any]]], confidence: float = 0.95
) -> figure.Figure:
  """Returns the paper's Figure 6: a panel a run, a curve a model.

  Lines are means over seeds, dashed under noise of the attack's size.

  Args:
    runs: Rows of each run by its title, of `trainings.csv`, or of `sweep.csv`
      where there is one training; of one source and attack each, with
      `num_classes`.
    confidence: Of the tables' intervals, for the note.
  """
  with figures.house_style():
    across = min(3, len(runs))
    down = -(-len(runs) // across)
    fig = figure.Figure(figsize=(4.2 * across + 0.4, 4.4 * down))
    grid = fig.subplots(down, across, squeeze=False)
    targets = dict.fromkeys(r['target'] for rows in runs.values() for r in rows)
    looks = {
      target: {
        'color': f'C{i % panel_parts.NUM_COLORS}',
        'marker': panel_parts.MARKERS[i % 8],
      }
      for i, target in enumerate(targets)
    }
    for panel in grid.flat[len(runs) :]:
      panel.set_visible(False)
    for panel, (name, rows) in zip(grid.flat, runs.items(), strict=False):
      panel.set_title(
        '\n'.join(textwrap.wrap(figures.plain(name, 100), 40)), pad=8
      )
      panel.set_ylabel('error rate in %')
      panel.set_ylim(0, 100)
      panel_parts.chance_line(panel, rows)
      for (target, control), points in _by_curve(rows).items():
        _mean_curve(panel, points, bool(control), looks[target])
      panel_parts.epsilon_axis(panel, rows)
    handles = [
      lines.Line2D([], [], **look, label=figures.model_name(target))
      for target, look in looks.items()
    ]
    handles.append(
      lines.Line2D(
        [], [], color='0.2', linestyle='--', label='noise of the same size'
      )
    )
    counts = '; '.join(figures.count_note(rows) for rows in runs.values())
    figures.note(
      fig,
      f'{counts}. Lines: means over trainings. Bands: {100 * confidence:g} % '
      'intervals, of one training by clip, of five or more for the next one '
      'too; bars: from the lowest to the highest of fewer.',
    )
    return figures.with_legend(fig, handles)


def _mean_curve(panel, points, is_control, look):
  """Draws means over seeds with their intervals, or their spread."""
  epsilons = sorted(points)
  rows = [points[e] for e in epsilons]
  panel.plot(
    epsilons,
    [100 * row['error_rate'] for row in rows],
    linestyle='--' if is_control else '-',
    markerfacecolor='white' if is_control else look['color'],
    **look,
  )
  if all(row['ci_low'] != '' for row in rows):
    panel_parts.bands(panel, rows, look['color'])
  else:  # too few trainings for an interval
    panel.vlines(
      epsilons,
      *([100 * row[end] for row in rows] for end in ('lowest', 'highest')),
      color=look['color'],
      linewidth=0.8,
    )


def _by_curve(rows):
  """Returns {(target, control): {epsilon: row}}."""
  curves: dict[tuple[str, str], dict[float, Any]] = {}
  for row in rows:
    if row['control'] in ('', named_attacks.control_of(row['attack'])):
      points = curves.setdefault((row['target'], row['control']), {})
      points[row['epsilon']] = row
  return curves
