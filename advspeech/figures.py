"""Figures, drawn from the tables alone."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import figure, lines, ticker

STYLE = os.path.join(os.path.dirname(__file__), 'advspeech.mplstyle')
MODEL_TITLES = {
  'wavecnn': 'WaveCNN',
  'wavernn': 'WaveRNN',
  'wavernn_tanh': 'tanh RNN',
}
_MARKERS = 'os^Dv<>P'
# Epsilons that span more than this are drawn on a logarithmic axis.
_LINEAR_RANGE = 50


def error_against_epsilon(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns the paper's Figure 6 for one task, with what it lacks.

  A panel a model that is tried; solid lines the attack, dashed ones random
  signs of the same size, one line a seed, bands the intervals of the table.

  Args:
    rows: Rows of `sweep.csv` of one task and one source.
  """
  with mpl.rc_context(fname=STYLE):
    targets = list(dict.fromkeys(row['target'] for row in rows))
    num_classes = rows[0]['num_classes']
    fig = figure.Figure(figsize=(4.2 * len(targets) + 0.8, 4.6))
    panels = fig.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for i, (panel, target) in enumerate(zip(panels, targets, strict=True)):
      of_target = [row for row in rows if row['target'] == target]
      _error_panel(panel, of_target, color=f'C{i}')
      chance = 100 * (1 - 1 / num_classes)
      panel.axhline(chance, color='0.4', linewidth=1, linestyle=':')
      panel.annotate(
        'chance',
        (0.02, chance),
        xycoords=('axes fraction', 'data'),
        ha='left',
        va='bottom',
        color='0.4',
        fontsize=8,
      )
    panels[0].set_ylabel('error rate in %')
    panels[0].set_ylim(0, 100)
    seeds = sorted({row['seed'] for row in rows})
    handles = [
      lines.Line2D([], [], color='0.2', label='FGSM'),
      lines.Line2D([], [], color='0.2', linestyle='--', label='random sign'),
    ] + [
      lines.Line2D(
        [],
        [],
        color='0.2',
        linestyle='',
        marker=_marker(seeds, s),
        label=f'seed {s}',
      )
      for s in seeds
    ]
    fig.legend(
      handles=handles,
      loc='lower center',
      ncols=len(handles),
      bbox_to_anchor=(0.5, -0.06),
    )
    fig.tight_layout()
    return fig


def _marker(seeds, seed):
  return _MARKERS[seeds.index(seed) % len(_MARKERS)]


def _error_panel(panel, rows, color):
  seeds = sorted({row['seed'] for row in rows})
  for attack, style in (('fgsm', '-'), ('random_sign', '--')):
    for seed in seeds:
      curve = [r for r in rows if (r['attack'], r['seed']) == (attack, seed)]
      curve.sort(key=lambda r: r['epsilon'])
      x = [r['epsilon'] for r in curve]
      panel.plot(
        x,
        [100 * r['error_rate'] for r in curve],
        color=color,
        linestyle=style,
        marker=_marker(seeds, seed),
        markerfacecolor=color if attack == 'fgsm' else 'white',
      )
      panel.fill_between(
        x,
        [100 * r['ci_low'] for r in curve],
        [100 * r['ci_high'] for r in curve],
        color=color,
        alpha=0.13,
        linewidth=0,
      )
  source, target = rows[0]['source'], rows[0]['target']
  how = 'white box' if source == target else f'made on {MODEL_TITLES[source]}'
  panel.set_title(f'{MODEL_TITLES[target]} ({how})', pad=8)
  panel.set_xlabel('epsilon (half of full scale)')
  epsilons = sorted({row['epsilon'] for row in rows} - {0})
  if epsilons and epsilons[-1] > _LINEAR_RANGE * epsilons[0]:
    first, last = np.ceil(np.log10(epsilons[0])), np.log10(epsilons[-1])
    decades = 10.0 ** np.arange(first, last)
    panel.set_xscale('symlog', linthresh=epsilons[0], linscale=0.3)
    panel.set_xticks([0, *decades], ['0', *(f'{d:g}' for d in decades)])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
  panel.set_xlim(left=0)
  _snr_axis(panel, rows)


def _snr_axis(panel, rows):
  """Labels some epsilons with the SNR they mean, on an axis above."""
  snr = {}
  for row in rows:
    if row['attack'] == 'fgsm' and row['epsilon'] > 0:
      snr.setdefault(row['epsilon'], []).append(row['mean_snr_db'])
  if not snr:
    return
  ticks = np.array(sorted(snr))
  # At most five labels, evenly spread over the axis rather than the list.
  place = np.log if panel.get_xscale() == 'symlog' else np.asarray
  wanted = np.linspace(*place(ticks[[0, -1]]), min(5, len(ticks)))
  chosen = sorted({ticks[np.abs(place(ticks) - w).argmin()] for w in wanted})
  above = panel.twiny()
  if panel.get_xscale() == 'symlog':
    above.set_xscale('symlog', linthresh=ticks[0], linscale=0.3)
  above.set_xlim(panel.get_xlim())
  above.set_xticks(chosen, [f'{np.mean(snr[e]):.0f}' for e in chosen])
  above.xaxis.set_minor_locator(ticker.NullLocator())
  above.set_xlabel('mean SNR in dB', fontsize=8, color='0.35')
  above.tick_params(labelsize=8, colors='0.35', length=3)
  above.grid(visible=False)


def accuracy_against_learning_rate(
  rows: Sequence[Mapping[str, Any]], model_name: str
) -> figure.Figure:
  """Returns validation accuracy over the rates tried, the best one marked.

  Args:
    rows: Of the table of one model's search (`lr_search.COLUMNS`).
    model_name: For the title.
  """
  with mpl.rc_context(fname=STYLE):
    fig = figure.Figure(figsize=(5, 3.6))
    panel = fig.subplots()
    rows = sorted(rows, key=lambda row: row['learning_rate'])
    rates = [row['learning_rate'] for row in rows]
    accuracy = [100 * row['validation_accuracy'] for row in rows]
    panel.plot(rates, accuracy, color='0.7', zorder=1)
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
    panel.set_title(MODEL_TITLES[model_name])
    panel.legend(fontsize=8)
    return fig


def save(fig: figure.Figure, path: str) -> None:
  """Writes a figure as `path`.png and `path`.svg, the same bytes each time."""
  with mpl.rc_context(fname=STYLE):
    fig.savefig(f'{path}.png', metadata={'Software': None})
    fig.savefig(f'{path}.svg', metadata={'Date': None})
