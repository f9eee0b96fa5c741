"""Figures, drawn from the tables alone."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import figure, lines, ticker

from advspeech import audio

STYLE = os.path.join(os.path.dirname(__file__), 'advspeech.mplstyle')
_TITLES = {
  'wavecnn': 'WaveCNN',
  'wavernn': 'WaveRNN',
  'wavernn_tanh': 'tanh RNN',
  'wavernn_on_wavecnn': 'WaveRNN, CNN front end',
}
_MARKERS = 'os^Dv<>P'
_DASHES = ('--', ':', '-.')
# Epsilons that span more than this are drawn on a logarithmic axis.
_LINEAR_RANGE = 50


def title(model: str) -> str:
  """Returns what a figure calls a model; a folder is called by its name."""
  return _TITLES.get(model, model)


def error_against_epsilon(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns the paper's Figure 6 for one task, with what it lacks.

  A panel a model that is tried; solid lines FGSM, dashed ones random signs of
  the same size, one line a seed, bands the intervals of the table.

  Args:
    rows: Rows of `sweep.csv` of one task and one source, FGSM's alone, each
      with `num_classes`; targets of the source's seed.
  """
  with mpl.rc_context(fname=STYLE):
    fig, panels = _panels(rows)
    for i, (panel, of_target) in enumerate(
      zip(panels, _by_target(rows), strict=True)
    ):
      _error_panel(panel, of_target, color=f'C{i}')
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
    return _with_legend(fig, handles)


def error_by_attack(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns error against epsilon for every attack, a panel a target.

  Lines are means over seeds; the grey ones are the controls of the first
  attack.

  Args:
    rows: Rows of `sweep.csv` of one task, source and mask, each with
      `num_classes`; targets of the source's seed.
  """
  with mpl.rc_context(fname=STYLE):
    fig, panels = _panels(rows)
    names = list(dict.fromkeys(row['attack'] for row in rows))
    curves = [(name, '') for name in names] + [
      (names[0], control)
      for control in dict.fromkeys(row['control'] for row in rows)
      if control
    ]
    styles = {
      curve: {
        'label': curve[1].replace('_', ' ') or curve[0].replace('_', ' '),
        'color': '0.55' if curve[1] else f'C{i % 5}',
        'linestyle': _DASHES[i % len(_DASHES)] if curve[1] else '-',
        'marker': '' if curve[1] else _MARKERS[i % len(_MARKERS)],
      }
      for i, curve in enumerate(curves)
    }
    for panel, of_target in zip(panels, _by_target(rows), strict=True):
      for curve in curves:
        errors_at: dict[float, list[float]] = {}
        for row in of_target:
          if (row['attack'], row['control']) == curve:
            errors_at.setdefault(row['epsilon'], []).append(row['error_rate'])
        x = sorted(errors_at)
        panel.plot(x, [100 * np.mean(errors_at[e]) for e in x], **styles[curve])
      _epsilon_axis(panel, of_target)
    handles = [lines.Line2D([], [], **style) for style in styles.values()]
    return _with_legend(fig, handles)


def transfer_matrix(
  rows: Sequence[Mapping[str, Any]],
) -> figure.Figure:
  """Returns a heat map: error in % of each target under each source's attack.

  Args:
    rows: Rows of `sweep.csv` of one task, attack, mask and epsilon.
  """
  with mpl.rc_context(fname=STYLE):

    def names(model, seed):
      pairs = dict.fromkeys((row[model], row[seed]) for row in rows)
      return sorted(pairs, key=lambda pair: (pair[1], pair[0]))

    sources, targets = names('source', 'seed'), names('target', 'target_seed')
    error = np.full((len(sources), len(targets)), np.nan)
    for row in rows:
      source = sources.index((row['source'], row['seed']))
      target = targets.index((row['target'], row['target_seed']))
      known = row['error_rate'] != ''
      error[source, target] = 100 * row['error_rate'] if known else np.nan
    fig = figure.Figure(
      figsize=(2.6 + 1.15 * len(targets), 1.6 + 0.62 * len(sources))
    )
    panel = fig.subplots()
    panel.grid(visible=False)
    image = panel.imshow(error, cmap='Greys', vmin=0, vmax=100, aspect='auto')
    for (y, x), value in np.ndenumerate(error):
      if np.isfinite(value):
        color = 'white' if value > 55 else 'black'
        panel.text(x, y, f'{value:.0f}', ha='center', va='center', color=color)
    label = '{0}\nseed {1}'.format
    panel.set_xticks(
      range(len(targets)), [label(_short(m), s) for m, s in targets]
    )
    panel.set_yticks(
      range(len(sources)), [label(_short(m), s) for m, s in sources]
    )
    panel.tick_params(labelsize=8, length=0)
    panel.set_xlabel('judged by')
    panel.set_ylabel('made on')
    fig.colorbar(image, ax=panel, label='error rate in %')
    fig.tight_layout()
    return fig


def attacked_recording(
  clean: np.ndarray,
  perturbed: np.ndarray,
  rows: Sequence[Mapping[str, Any]],
  shown: Mapping[str, Any],
  label: str,
) -> figure.Figure:
  """Returns a recording before and after, and the model's belief in its label.

  Args:
    clean: [time] in model range.
    perturbed: [time], the clip of the row `shown`.
    rows: One an epsilon, with `epsilon` and `label_probability`.
    shown: The row whose clip is drawn.
    label: Class that the attack is to leave.
  """
  with mpl.rc_context(fname=STYLE):
    fig = figure.Figure(figsize=(9, 3.4))
    wave, belief = fig.subplots(1, 2, width_ratios=(3, 2))
    seconds = np.arange(len(clean)) / audio.SAMPLE_RATE_HZ
    scale, silence = audio.FULL_SCALE_PER_UNIT, audio.SILENCE
    wave.plot(seconds, scale * (clean - silence), color='0.2', linewidth=0.4)
    wave.plot(seconds, scale * (perturbed - clean), color='C1', linewidth=0.4)
    wave.set_xlabel('time in s')
    wave.set_ylabel('amplitude, full scale 1')
    wave.set_title(
      f'recording (dark), perturbation (light), {shown["snr_db"]:.0f} dB SNR',
      fontsize=9,
    )
    epsilons = [row['epsilon'] for row in rows]
    belief.plot(
      epsilons, [row['label_probability'] for row in rows], marker='o'
    )
    positive = [e for e in epsilons if e > 0]
    if positive and max(positive) > _LINEAR_RANGE * min(positive):
      belief.set_xscale('symlog', linthresh=min(positive))
    belief.set_ylim(-0.03, 1.03)
    belief.set_xlabel(f'epsilon ({shown["epsilon_unit"]})')
    belief.set_title(f'probability of {label}', fontsize=9)
    fig.tight_layout()
    return fig


def _short(model):
  words = {'wavernn_on_wavecnn': 'WaveRNN on\nCNN front'}
  return words.get(model, title(os.path.basename(model)))


def _by_target(rows):
  """Returns the rows of each target, in order of appearance."""
  targets = dict.fromkeys(row['target'] for row in rows)
  return [[row for row in rows if row['target'] == t] for t in targets]


def _panels(rows):
  """Returns a figure with one panel a target, each with its chance level."""
  parts = _by_target(rows)
  fig = figure.Figure(figsize=(4.2 * len(parts) + 0.8, 4.6))
  panels = fig.subplots(1, len(parts), sharey=True, squeeze=False)[0]
  chance = 100 * (1 - 1 / rows[0]['num_classes'])
  for panel, part in zip(panels, parts, strict=True):
    source, target = part[0]['source'], part[0]['target']
    how = 'white box' if source == target else f'made on {title(source)}'
    panel.set_title(f'{title(target)} ({how})', pad=8)
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
  return fig, panels


def _with_legend(fig, handles):
  fig.legend(
    handles=handles,
    loc='upper center',
    ncols=min(len(handles), 7),
    bbox_to_anchor=(0.5, 0.01),
  )
  fig.tight_layout()
  return fig


def _marker(seeds, seed):
  return _MARKERS[seeds.index(seed) % len(_MARKERS)]


def _error_panel(panel, rows, color):
  seeds = sorted({row['seed'] for row in rows})
  for control, style in (('', '-'), ('random_sign', '--')):
    for seed in seeds:
      curve = [r for r in rows if (r['control'], r['seed']) == (control, seed)]
      curve.sort(key=lambda r: r['epsilon'])
      x = [r['epsilon'] for r in curve]
      panel.plot(
        x,
        [100 * r['error_rate'] for r in curve],
        color=color,
        linestyle=style,
        marker=_marker(seeds, seed),
        markerfacecolor='white' if control else color,
      )
      panel.fill_between(
        x,
        [100 * r['ci_low'] for r in curve],
        [100 * r['ci_high'] for r in curve],
        color=color,
        alpha=0.13,
        linewidth=0,
      )
  _epsilon_axis(panel, rows)


def _epsilon_axis(panel, rows):
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
    # Rows that join several attacks have no perturbation of their own.
    known = row['mean_snr_db'] != ''
    if known and not row['control'] and row['epsilon'] > 0:
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
    panel.set_title(title(model_name))
    panel.legend(fontsize=8)
    return fig


def save(fig: figure.Figure, path: str) -> None:
  """Writes a figure as `path`.png and `path`.svg, the same bytes each time."""
  with mpl.rc_context(fname=STYLE):
    fig.savefig(f'{path}.png', metadata={'Software': None})
    fig.savefig(f'{path}.svg', metadata={'Date': None})
