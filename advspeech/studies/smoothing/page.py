"""What the study of smoothing shows on the page."""

import os
from typing import Any

import numpy as np
from matplotlib import figure, lines

from advspeech import figures, section, storage
from advspeech.statistics import certificates

# Of the sweep, on the networks without smoothing.
_EMPIRICAL = 'apgd_margin_l2', 'apgd_ce_l2'


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figure: certified and empirical error on one axis."""
  return [
    section.Figure(
      'certified',
      lambda: certified(results),
      'Share of clips that are not certified against the SNR of the '
      'perturbation, a panel for each model, a line for each noise, beside the '
      'error of the network without smoothing under an attack in L2.',
      'Lines: the share of clips that some perturbation of that SNR might '
      'change, judged wrong or not certified so far. Crosses: the error of the '
      'same networks without smoothing under the strongest attack in L2 that '
      'the sweep made. Between the two nobody knows.',
    )
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  settings = results.config['smoothing']
  rows = results.table('summary')
  return section.of_package(
    'advspeech.studies.smoothing',
    {
      'rows': storage.grouped(rows, ('model', 'seed', 'sigma_given')),
      'settings': settings,
      'defence': results.config['training']['defence'],
      'largest': certificates.largest_radius(
        settings['num_certifying'], settings['alpha']
      ),
      'fewest': certificates.fewest_draws(settings['alpha']),
    },
  )


def empirical(results: section.Results) -> dict[str, list[dict[str, Any]]]:
  """Returns by model the sweep's rows of its strongest attack in L2 on itself.

  Without smoothing; none of a model that was not attacked so.
  """
  run = os.path.dirname(os.path.dirname(results.folder))
  path = os.path.join(run, 'attack', 'sweep.csv')
  found: dict[str, list[dict[str, Any]]] = {}
  for row in storage.read_table(path) if storage.exists(path) else ():
    if (
      row['attack'] in _EMPIRICAL
      and row['source'] == row['target']
      and row['seed'] == row['target_seed']
      and not (row['control'] or row['transform'])
      and row['epsilon'] > 0
      and row['error_rate'] != ''
    ):
      found.setdefault(row['target'], []).append(row)
  return found


def certified(results: section.Results) -> figure.Figure:
  """Returns the share of clips not certified against SNR, a panel a model."""
  rows = results.table('certificates')
  attacked = empirical(results)
  models = list(dict.fromkeys(row['model'] for row in rows))
  sigmas = list(dict.fromkeys(row['sigma_given'] for row in rows))
  with figures.house_style():
    fig = figure.Figure(figsize=(4.8 * len(models) + 0.6, 4.4))
    panels = fig.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
      mine = [row for row in rows if row['model'] == model]
      points = attacked.get(model, [])
      grid = _grid(mine, points)
      for (given, _), clips in storage.grouped(
        mine, ('sigma_given', 'seed')
      ).items():
        panel.step(
          grid,
          100 * _not_certified(clips, grid),
          where='post',
          color=f'C{sigmas.index(given)}',
        )
      panel.plot(
        [row['mean_snr_db'] for row in points],
        [100 * row['error_rate'] for row in points],
        'x',
        color='0.2',
      )
      panel.set_title(figures.model_name(model), pad=8)
      panel.set_xlabel('SNR of the perturbation in dB')
      panel.set_xlim(grid[-1], grid[0])
    panels[0].set_ylabel('share of clips in %')
    panels[0].set_ylim(0, 100)
    handles = [
      lines.Line2D([], [], color=f'C{i}', label=f'noise of {given}')
      for i, given in enumerate(sigmas)
    ]
    if attacked:
      handles.append(
        lines.Line2D(
          [], [], color='0.2', ls='', marker='x', label='APGD in L2, no noise'
        )
      )
    figures.with_legend(fig, handles, ncols=4)
    number = len({row['id'] for row in rows})
    figures.note(fig, f'{number} test clips; a line a training and noise.')
    return fig


def _grid(rows, points):
  """Returns SNRs from where nothing is certified to where all is."""
  known = [row['snr_db'] for row in rows if row['snr_db'] != '']
  known += [row['mean_snr_db'] for row in points]
  known = [x for x in known if np.isfinite(x)] or [0.0, 60.0]
  return np.linspace(min(known) - 5, max(known) + 5, 400)


def _not_certified(clips, grid):
  """Returns the share of clips not certified at each SNR."""
  held = np.array([row['snr_db'] for row in clips if row['right']], float)
  return 1 - (held[:, None] <= grid).sum(0) / len(clips)
