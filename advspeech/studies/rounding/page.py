"""What the study of rounding shows on the page."""

import os
from typing import Any

from matplotlib import figure, lines

from advspeech import figures, section, storage


def make(results: section.Results) -> section.Section:
  """Returns the section: spread over orders beside that over seeds."""
  return section.of_package(
    'advspeech.studies.rounding',
    {'comparisons': compared(results)},
  )


def compared(results: section.Results) -> list[dict[str, Any]]:
  """Returns how far orders and seeds move each error, a row a (model, epsilon).

  `orders` is a row of `orders.csv`; `seeds`, one of the sweep's `trainings.csv`
  where the same attack was made on two seeds or more, else None.
  """
  seeds = {_point(row): row for row in _seeds(results)}
  return [
    {'orders': row, 'seeds': seeds.get(_point(row))}
    for row in results.table('orders')
    if not row['control']
  ]


def _point(row):
  keys = ('source', 'target', 'attack', 'mask', 'transform', 'control')
  return (*(row[key] for key in keys), row['epsilon_given'])


def _seeds(results):
  """Returns what the sweep found over seeds."""
  run = os.path.dirname(os.path.dirname(results.folder))
  path = os.path.join(run, 'attack', 'trainings.csv')
  if not storage.exists(path):
    return []
  return storage.read_table(path, may_be_empty=True)


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figure: a line an order, and the band of the seeds."""
  return [
    section.Figure(
      'rounding',
      lambda: orders_and_seeds(results),
      'Error rate against epsilon, a panel for each model: a thin line for '
      'each training of one seed in another order of rows, a band from the '
      'lowest to the highest of the seeds.',
      'Error under attack of trainings that differ in rounding alone (lines), '
      'and from the lowest to the highest of the seeds of this run (band). '
      'What lies closer together than the lines do says nothing.',
    )
  ]


def orders_and_seeds(results: section.Results) -> figure.Figure:
  """Returns error against epsilon of every order, and the band of the seeds."""
  curves = [row for row in results.table('curves') if not row['control']]
  models = list(dict.fromkeys(row['model'] for row in curves))
  with figures.house_style():
    fig = figure.Figure(figsize=(4.2 * len(models) + 0.4, 4.0))
    panels = fig.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for i, (panel, model) in enumerate(zip(panels, models, strict=True)):
      panel.set_title(figures.model_name(model))
      panel.set_xlabel('epsilon (half of full scale)')
      mine = [row for row in curves if row['model'] == model]
      for order in sorted({row['order'] for row in mine}):
        points = [row for row in mine if row['order'] == order]
        panel.plot(
          [row['epsilon'] for row in points],
          [100 * row['error_rate'] for row in points],
          color=f'C{i}',
          linewidth=2 if order == 0 else 0.8,
        )
      band = [
        row['seeds']
        for row in compared(results)
        if row['seeds'] and row['orders']['target'] == model
      ]
      if band:
        panel.fill_between(
          [row['epsilon'] for row in band],
          *([100 * row[end] for row in band] for end in ('lowest', 'highest')),
          color='0.5',
          alpha=0.2,
          linewidth=0,
        )
      panel.set_xlim(left=0)
      panel.set_ylim(0, 100)
    panels[0].set_ylabel('error rate in %')
    figures.with_legend(
      fig,
      [
        lines.Line2D([], [], color='0.2', linewidth=2, label="the run's own"),
        lines.Line2D([], [], color='0.2', linewidth=0.8, label='other orders'),
        lines.Line2D([], [], color='0.5', alpha=0.3, lw=8, label='other seeds'),
      ],
      ncols=3,
    )
    figures.note(fig, f'{curves[0]["num_clips"]} test clips.')
    return fig
