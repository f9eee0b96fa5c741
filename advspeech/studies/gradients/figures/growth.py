"""Predicted and measured changes of loss, over epsilon and over n."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, lines

from advspeech import audio, figures
from advspeech.studies.gradients.figures import style

_VARIED = {
  'samples': 'samples moved (random)',
  'length_masked': 'seconds moved',
  'length_cut': 'seconds of the cut clip',
  'rate': 'sample rate in kHz',
}


def accumulation(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns predicted and measured changes of loss, over epsilon and over n.

  Args:
    rows: Of accumulation.csv.
  """
  with figures.house_style():
    # What has one length only shows no growth.
    varied = [
      v
      for v in _VARIED
      if len({row['n'] for row in rows if row['varied'] == v}) > 1
    ]
    names = list(dict.fromkeys(row['model'] for row in rows))
    num_rows = -(-(1 + len(varied)) // 2)
    fig = figure.Figure(figsize=(8.2, 3.3 * num_rows))
    panels = fig.subplots(num_rows, 2, squeeze=False).ravel()
    for panel in panels[1 + len(varied) :]:
      panel.set_visible(False)
    epsilon = min(r['epsilon'] for r in rows if r['varied'] != 'epsilon')
    for m, name in enumerate(names):
      mine = [row for row in rows if row['model'] == name]
      along = [row for row in mine if row['varied'] == 'epsilon']
      _medians(panels[0], along, 'epsilon', m)
      for panel, what in zip(panels[1:], varied, strict=False):
        grown = [
          r for r in mine if r['varied'] == what and r['epsilon'] == epsilon
        ]
        _medians(panel, grown, 'n', m, unit=_unit(what, rows))
    panels[0].set_xlabel('epsilon (half of full scale)')
    panels[0].set_title('all samples moved', loc='left', fontsize=10)
    for panel, what in zip(panels[1:], varied, strict=False):
      panel.set_xlabel(_VARIED[what])
      panel.set_title(f'epsilon {epsilon:g}', loc='left', fontsize=10)
      panel.minorticks_off()
      if what != 'samples':
        ticks = sorted(
          {r['n'] / _unit(what, rows) for r in rows if r['varied'] == what}
        )
        panel.set_xticks(ticks, [f'{t:g}' for t in ticks])
    for panel in panels[: 1 + len(varied)]:
      panel.set_ylabel('change of loss in nats')
    handles = [
      lines.Line2D([], [], color='0.2', linestyle='--', label='predicted'),
      lines.Line2D(
        [], [], color='0.2', linestyle='', marker='.', label='measured'
      ),
      *(
        lines.Line2D(
          [],
          [],
          color=f'C{m % 5}',
          linestyle='',
          marker=style.MARKERS[m % len(style.MARKERS)],
          label=style.title(name),
        )
        for m, name in enumerate(names)
      ),
    ]
    fig.legend(
      handles=handles,
      loc='lower center',
      ncols=len(handles),
      bbox_to_anchor=(0.5, -0.03),
      fontsize=8,
    )
    fig.tight_layout()
    num_clips = len({row['id'] for row in rows})
    figures.note(
      fig, f'{num_clips} clips: medians, and quartiles of what was measured.'
    )
    return fig


def _unit(varied, rows):
  """Returns how many samples are one of what the axis is labelled with."""
  if varied == 'samples':
    return 1
  if varied == 'rate':
    whole = max(row['n'] for row in rows if row['varied'] == varied)
    return whole * 1000 / audio.SAMPLE_RATE_HZ
  return audio.SAMPLE_RATE_HZ


def _medians(panel, rows, key, index, unit=1):
  if not rows:
    return
  x = sorted({row[key] for row in rows})
  predicted, measured = (
    np.array(
      [
        np.quantile([r[what] for r in rows if r[key] == at], [0.25, 0.5, 0.75])
        for at in x
      ]
    )
    for what in ('predicted', 'measured')
  )
  at = np.array(x) / unit
  color = f'C{index % 5}'
  panel.plot(at, predicted[:, 1], color=color, linestyle='--', linewidth=1.2)
  panel.plot(
    at,
    style.positive(measured[:, 1]),
    color=color,
    linestyle='',
    marker=style.MARKERS[index % len(style.MARKERS)],
    markerfacecolor='white',
  )
  panel.fill_between(
    at,
    style.positive(measured[:, 0]),
    style.positive(measured[:, 2]),
    color=color,
    alpha=0.15,
    linewidth=0,
  )
  figures.set_log(panel, x=at, y=[predicted, measured])
