"""Error against epsilon of runs that differ in what they were trained on."""

from collections.abc import Sequence
from typing import Any

from matplotlib import figure, lines

from advspeech import figures, sweep
from advspeech.report import defences, panel_parts
from advspeech.report.verdicts import Way

_WAYS = (Way('fgsm'), Way(sweep.STRONGEST['linf']))


def errors_by_run(
  members: Sequence[defences.Member], targets: Sequence[str]
) -> figure.Figure:
  """Returns a panel for each model and way, a line for each run.

  FGSM on the model itself, and whatever any of its attacks in max-norm breaks.

  Args:
    members: Runs on the same clips.
    targets: The models.
  """
  with figures.house_style():
    across = len(_WAYS)
    fig = figure.Figure(figsize=(4.8 * across, 4.4 * len(targets)))
    grid = fig.subplots(len(targets), across, sharey=True, squeeze=False)
    for panels, target in zip(grid, targets, strict=True):
      panels[0].set_ylabel('error rate in %')
      for panel, way in zip(panels, _WAYS, strict=True):
        panel.set_title(f'{figures.model_name(target)}, {way.title}', pad=8)
        _draw(panel, members, target, way)
    grid[0, 0].set_ylim(0, 100)
    handles = [
      lines.Line2D([], [], **_look(i), label=figures.plain(member.title, 40))
      for i, member in enumerate(members)
    ]
    trainings = sorted({len(member.run.config['seeds']) for member in members})
    counts = ' to '.join(str(n) for n in dict.fromkeys(trainings))
    confidence = 100 * min(member.run.confidence for member in members)
    figures.note(
      fig,
      f'{members[0].run.task}, {len(members[0].verdicts.ids)} test clips, '
      f'{counts} trainings each. Bands: {confidence:g} % intervals, of one '
      'training by clip, of five or more for the next one too; bars: from the '
      'lowest to the highest of fewer.',
    )
    return panel_parts.with_legend(fig, handles)


def _look(i) -> dict[str, Any]:
  return {
    'color': f'C{i % panel_parts.NUM_COLORS}',
    'marker': panel_parts.MARKERS[i % len(panel_parts.MARKERS)],
    'linestyle': '-' if i < panel_parts.NUM_COLORS else '--',
  }


def _draw(panel, members, target, way):
  """Draws every run's curve under one way."""
  shown = []
  for i, member in enumerate(members):
    rows = _curve(member, target, way)
    shown += rows
    if not rows:
      continue
    epsilons = [row['epsilon'] for row in rows]
    look = _look(i)
    panel.plot(epsilons, [100 * row['error_rate'] for row in rows], **look)
    if all(row['ci_low'] != '' for row in rows):
      panel_parts.bands(panel, rows, look['color'])
    else:
      panel.vlines(
        epsilons,
        *([100 * row[end] for row in rows] for end in ('lowest', 'highest')),
        color=look['color'],
        linewidth=0.8,
      )
  if shown:
    panel_parts.chance_line(panel, shown)
    panel_parts.epsilon_axis(panel, shown)


def _curve(member, target, way):
  """Returns a run's points under one way, ascending, as panels take them."""
  rows = []
  for point in member.verdicts.wrong:
    if (point.target, point.way) != (target, way):
      continue
    found = defences.rate(member, point)
    if found is not None:
      size = member.verdicts.sizes[point.epsilon]
      rows.append(
        {
          **found,
          'epsilon': size.epsilon,
          'mean_snr_db': size.snr_db,
          'control': '',
          'num_classes': len(member.run.classes),
        }
      )
  return sorted(rows, key=lambda row: row['epsilon'])
