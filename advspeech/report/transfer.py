"""Who breaks whom: error of every target under every source's attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, patches

from advspeech import claim, figures, storage
from advspeech.report import panel_parts


def transfer_matrix(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> figure.Figure:
  """Returns a heat map: error in % of each target under each source's attack.

  A frame marks the model that the examples were made on. Means over trainings,
  whose seed is None, stand with their intervals.

  Args:
    rows: Rows of `sweep.csv`, or of `trainings.csv`, of one task, attack, mask
      and epsilon.
    confidence: Of the table's intervals, for the note.
  """
  with figures.house_style():

    def names(model, seed):
      pairs = dict.fromkeys((row[model], row[seed]) for row in rows)
      return sorted(pairs, key=lambda pair: (pair[1] or 0, pair[0]))

    sources, targets = names('source', 'seed'), names('target', 'target_seed')
    error = np.full((len(sources), len(targets)), np.nan)
    texts = np.full(error.shape, '', object)
    for row in rows:
      source = sources.index((row['source'], row['seed']))
      target = targets.index((row['target'], row['target_seed']))
      known = row['error_rate'] != ''
      if known:
        error[source, target] = 100 * row['error_rate']
        texts[source, target] = _text(row)
    fig = figure.Figure(
      figsize=(2.6 + 1.15 * len(targets), 1.6 + 0.62 * len(sources))
    )
    panel = fig.subplots()
    panel.grid(visible=False)
    image = panel.imshow(error, cmap='Greys', vmin=0, vmax=100, aspect='auto')
    for (y, x), value in np.ndenumerate(error):
      if not np.isfinite(value):
        continue
      color = 'white' if value > 55 else 'black'
      panel.text(x, y, texts[y, x], ha='center', va='center', color=color)
      if sources[y] == targets[x]:
        panel.add_patch(
          patches.Rectangle(
            (x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor='C1', lw=2
          )
        )
    short = storage.distinct_ends({name for name, _ in (*sources, *targets)})
    for axis, models in ((panel.xaxis, targets), (panel.yaxis, sources)):
      axis.set_ticks(
        range(len(models)),
        [
          _short(short[m]) + ('' if s is None else f'\nseed {s}')
          for m, s in models
        ],
      )
    panel.tick_params(labelsize=8, length=0)
    panel.set_xlabel('judged by')
    panel.set_ylabel('made on')
    fig.colorbar(image, ax=panel, label='error rate in %')
    fig.tight_layout()
    known = [row for row in rows if row['error_rate'] != '']
    half = max(
      max(r['error_rate'] - r['ci_low'], r['ci_high'] - r['error_rate'])
      for r in known
    )
    figures.note(
      fig,
      f'{figures.attack_title(rows[0]["attack"])}, epsilon '
      f'{rows[0]["epsilon_given"]}, {rows[0]["task"]}, {rows[0]["num_clips"]} '
      'test clips; the '
      f'{100 * confidence:g} % interval of a cell, were clips independent, '
      f'reaches at most {100 * half:.0f} points either way'
      f'{panel_parts.widest_by_speaker(rows)}.',
    )
    return fig


def _text(row):
  """Returns an error in %, over trainings with its interval."""
  text = f'{100 * row["error_rate"]:.0f}'
  if row['seed'] is not None:
    return text
  low, high = (100 * end for end in claim.widest(row, 'ci'))
  return f'{text}\n[{low:.0f}, {high:.0f}]'


def _short(model):
  words = {'wavernn_on_wavecnn': 'WaveRNN on\nCNN front'}
  return words.get(model, figures.model_name(model))
