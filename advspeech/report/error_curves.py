"""Error against epsilon, the paper's Figure 6: by model and by class."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure, lines

from advspeech import figures
from advspeech.report import panel_parts
from advspeech.sweep import named_attacks

# Told apart in one panel, by marker and colour.
MOST_CLASSES = 5


def error_against_epsilon(
  rows: Sequence[Mapping[str, Any]],
  confidence: float = 0.95,
  over_trainings: Sequence[Mapping[str, Any]] = (),
) -> figure.Figure:
  """Returns the paper's Figure 6 for one task, with what it lacks.

  A panel a model that is tried; solid lines the attack, dashed ones noise of
  its size, one line a seed, bands the intervals of the table: dark by clip,
  pale by speaker, where it has those. Where there are means over trainings with
  intervals, the bands are theirs and a seed's line is thin.

  Args:
    rows: Rows of `sweep.csv` of one task, source and attack, each
      with `num_classes`; targets of the source's seed.
    confidence: Of the table's intervals, for the note.
    over_trainings: Rows of `trainings.csv` of the same, if there are some.
  """
  means = [row for row in over_trainings if row['ci_low'] != '']
  with figures.house_style():
    fig, panels = panel_parts.one_a_target(rows)
    for i, (panel, of_target) in enumerate(
      zip(panels, panel_parts.by_target(rows), strict=True)
    ):
      name = of_target[0]['target']
      panel_parts.error_panel(
        panel,
        of_target,
        color=f'C{i}',
        means=[row for row in means if row['target'] == name],
      )
    seeds = sorted({row['seed'] for row in rows})
    attack = rows[0]['attack']
    noise = figures.control_title(named_attacks.control_of(attack))
    handles = [
      lines.Line2D([], [], color='0.2', label=figures.attack_title(attack)),
      lines.Line2D([], [], color='0.2', linestyle='--', label=noise),
    ]
    if means:
      what = f'means over {means[0]["num_trainings"]} trainings'
      handles.append(
        lines.Line2D([], [], color='0.2', lw=0.5, label='one training')
      )
      drawn = f'Thick: {what}. Bands: their {100 * confidence:g} % intervals'
    else:
      handles += [
        lines.Line2D(
          [],
          [],
          color='0.2',
          linestyle='',
          marker=panel_parts.marker(seeds, s),
          label=f'seed {s}',
        )
        for s in seeds
      ]
      drawn = f'Bands: {100 * confidence:g} % Wilson intervals of each point'
    figures.note(
      fig,
      f'{figures.count_note(rows)}. {drawn}, '
      f'{panel_parts.held(means or rows)}.',
    )
    return figures.with_legend(fig, handles)


def error_by_class(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns the error of each class by itself, a panel a target and seed.

  Solid lines the attack, dashed ones noise of its size.

  Args:
    rows: As `error_against_epsilon` takes, with `errors_by_class`, of at most
      `MOST_CLASSES`.
  """
  with figures.house_style():
    seeds = sorted({row['seed'] for row in rows})
    parts = panel_parts.by_target(rows)
    fig = figure.Figure(figsize=(4.2 * len(parts) + 0.8, 3.6 * len(seeds)))
    grid = fig.subplots(
      len(seeds), len(parts), sharex='col', sharey=True, squeeze=False
    )
    classes = list(json.loads(rows[0]['errors_by_class']))
    noise = named_attacks.control_of(rows[0]['attack'])
    for of_seed, seed in zip(grid, seeds, strict=True):
      for panel, part in zip(of_seed, parts, strict=True):
        panel.set_title(f'{figures.model_name(part[0]["target"])}, seed {seed}')
        panel.set_ylim(-2, 102)
        for control, style in (('', '-'), (noise, '--')):
          curve = sorted(
            (
              row
              for row in part
              if (row['control'], row['seed']) == (control, seed)
            ),
            key=lambda row: row['epsilon'],
          )
          counts = [json.loads(row['errors_by_class']) for row in curve]
          for i, name in enumerate(classes):
            panel.plot(
              [row['epsilon'] for row in curve],
              [100 * c[name][0] / c[name][1] for c in counts],
              color=f'C{i}',
              linestyle=style,
              marker=panel_parts.MARKERS[i],
              markerfacecolor='white' if control else f'C{i}',
            )
        if part:
          panel_parts.epsilon_axis(panel, part)
      of_seed[0].set_ylabel('error rate in %')
    handles = [
      lines.Line2D(
        [],
        [],
        color=f'C{i}',
        marker=panel_parts.MARKERS[i],
        label=figures.plain(name),
      )
      for i, name in enumerate(classes)
    ]
    handles.append(
      lines.Line2D(
        *([], []),
        color='0.2',
        linestyle='--',
        label=figures.control_title(noise),
      )
    )
    num = json.loads(rows[0]['errors_by_class'])
    counts = ', '.join(
      f'{n} of {figures.plain(name)}' for name, (_, n) in num.items()
    )
    figures.note(fig, f'{figures.count_note(rows)}: {counts}.')
    return figures.with_legend(fig, handles)
