"""Where gradients lie over a split, and two models on the same clips."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure

from advspeech import audio, figures, gradients
from advspeech.models import frontend
from advspeech.studies.gradients.figures import style


def profiles(
  profile: np.ndarray,
  names: Sequence[str],
  recorded_s: np.ndarray,
  alignment: str,
) -> figure.Figure:
  """Returns magnitude by frame over a whole split: median and quartiles.

  A clip without gradient in a frame counts there as zero, which lies below the
  logarithmic axis.

  Args:
    profile: [clips, models, frames] mean magnitude.
    names: [models].
    recorded_s: [clips] length of the recordings.
    alignment: Where they lie in the clips, 'start' or 'end'.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(7.2, 4.2))
    panel = fig.subplots()
    frame_s = frontend.FRAME_MS / 1000
    seconds = (np.arange(profile.shape[2]) + 0.5) * frame_s
    clip_s = profile.shape[2] * frame_s
    for m, name in enumerate(names):
      low, mid, high = np.quantile(profile[:, m], [0.25, 0.5, 0.75], axis=0)
      line = style.STYLES[m % len(style.STYLES)]
      panel.plot(
        seconds,
        mid,
        color=f'C{m % 5}',
        linestyle=line,
        label=style.title(name),
      )
      panel.fill_between(
        seconds, low, high, color=f'C{m % 5}', alpha=0.2, linewidth=0
      )
    panel.axvline(
      gradients.EARLY_SHARE * clip_s, color='0.2', linestyle=':', linewidth=1
    )
    figures.set_log(panel, y=profile)
    panel.set_xlim(0, clip_s)
    panel.set_xlabel(
      f'time in s (dotted: 5/8 of the clip; recordings at its {alignment}, '
      f'median {np.median(recorded_s):.1f} s)'
    )
    panel.set_ylabel('mean |dJ/dx| of a 40 ms frame')
    panel.set_title(f'{len(profile)} clips: median and quartiles', loc='left')
    panel.legend(loc='best')
    fig.tight_layout()
    return fig


def comparison(
  rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> figure.Figure:
  """Returns two models' statistics of the same clips against each other.

  Args:
    rows: Of clips.csv.
    names: Models; the first is put beside each of the others.
  """
  with figures.house_style():
    others = names[1:]
    fig = figure.Figure(figsize=(7.6, 3.5 * len(others)))
    grid = fig.subplots(len(others), 2, squeeze=False)
    for (left, right), other in zip(grid, others, strict=True):
      for panel, key, label in (
        (left, 'l1', 'L1 norm of dJ/dx'),
        (right, 'index_50', 's before which half of the L1 mass lies'),
      ):
        x, y = (_column(rows, name, key) for name in (names[0], other))
        if key == 'index_50':
          x, y = x / audio.SAMPLE_RATE_HZ, y / audio.SAMPLE_RATE_HZ
        both = np.concatenate([x, y])
        positive = both[both > 0]
        if key == 'index_50':
          length = max(r['num_samples'] for r in rows) / audio.SAMPLE_RATE_HZ
          limits = [0, length]
        elif positive.size:
          limits = [positive.min() * 0.8, positive.max() * 1.25]
          figures.set_log(panel, x=positive, y=positive)
        else:
          limits = [0, 1]
        panel.plot(limits, limits, color='0.5', linewidth=1, linestyle='--')
        panel.scatter(
          x, y, s=12, facecolor='none', edgecolor='C0', linewidth=0.8
        )
        panel.set_xlim(limits)
        panel.set_ylim(limits)
        panel.set_aspect('equal')
        panel.set_xlabel(style.title(names[0]))
        panel.set_ylabel(style.title(other))
        panel.set_title(label, loc='left', fontsize=10)
    fig.tight_layout()
    num_clips = len({row['id'] for row in rows})
    figures.note(fig, f'{num_clips} clips, a point each; dashed: equal.')
    return fig


def _column(rows, name, key):
  chosen = [
    row
    for row in rows
    if (row['model'], row['alignment'], row['region']) == (name, 'start', 'all')
  ]
  return np.array([float(row[key]) for row in chosen])
