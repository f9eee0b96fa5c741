"""Figures of runs that differ in what they were trained on.

Error against epsilon, a line a run; and error under attack against the clean
one, which tells defences apart at the same price.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib import figure, lines

from advspeech import figures, sweep
from advspeech.report import defences, panel_parts, verdicts
from advspeech.report.verdicts import Point, Way

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
    word = 'training' if counts == '1' else 'trainings'
    confidence = 100 * min(member.run.confidence for member in members)
    figures.note(
      fig,
      f'{members[0].run.task}, {len(members[0].verdicts.ids)} test clips, '
      f'{counts} {word} each. Bands: {confidence:g} % intervals, of one '
      'training by clip, of five or more for the next one too; bars: from the '
      'lowest to the highest of fewer.',
    )
    return figures.with_legend(fig, handles)


def sizes_of(members: Sequence[defences.Member]) -> dict[str, list[int]]:
  """Returns the runs of each defence, weakest first, if one has two sizes.

  By the defence's name, as places among the members; empty where no defence was
  trained at two epsilons, and clean error cannot be matched.

  Args:
    members: Runs on the same clips.
  """
  found: dict[str, list[int]] = {}
  for i, member in enumerate(members):
    if member.defence['name'] != defences.UNDEFENDED:
      found.setdefault(member.defence['name'], []).append(i)
  for places in found.values():
    places.sort(key=lambda i: _mean_size(members[i]))
  several = any(
    len({verdicts.same(members[i].defence['epsilon']) for i in places}) > 1
    for places in found.values()
  )
  return found if several else {}


def _mean_size(member):
  """Returns the mean radius trained for, infinite if it was not attacked."""
  size = member.verdicts.sizes.get(verdicts.same(member.defence['epsilon']))
  return size.epsilon if size else float('inf')


def errors_against_clean(
  members: Sequence[defences.Member], targets: Sequence[str]
) -> figure.Figure:
  """Returns error under attack against clean error, a line a defence.

  A panel for each model and each epsilon that some run was trained for, a point
  a run: at the same clean error the lower one is the better defence, whatever
  epsilon it was trained at.

  Args:
    members: Runs on the same clips, for which `sizes_of` is not empty.
    targets: The models.
  """
  lines_of = sizes_of(members)
  tested = list(
    dict.fromkeys(
      verdicts.same(members[i].defence['epsilon'])
      for places in lines_of.values()
      for i in places
    )
  )
  known = {e: s for m in members for e, s in m.verdicts.sizes.items()}
  tested = sorted(
    (e for e in tested if e in known), key=lambda e: known[e].epsilon
  )
  with figures.house_style():
    across = max(1, len(tested))
    fig = figure.Figure(figsize=(4.4 * across, 4.2 * len(targets)))
    grid = fig.subplots(len(targets), across, sharey=True, squeeze=False)
    for panels, target in zip(grid, targets, strict=True):
      panels[0].set_ylabel('error under attack in %')
      for panel, epsilon in zip(panels, tested, strict=False):
        panel.set_title(
          f'{figures.model_name(target)}, epsilon {known[epsilon].text}', pad=8
        )
        panel.set_xlabel('clean error in %')
        _draw_against_clean(panel, members, lines_of, target, epsilon)
    grid[0, 0].set_ylim(0, 100)
    handles = [
      lines.Line2D([], [], **_look(i), label=defences.name_title(name))
      for i, name in enumerate(lines_of)
    ]
    handles.append(
      lines.Line2D([], [], color='0.2', ls='', marker='x', label='no defence')
    )
    figures.note(
      fig,
      f'{members[0].run.task}, {len(members[0].verdicts.ids)} test clips, '
      'means over trainings: whatever any attack in max-norm on the model '
      'itself breaks. Beside each point the epsilon trained at.',
    )
    return figures.with_legend(fig, handles)


def _draw_against_clean(panel, members, lines_of, target, epsilon):
  """Draws every run at one epsilon of the test."""

  def place(member):
    ways = Way(member.run.attack), Way(sweep.STRONGEST['linf'])
    epsilons = verdicts.same(0.0), epsilon
    found = [
      defences.rate(member, Point(target, way, e))
      for way, e in zip(ways, epsilons, strict=True)
    ]
    return None if None in found else [100 * r['error_rate'] for r in found]

  for i, places in enumerate(lines_of.values()):
    points = [(place(members[j]), members[j]) for j in places]
    points = [(xy, member) for xy, member in points if xy]
    if points:
      panel.plot(*zip(*(xy for xy, _ in points), strict=True), **_look(i))
    for xy, member in points:
      panel.annotate(
        str(member.defence['epsilon']),
        xy,
        xytext=(4, 4),
        textcoords='offset points',
        fontsize=7,
        color='0.35',
      )
  plain = defences.undefended(members)
  xy = place(plain) if plain else None
  if xy:
    panel.plot(*xy, 'x', color='0.2')


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
