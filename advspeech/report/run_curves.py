"""Error against epsilon of several runs, the paper's Figure 6."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, statistics
from advspeech.report import panel_parts
from advspeech.sweep import named_attacks


def error_over_runs(
  runs: Mapping[str, Sequence[Mapping[str, Any]]], confidence: float = 0.95
) -> figure.Figure:
  """Returns the paper's Figure 6: a panel a run, a curve a model.

  Lines are means over seeds, dashed under noise of the attack's size.

  Args:
    runs: Rows of each run by its title; of one source and attack each, with
      `num_classes`; targets of the source's seed.
    confidence: Of the bands: Wilson intervals of the mean rate, as if of one
      seed's clips.
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
        _mean_curve(panel, points, bool(control), looks[target], confidence)
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
      f'{counts}. Lines: means over seeds; bands: {100 * confidence:g} % '
      "Wilson intervals, as of one seed's clips, "
      f'{panel_parts.held([row for rows in runs.values() for row in rows])}.',
    )
    return panel_parts.with_legend(fig, handles)


def _mean_curve(panel, points, is_control, look, confidence):
  """Draws means over seeds with their bands."""
  epsilons = sorted(points)
  num_clips = [points[e][0]['num_clips'] for e in epsilons]
  mean = [np.mean([r['error_rate'] for r in points[e]]) for e in epsilons]
  bands = [
    statistics.wilson_interval(round(m * n), n, confidence)
    for m, n in zip(mean, num_clips, strict=True)
  ]
  panel.plot(
    epsilons,
    100 * np.array(mean),
    linestyle='--' if is_control else '-',
    markerfacecolor='white' if is_control else look['color'],
    **look,
  )
  panel.fill_between(
    epsilons,
    *(100 * np.array(bands).T),
    color=look['color'],
    alpha=panel_parts.CLIPS_ALPHA,
    linewidth=0,
  )
  if all(panel_parts.has_speakers(row) for e in epsilons for row in points[e]):
    low, high = (
      [
        np.mean([100 * r[f'ci_speaker_{end}'] for r in points[e]])
        for e in epsilons
      ]
      for end in ('low', 'high')
    )
    panel_parts.pale_band(panel, epsilons, low, high, look['color'])


def _by_curve(rows):
  """Returns {(target, control): {epsilon: rows of the seeds}}."""
  curves: dict[tuple[str, str], dict[float, list[Any]]] = {}
  for row in rows:
    if row['control'] in ('', named_attacks.control_of(row['attack'])):
      points = curves.setdefault((row['target'], row['control']), {})
      points.setdefault(row['epsilon'], []).append(row)
  return curves
