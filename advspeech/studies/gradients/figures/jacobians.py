"""How far back a state reaches: spectral norms of its Jacobians."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure

from advspeech import figures
from advspeech.studies.gradients.figures import style


def jacobian_decay(
  rows: Sequence[Mapping[str, Any]], num_clips: int
) -> figure.Figure:
  """Returns |ds_n / ds_i| against n - i, the forget gates beside it.

  Trained models are drawn solid, untrained ones dashed; bands are quartiles.

  Args:
    rows: Of jacobians.csv.
    num_clips: Over which the quartiles are.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(7.4, 6.2))
    norm, gate = fig.subplots(
      2, 1, sharex=True, gridspec_kw={'height_ratios': [2.2, 1]}
    )
    names = list(dict.fromkeys(row['model'] for row in rows))
    for i, name in enumerate(names):
      mine = [row for row in rows if row['model'] == name]
      seconds = np.array([row['distance_ms'] for row in mine]) / 1000
      median, low, high = (
        style.positive([row[key] for row in mine])
        for key in ('median', 'lower_quartile', 'upper_quartile')
      )
      trained = mine[0]['training'] == 'trained'
      line = {
        'color': f'C{i % 5}',
        'linestyle': '-' if trained else '--',
        'marker': style.MARKERS[i % len(style.MARKERS)],
        'markevery': (2 + i, 12),
      }
      norm.plot(seconds, median, label=_recurrent_title(mine[0]), **line)
      norm.fill_between(
        seconds, low, high, color=line['color'], alpha=0.15, linewidth=0
      )
      with_gate = [row for row in mine if row['forget_gate'] != '']
      if with_gate:
        gate.plot(
          [row['distance_ms'] / 1000 for row in with_gate],
          [row['forget_gate'] for row in with_gate],
          **line,
        )
    norm.set_yscale('log')
    bottom = norm.get_ylim()[0]
    norm.set_ylim(bottom=max(bottom, 1e-30))
    norm.set_ylabel('spectral norm of ds_n / ds_i')
    norm.legend(fontsize=8, loc='lower left')
    gate.set_ylabel('mean forget gate')
    gate.set_ylim(0, 1)
    gate.set_xlim(left=0)
    gate.set_xlabel('n - i, time back from the end in s')
    fig.align_ylabels([norm, gate])
    fig.tight_layout()
    figures.note(fig, f'{num_clips} clips: median and quartiles.')
    return fig


def _recurrent_title(row):
  kind = 'tanh RNN' if row['cell'] == 'tanh' else 'LSTM'
  bias = row['forget_bias']
  text = kind if bias == '' else f'{kind}, forget bias {bias:g}'
  text = f'{text}, {row["training"]}'
  if row['training'] == 'trained':
    return f'{text}: {style.title(row["model"])}'
  return text
