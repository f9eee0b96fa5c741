"""What each arithmetic leaves of the gradient's signs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, patches

from advspeech import figures, statistics
from advspeech.studies.gradients.figures import style


def _tick_at(panel, values, most=5):
  """Labels some values of a logarithmic axis, which may span no decade."""
  ticks = sorted(values)
  ticks = ticks[:: -(-len(ticks) // most)]
  panel.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
  panel.minorticks_off()


def arithmetics(
  fidelity: Sequence[Mapping[str, Any]], fgsm: Sequence[Mapping[str, Any]]
) -> figure.Figure:
  """Returns what each arithmetic leaves of the signs, and FGSM with each.

  Args:
    fidelity: Rows of fidelity.csv.
    fgsm: Rows of fgsm.csv.
  """
  with figures.house_style():
    names = list(dict.fromkeys(row['model'] for row in fidelity))
    kinds = list(dict.fromkeys(row['arithmetic'] for row in fidelity))
    # Epsilons that differ from clip to clip are not among them.
    tried = {row['epsilon'] for row in fgsm} - {0}
    across = 2 if tried else 1
    fig = figure.Figure(figsize=(4.1 * across, 3.3 * len(names)))
    grid = fig.subplots(len(names), across, squeeze=False)
    for (left, *rights), name in zip(grid, names, strict=True):
      mine = [row for row in fidelity if row['model'] == name]
      for k, kind in enumerate(kinds):
        of_kind = [row for row in mine if row['arithmetic'] == kind]
        for j, key in enumerate(('early_zero_share', 'early_sign_agreement')):
          values = [100 * float(row[key]) for row in of_kind]
          left.bar(
            k + 0.4 * (j - 0.5),
            np.mean(values),
            width=0.36,
            color=('0.25', '0.75')[j],
            edgecolor='0.1',
            linewidth=0.6,
          )
      left.set_xticks(range(len(kinds)), kinds)
      left.set_ylim(0, 100)
      left.set_ylabel('% of the first 5/8 of the samples')
      left.set_title(style.title(name), loc='left')
      left.grid(axis='x', visible=False)
      for right in rights:
        _errors(right, fgsm, name, tried)
    fig.legend(
      handles=[
        patches.Patch(facecolor=color, edgecolor='0.1', label=label)
        for color, label in (
          ('0.25', 'exact zeros: not perturbed'),
          ('0.75', 'signs as in float64'),
        )
      ],
      loc='lower left',
      ncols=2,
      bbox_to_anchor=(0.05, -0.06 / len(names)),
      fontsize=8,
    )
    fig.tight_layout()
    n = len({row['id'] for row in fidelity})
    low, high = statistics.wilson_interval(n // 2, n)
    figures.note(
      fig,
      f'{n} clips: means; an error of 50 % is known to {50 * (high - low):.0f} '
      'points either way (95 % Wilson interval).',
    )
    return fig


def _errors(right, fgsm, name, tried):
  """Draws a model's error under FGSM with the signs of each arithmetic."""
  directions = list(dict.fromkeys(row['direction'] for row in fgsm))
  for d, direction in enumerate(directions):
    curve = [
      row
      for row in fgsm
      if (row['model'], row['direction']) == (name, direction)
      and row['epsilon'] > 0
    ]
    noise = direction == 'random_sign'
    right.plot(
      [row['epsilon'] for row in curve],
      [100 * row['error_rate'] for row in curve],
      color='0.5' if noise else f'C{d % 5}',
      linestyle=':' if noise else style.STYLES[d % len(style.STYLES)],
      marker=style.MARKERS[d % len(style.MARKERS)],
      label=direction.replace('_', ' '),
    )
  right.set_xscale('log')
  _tick_at(right, tried)
  right.set_ylim(0, 100)
  right.set_xlabel('epsilon (half of full scale)')
  right.set_ylabel('error rate in %')
  right.set_title('FGSM on itself, by arithmetic', loc='left', fontsize=10)
  right.legend(fontsize=7, loc='best')
