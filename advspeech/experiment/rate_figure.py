"""Accuracy against learning rate, as a search found it."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure

from advspeech import figures, statistics


def accuracy_against_learning_rate(
  rows: Sequence[Mapping[str, Any]], model_name: str
) -> figure.Figure:
  """Returns validation accuracy over the rates tried, the best one marked.

  Bars are 95 % Wilson intervals.

  Args:
    rows: Of the table of one model's search (`rate_search.COLUMNS`).
    model_name: For the title.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(5, 3.6))
    panel = fig.subplots()
    rows = sorted(rows, key=lambda row: row['learning_rate'])
    rates = [row['learning_rate'] for row in rows]
    accuracy = [100 * row['validation_accuracy'] for row in rows]
    panel.plot(rates, accuracy, color='0.7', zorder=1)
    ends = [
      statistics.wilson_interval(
        round(row['validation_accuracy'] * row['num_clips']), row['num_clips']
      )
      for row in rows
    ]
    panel.vlines(
      rates,
      [100 * low for low, _ in ends],
      [100 * high for _, high in ends],
      color='0.7',
      linewidth=0.8,
      zorder=1,
    )
    for number in sorted({row['round'] for row in rows}):
      at = [i for i, row in enumerate(rows) if row['round'] == number]
      panel.scatter(
        [rates[i] for i in at],
        [accuracy[i] for i in at],
        color=f'C{number}',
        label=f'round {number}',
      )
    best = max(
      rows, key=lambda r: (r['validation_accuracy'], -r['validation_loss'])
    )
    panel.annotate(
      f'{best["learning_rate"]:g}',
      (best['learning_rate'], 100 * best['validation_accuracy']),
      xytext=(0, 8),
      textcoords='offset points',
      ha='center',
    )
    panel.set_xscale('log')
    panel.set_ylim(0, 108)
    panel.set_xlabel('learning rate')
    panel.set_ylabel('validation accuracy in %')
    panel.set_title(figures.title(model_name))
    panel.legend(fontsize=8)
    figures.note(
      fig,
      f'Best epoch of each training, seed {rows[0]["seed"]}, '
      f'{rows[0]["num_clips"]} validation clips; bars: 95 % intervals.',
    )
    return fig
