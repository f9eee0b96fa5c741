"""Figures of the study, from its tables alone."""

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, section, storage
from advspeech.studies.queries import asking

_COLORS = {'square': 'C0', 'nes': 'C1', asking.NOISE: '0.5'}


def errors(results: section.Results) -> figure.Figure:
  """Returns errors and margins against queries, a column of panels a model."""
  rows = results.table('errors')
  models = storage.grouped(rows, ('model',))
  shown = [name for name in _COLORS if any(r['attack'] == name for r in rows)]
  with figures.house_style():
    fig = figure.Figure(figsize=(4.2 * len(models) + 0.4, 6.0))
    panels = fig.subplots(2, len(models), sharex=True, squeeze=False)
    for (above, below), ((model,), mine) in zip(
      panels.T, models.items(), strict=True
    ):
      above.set_title(figures.model_name(model))
      above.axhline(100 * mine[0]['error_rate'], color='C2', ls=':')
      below.axhline(0, color='0.2', lw=0.8)
      for (attack,), group in storage.grouped(mine, ('attack',)).items():
        _draw(above, below, group[1:], _COLORS[attack])
      above.set_ylim(0, 100)
      below.set_xscale('log')
      below.set_xlabel('queries of a clip')
    panels[0][0].set_ylabel('error rate in %')
    panels[1][0].set_ylabel('median of the best margins')
    figures.with_legend(
      fig,
      [
        *(
          lines.Line2D([], [], color=_COLORS[name], marker='.', label=label)
          for name, label in (
            *((n, figures.attack_title(n)) for n in asking.SCORED),
            (asking.NOISE, 'random signs, new ones a query'),
          )
          if name in shown
        ),
        lines.Line2D([], [], color='C2', ls=':', label='clean'),
      ],
      ncols=4,
    )
    figures.note(
      fig,
      f'{rows[0]["num_clips"]} test clips at {rows[0]["epsilon_given"]}; '
      'bands: intervals over clips.',
    )
    return fig


def _draw(above, below, rows, color):
  """Draws an attack's error rate above, and its margin below."""
  number = [row['queries'] for row in rows]
  rate, low, high = (
    [100 * row[key] for row in rows]
    for key in ('error_rate', 'ci_low', 'ci_high')
  )
  above.plot(number, rate, color=color, marker='.')
  above.fill_between(number, low, high, color=color, alpha=0.15, lw=0)
  margin = [row['median_margin'] for row in rows]
  below.plot(number, margin, color=color, marker='.')


def distances(results: section.Results) -> figure.Figure:
  """Returns median SNRs of the nearest clips against queries."""
  rows = results.table('distances')
  models = storage.grouped(rows, ('model',))
  with figures.house_style():
    fig = figure.Figure(figsize=(6.4, 3.8))
    panel = fig.subplots()
    handles = []
    for i, ((model,), group) in enumerate(models.items()):
      known = [row for row in group if _is_finite(row['median_snr_db'])]
      number = [row['queries'] for row in known]
      panel.plot(
        number,
        [row['median_snr_db'] for row in known],
        color=f'C{i}',
        marker='.',
      )
      ends = np.array([(r['median_low'], r['median_high']) for r in known])
      if len(ends):
        ends = np.where(np.isfinite(ends), ends, np.nan)
        panel.fill_between(number, *ends.T, color=f'C{i}', alpha=0.15, lw=0)
      last = group[-1]
      label = (
        f'{figures.model_name(model)}: {last["num_never"]} of '
        f'{last["num_never"] + last["num_reached"]} never reached'
      )
      handles.append(
        lines.Line2D([], [], color=f'C{i}', marker='.', label=label)
      )
    panel.set_xscale('log')
    panel.set_xlabel('queries of a clip')
    panel.set_ylabel('median SNR in dB')
    figures.with_legend(fig, handles, ncols=1)
    figures.note(
      fig,
      'HopSkipJump; clips that are judged right as they are, those never '
      'reached among them; bands: intervals over clips.',
    )
    return fig


def _is_finite(value):
  return value != '' and np.isfinite(value)
